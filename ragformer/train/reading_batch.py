"""Examples to tensors: prompts laid out, answers as places to point at or tokens to write."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ragformer.answer.reading import (
    SEGMENT_ANSWER,
    Reading,
    Tokenized,
    make_reading,
    make_source,
    tokenize,
)
from ragformer.text.overlap import Rarity, question_stems
from ragformer.text.tokenizer import EOS, NO_ANSWER, PAD, QUOTE, Tokenizer
from ragformer.train.examples import Example
from ragformer.train.loop import TILE

MAX_ANSWER_TOKENS = 48
MAX_TOKENS = 768
"""A longer row (a table, mostly: digits are split) costs more than it teaches."""
IGNORE = -100


@dataclass(frozen=True, slots=True)
class Row:
    """One example as numbers. `first` is where <answer> stands; from there on each input has a
    target: a place p of the prompt as vocab_size + p, or a token id. weight: of each of its
    targets in the loss. writes: whether text is written, not copied. somewhere: the places to
    start at, where any of them is right and there are no targets."""

    reading: Reading
    first: int
    previous: list[int]
    targets: list[int]
    weight: float = 1.0
    writes: bool = False
    somewhere: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows padded to T tokens and A answer inputs (answer_BA indexes into T).

    writes: whether any target is a written piece, beside places and control symbols.
    """

    ids_BT: Tensor
    positions_BT: Tensor
    segments_BT: Tensor
    blocks_BT: Tensor
    answer_block_B: Tensor
    copyable_BT: Tensor
    answer_BA: Tensor
    previous_BA: Tensor
    targets_BA: Tensor
    weights_BA: Tensor
    somewhere_BT: Tensor
    writes: bool

    @property
    def n_tokens(self) -> int:
        return int((self.blocks_BT >= 0).sum())


class Collator:
    """Makes rows and batches with one tokenizer, remembering recent passages."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.rarity = Rarity(tokenizer)
        self._tokenize = lru_cache(maxsize=20_000)(self._tokenize_fresh)

    def _tokenize_fresh(self, text: str) -> Tokenized:
        return tokenize(text, self.tokenizer)

    def row(self, example: Example) -> Row | None:
        """The example laid out, or None where its answer does not fall on tokens."""
        stems = question_stems(example.question, self.rarity)
        sources = [
            make_source(index, line, text, stems, self._tokenize)
            for index, (line, text) in enumerate(example.passages)
        ]
        reading = make_reading(example.question, sources, self.tokenizer)
        first = len(reading.ids) - 1
        if example.response:
            return self._writing_row(reading, first, example.response)
        if example.answer is None:
            return Row(reading, first, [-1], [NO_ANSWER])
        index, start, end = example.answer
        copied = [
            at
            for at, place in enumerate(reading.places)
            if place and place[0] == index and place[2] > start and place[1] < end
        ]
        if not copied:
            return None
        if example.somewhere:
            return Row(reading, first, [-1], [IGNORE], somewhere=tuple(copied))
        copied = copied[:MAX_ANSWER_TOKENS]
        targets = [self.tokenizer.vocab_size + at for at in copied]
        return self._extend(
            reading, first, [reading.ids[at] for at in copied], copied, [*targets, QUOTE]
        )

    def _writing_row(self, reading: Reading, first: int, response: str) -> Row:
        ids = self.tokenizer.encode(" " + response)[:MAX_ANSWER_TOKENS]
        row = self._extend(reading, first, ids, [-1] * len(ids), [*ids, EOS])
        # A written sentence counts as one target, or it would drown the few places to point at.
        return dataclasses.replace(row, weight=1 / len(row.targets), writes=True)

    def _extend(
        self, reading: Reading, first: int, ids: list[int], previous: list[int], targets: list[int]
    ) -> Row:
        start = reading.answer_position + 1
        reading.ids.extend(ids)
        reading.positions.extend(range(start, start + len(ids)))
        reading.segments.extend([SEGMENT_ANSWER] * len(ids))
        reading.blocks.extend([reading.blocks[-1]] * len(ids))
        reading.places.extend([None] * len(ids))
        return Row(reading, first, [-1, *previous], targets)

    def batch(self, rows: Sequence[Row], device: torch.device) -> Batch:
        readings = [row.reading for row in rows]
        inputs = [list(range(row.first, len(row.reading.ids))) for row in rows]
        copyable = [[place is not None for place in r.places] for r in readings]
        return Batch(
            _padded([r.ids for r in readings], PAD, device),
            _padded([r.positions for r in readings], 0, device),
            _padded([r.segments for r in readings], 0, device),
            _padded([r.blocks for r in readings], -1, device),
            torch.tensor([r.blocks[-1] for r in readings], device=device),
            _padded(copyable, 0, device).bool(),
            _padded(inputs, 0, device, 1),
            _padded([row.previous for row in rows], -1, device, 1),
            _padded([row.targets for row in rows], IGNORE, device, 1),
            _padded([[row.weight] * len(row.targets) for row in rows], 0.0, device, 1),
            _padded(
                [[at in row.somewhere for at in range(len(row.reading.ids))] for row in rows],
                0,
                device,
            ).bool(),
            any(row.writes for row in rows),
        )


def _padded(
    rows: Sequence[Sequence[float]], fill: float, device: torch.device, multiple: int = TILE
) -> Tensor:
    """Rows of different lengths as one tensor, its width a multiple of `multiple`; float32 where
    `fill` is a float, else int64."""
    dtype = np.float32 if isinstance(fill, float) else np.int64
    width = -(-max(len(row) for row in rows) // multiple) * multiple
    out = np.full((len(rows), width), fill, dtype=dtype)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return torch.from_numpy(out).to(device)
