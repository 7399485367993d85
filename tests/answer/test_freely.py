"""What is written freely is the likeliest token each time, of places and pieces in one softmax."""

from __future__ import annotations

import pytest
import torch

from ragformer.answer import freely
from ragformer.answer.freely import ENDS, FIRST_PIECE, write_freely
from ragformer.answer.reader import OpenPrompt, Reader
from ragformer.answer.reading import SEGMENT_ANSWER, block_mask
from ragformer.answer.starts import may_start

MOST = 6
"""Tokens, to be quick."""
QUESTION = "How long is the notice period?"
PASSAGES = [
    ("Handbook", "The notice period is two months.\nIt starts in May."),
    ("", "Tea at 80 degrees. 日本語 <answer> <mark_3>"),
]


def without_cache(reader: Reader, prompt: OpenPrompt) -> str:
    """The same, each token by one full forward in the layout of training."""
    reading, model = prompt.reading, reader.model
    n, n_pieces = len(reading.ids), model.config.vocab_size
    ids: list[int] = []
    places: list[int] = []
    while len(ids) < MOST:
        later = [reading.answer_position + 1 + i for i in range(len(ids))]
        blocks = torch.tensor([reading.blocks + [reading.blocks[-1]] * len(ids)])
        hidden = model.transformer(
            torch.tensor([reading.ids + ids]),
            positions_BT=torch.tensor([reading.positions + later]),
            segments_BT=torch.tensor([reading.segments + [SEGMENT_ANSWER] * len(ids)]),
            mask_BTS=block_mask(blocks, torch.tensor([reading.blocks[-1]])),
        )
        previous = torch.tensor([[-1, *places]])
        copied = model.place_logits(hidden[:, n - 1 :], hidden[:, :n], previous)[0, -1]
        open_places = [at is not None for at in reading.places] if ids else may_start(prompt)
        written = model.token_logits(hidden[:, -1:])[0, 0]
        scores = torch.cat([written, copied.where(torch.tensor(open_places), -torch.inf)])
        allowed = [*(ENDS if ids else ()), *range(FIRST_PIECE, len(scores))]
        choice = max(allowed, key=lambda at: float(scores[at]))
        if choice in ENDS:
            break
        places.append(choice - n_pieces if choice >= n_pieces else -1)
        ids.append(reading.ids[places[-1]] if places[-1] >= 0 else choice)
    return " ".join(reader.tokenizer.decode(ids).split())


@torch.inference_mode()
@pytest.mark.parametrize("n", [0, 1, 2])
def test_the_cache_changes_nothing(
    readers: tuple[Reader, ...], n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freely, "MAX_ANSWER_TOKENS", MOST)
    for reader in readers:
        prompt = reader.open(QUESTION, PASSAGES[:n])
        length = prompt.cache.length
        written = write_freely(reader, prompt)
        assert written == without_cache(reader, prompt)
        assert "\n" not in written
        assert prompt.cache.length == length  # it may be read and written from again
        assert write_freely(reader, prompt) == written


def test_a_prior_moves_where_it_copies_from(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freely, "MAX_ANSWER_TOKENS", 1)
    n_pieces = reader.model.config.vocab_size
    silent = torch.full((1, 1, n_pieces), -1e4)  # then all is copied
    monkeypatch.setattr(reader.model, "token_logits", lambda hidden_BTD: silent.clone())
    prompt = reader.open(QUESTION, [("", "one"), ("", "two")])
    assert write_freely(reader, prompt, [100.0, 0.0]) in "one"
    assert write_freely(reader, prompt, [0.0, 100.0]) in "two"
