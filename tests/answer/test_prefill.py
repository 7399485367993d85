"""Passages read side by side are what they would be read one after another."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from ragformer.answer.prefill import prefill
from ragformer.answer.reader import Reader
from ragformer.answer.reading import block_mask, make_reading
from ragformer.nn.cache import KVCache
from ragformer.nn.kept import Kept

QUESTION = "How long is the notice period?"
PASSAGES = [
    ("Handbook", "The notice period is two months. It starts at the end of a month."),
    ("", "No."),
    ("Weather. North", "Clouds gather over Holmvik; strong gales follow, then 14 mm fell. " * 4),
]


def test_a_prompt_that_is_kept_is_the_same_to_the_bit_and_no_other_prompt(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    anew = reader.open(QUESTION, PASSAGES)
    monkeypatch.setattr(reader, "kept", Kept(2**20))
    reader.open(QUESTION, PASSAGES)
    again = reader.open(QUESTION, PASSAGES, [[3], [], []])
    assert again.cache is reader.open(QUESTION, PASSAGES).cache
    assert again.cache is not reader.open(QUESTION, PASSAGES, anew=True).cache
    assert again.joins == ((3,), (), ())
    assert torch.equal(again.hidden_1SD, anew.hidden_1SD)
    for mine, theirs in zip(again.cache.block(0), anew.cache.block(0), strict=True):
        assert all(map(torch.equal, mine, theirs))
    assert reader.find(again) == reader.find(anew)
    assert list(reader.write(again, 5)) == list(reader.write(anew, 5))
    assert reader.find(again) == reader.find(anew)  # what was written is not in it
    for question, passages in [
        (QUESTION, PASSAGES[::-1]),
        (QUESTION, PASSAGES[:2]),
        ("How long is the notice?", PASSAGES),
        (QUESTION, [("", text) for _, text in PASSAGES]),
    ]:
        other = reader.open(question, passages)
        assert other.cache is not again.cache
        fresh = reader.open(question, passages, anew=True)
        assert torch.equal(other.hidden_1SD, fresh.hidden_1SD)


@pytest.mark.parametrize("passages", [[], PASSAGES[:1], PASSAGES])
@torch.inference_mode()
def test_a_batch_of_passages_equals_one_row_under_the_block_mask(
    reader: Reader, passages: Sequence[tuple[str, str]]
) -> None:
    reading = make_reading(QUESTION, reader.sources(QUESTION, passages), reader.tokenizer)
    n = len(reading.ids)
    caches = [KVCache(reader.model.config, batch=1, capacity=n) for _ in range(2)]
    hidden = prefill(reader.model, reading, caches[0])
    blocks = torch.tensor([reading.blocks])
    at_once = reader.model.transformer(
        torch.tensor([reading.ids]),
        positions_BT=torch.tensor([reading.positions]),
        segments_BT=torch.tensor([reading.segments]),
        mask_BTS=block_mask(blocks, blocks[:, -1]),
        cache=caches[1],
    )
    torch.testing.assert_close(hidden, at_once, atol=1e-4, rtol=1e-4)
    for got, wanted in zip(caches[0].layers, caches[1].layers, strict=True):
        assert got.length == wanted.length == n
        torch.testing.assert_close(got.keys_BGSE, wanted.keys_BGSE, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(got.values_BGSE, wanted.values_BGSE, atol=1e-4, rtol=1e-4)
