"""Passages read side by side are what they would be read one after another."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from ragformer.answer.prefill import prefill
from ragformer.answer.reader import Reader
from ragformer.answer.reading import block_mask, make_reading
from ragformer.nn.cache import KVCache

QUESTION = "How long is the notice period?"
PASSAGES = [
    ("Handbook", "The notice period is two months. It starts at the end of a month."),
    ("", "No."),
    ("Weather. North", "Clouds gather over Holmvik; strong gales follow, then 14 mm fell. " * 4),
]


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
