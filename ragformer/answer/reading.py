"""The decoder's prompt as numbers: a question, whole passages, and where every token stands.

    block 0          <question> what is the notice period ?
    block 1          <passage> <mark_1> Handbook. Leaving. <passage> The notice period is ...
    block 2          <passage> <mark_2> ...
    block n+1        <answer>  ... what the decoder writes

Each passage sees the question and itself, never its neighbours, and all start at the same
position; the answer sees everything. So passages can be read in any order and number, and a
passage read before need not be read again (Ratner et al. 2023, arXiv:2212.10947).
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from ragformer.text.normalize import model_line
from ragformer.text.overlap import Overlap, overlap, words_found
from ragformer.text.tokenizer import ANSWER, PASSAGE, QUESTION, Tokenizer, mark_id

MAX_QUESTION_TOKENS = 96
MAX_CONTEXT_LINE_TOKENS = 32

# Rows of the segment embedding.
SEGMENT_OTHER, SEGMENT_QUESTION, SEGMENT_QUESTION_FOUND, SEGMENT_ANSWER = range(4)
_FIRST_PASSAGE_SEGMENT = 4
_MATCH_LEVELS, _SENTENCE_LEVELS = 4, 8
N_SEGMENTS = _FIRST_PASSAGE_SEGMENT + _MATCH_LEVELS * _SENTENCE_LEVELS

Place = tuple[int, int, int]
"""A token's passage (from 0) and its characters start..end in that passage's text."""


@dataclass(frozen=True, slots=True)
class Tokenized:
    """Ids of a text with the characters each stands for."""

    ids: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]


def tokenize(text: str, tokenizer: Tokenizer) -> Tokenized:
    """Tokens of `model_line(text)`, spans counted in `text` itself, never over its ends."""
    ids, spans = tokenizer.offsets(model_line(text))
    return Tokenized(
        tuple(ids), tuple((max(0, start - 1), max(0, end - 1)) for start, end in spans)
    )


@dataclass(frozen=True, slots=True)
class Reading:
    """A prompt ready for the decoder. Lists are as long as the prompt; `places` holds None for
    tokens that are no passage text and so cannot be copied."""

    ids: list[int]
    positions: list[int]
    segments: list[int]
    blocks: list[int]
    places: list[Place | None]

    @property
    def answer_position(self) -> int:
        """The position of <answer>, the last token of the prompt."""
        return self.positions[-1]

    @property
    def key(self) -> bytes:
        """All that the decoder reads, in 32 bytes."""
        lists = (self.ids, self.positions, self.segments, self.blocks)
        return hashlib.sha256(array("q", chain(*lists)).tobytes()).digest()


@dataclass(frozen=True, slots=True)
class Source:
    """A passage to read, the index-th of those given: its context line (title, headings) and its
    text, both tokenized."""

    index: int
    line: Tokenized
    text: Tokenized
    overlap: Overlap

    @property
    def n_tokens(self) -> int:
        return 3 + min(len(self.line.ids), MAX_CONTEXT_LINE_TOKENS) + len(self.text.ids)


def make_source(
    index: int, line: str, text: str, stems: dict[str, float], cut: Callable[[str], Tokenized]
) -> Source:
    """Tokenize one passage with `cut` and compare it with the stems of the question."""
    tokens = cut(line) if line else Tokenized((), ())
    return Source(index, tokens, cut(text), overlap(stems, text))


def make_reading(question: str, sources: Sequence[Source], tokenizer: Tokenizer) -> Reading:
    """Lay out question and passages; the caller has checked that they fit."""
    reading = Reading([], [], [], [], [])
    _add_question(reading, question, sources, tokenizer)
    start = len(reading.ids)
    best = max((s[2] for source in sources for s in source.overlap.sentences), default=0.0)
    for block, source in enumerate(sources, start=1):
        _add_passage(reading, block, source, start, best)
    end = max(reading.positions) + 1
    _add(reading, [ANSWER], [end], [SEGMENT_ANSWER], len(sources) + 1, [None])
    return reading


def _add(
    reading: Reading,
    ids: Sequence[int],
    positions: Sequence[int],
    segments: Sequence[int],
    block: int,
    places: Sequence[Place | None],
) -> None:
    reading.ids.extend(ids)
    reading.positions.extend(positions)
    reading.segments.extend(segments)
    reading.blocks.extend([block] * len(ids))
    reading.places.extend(places)


def _add_question(
    reading: Reading, question: str, sources: Sequence[Source], tokenizer: Tokenizer
) -> None:
    """The question's tokens, each told whether its word stands in any passage."""
    tokens = tokenize(question, tokenizer)
    found = frozenset[str]().union(*(source.overlap.found for source in sources))
    levels = _token_levels(
        tokens.spans,
        [
            (a, b, SEGMENT_QUESTION_FOUND - SEGMENT_QUESTION)
            for a, b in words_found(question, found)
        ],
    )
    ids = [QUESTION, *tokens.ids][: MAX_QUESTION_TOKENS + 1]
    segments = [SEGMENT_QUESTION, *(SEGMENT_QUESTION + level for level in levels)][: len(ids)]
    _add(reading, ids, range(len(ids)), segments, 0, [None] * len(ids))


def _add_passage(reading: Reading, block: int, source: Source, start: int, best: float) -> None:
    line = source.line.ids[:MAX_CONTEXT_LINE_TOKENS]
    head = [PASSAGE, mark_id(source.index + 1), *line, PASSAGE]
    ids = [*head, *source.text.ids]
    segments = [SEGMENT_OTHER] * len(head) + passage_segments(source, best)
    places: list[Place | None] = [None] * len(head)
    places += [(source.index, span[0], span[1]) for span in source.text.spans]
    _add(reading, ids, range(start, start + len(ids)), segments, block, places)


def passage_segments(source: Source, best: float) -> list[int]:
    """The feature of each token: how rare its word is if the question has it, and how good its
    sentence is beside the prompt's best one."""
    levels = _token_levels(
        source.text.spans, [(a, b, _match_level(rarity)) for a, b, rarity in source.overlap.matches]
    )
    sentence_levels = _token_levels(
        source.text.spans,
        [(a, b, _sentence_level(score, best)) for a, b, score in source.overlap.sentences],
    )
    return [
        _FIRST_PASSAGE_SEGMENT + match * _SENTENCE_LEVELS + sentence
        for match, sentence in zip(levels, sentence_levels, strict=True)
    ]


def _match_level(rarity: float) -> int:
    return 1 if rarity < 9 else 2 if rarity < 11 else 3


def _sentence_level(score: float, best: float) -> int:
    return int((_SENTENCE_LEVELS - 1) * score / best) if best > 0 else 0


def _token_levels(
    spans: Sequence[tuple[int, int]], ranges: Sequence[tuple[int, int, int]]
) -> list[int]:
    """For each token the level of the range that holds its last character, 0 outside all."""
    levels, at = [0] * len(spans), 0
    for i, (_, end) in enumerate(spans):
        while at < len(ranges) and ranges[at][1] < end:
            at += 1
        if at < len(ranges) and ranges[at][0] < end <= ranges[at][1]:
            levels[i] = ranges[at][2]
    return levels


def block_mask(blocks_BT: Tensor, answer_block_B: Tensor) -> Tensor:
    """[B, T, T]: everyone sees the question (block 0) and its own block; answer tokens see all
    before them. Padding has block -1 and is seen by itself alone."""
    query, key = blocks_BT[:, :, None], blocks_BT[:, None, :]
    answer = query == answer_block_B[:, None, None]
    T = blocks_BT.shape[1]
    before = torch.ones(T, T, dtype=torch.bool, device=blocks_BT.device).tril()
    inside = (key == 0) | (key == query)
    return torch.where(answer, before & (key >= 0), inside & (query >= 0)) | torch.eye(
        T, dtype=torch.bool, device=blocks_BT.device
    )
