"""Constrained decoding: which tokens may come next, quotes and marks only of the passages.

A quote is a walk over the passages' bytes: after some tokens have been written, the walk knows
every place where exactly these bytes stand, and lets through only tokens that go on at one of
them. It works on bytes, so it does not care how a tokenizer cuts: a quote may start in the middle
of a token, and characters may be written as byte pieces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Position = tuple[int, int]
"""A passage (from 0) and an offset into its UTF-8 bytes."""


class Vocabulary:
    """The bytes of every token that writes text, looked up by bytes."""

    def __init__(self, token_bytes: Mapping[int, bytes]) -> None:
        self.bytes_of = dict(token_bytes)
        self.tokens_of: dict[bytes, list[int]] = {}
        for token, data in self.bytes_of.items():
            if data:
                self.tokens_of.setdefault(data, []).append(token)
        self.longest = max((len(data) for data in self.tokens_of), default=0)

    def starting(self, data: bytes) -> list[int]:
        """Tokens whose bytes are a beginning of `data`, which may be longer than any token."""
        found = []
        for end in range(1, min(self.longest, len(data)) + 1):
            found += self.tokens_of.get(data[:end], [])
        return found


@dataclass(frozen=True, slots=True)
class Range:
    """Bytes start..end of a passage in which a quote may stand."""

    passage: int
    start: int
    end: int


class PassageWalk:
    """The places where the quote written so far may stand.

    starts: where a quote may begin; it must end inside the same range. Each state is a new value:
    `advance` leaves the old one as it was.
    """

    def __init__(
        self, passages: Sequence[bytes], vocabulary: Vocabulary, starts: Sequence[Range]
    ) -> None:
        self.passages = passages
        self.vocabulary = vocabulary
        self.live: dict[Position, set[int]] = {}
        for allowed in starts:
            self.live.setdefault((allowed.passage, allowed.start), set()).add(allowed.end)
        self.written = b""

    def _ahead(self, position: Position, end: int) -> bytes:
        passage, offset = position
        return self.passages[passage][offset : min(end, offset + self.vocabulary.longest)]

    def allowed(self) -> set[int]:
        """Tokens that go on at some live place without leaving its range.

        Where the quote stands in one place only, what comes next is certain: then just the
        longest token that writes it is offered.
        """
        if len(self.live) == 1:
            ((position, ends),) = self.live.items()
            fitting = self.vocabulary.starting(self._ahead(position, max(ends)))
            return set(fitting[-1:]) if len(ends) == 1 else set(fitting)
        tokens: set[int] = set()
        for position, ends in self.live.items():
            tokens.update(self.vocabulary.starting(self._ahead(position, max(ends))))
        return tokens

    def advance(self, token: int) -> PassageWalk:
        """The walk after `token`; raises ValueError when it was not allowed."""
        data = self.vocabulary.bytes_of.get(token, b"")
        following = PassageWalk(self.passages, self.vocabulary, [])
        following.written = self.written + data
        for (passage, offset), ends in self.live.items():
            stop = offset + len(data)
            fitting = {end for end in ends if end >= stop}
            if data and fitting and self.passages[passage].startswith(data, offset):
                following.live.setdefault((passage, stop), set()).update(fitting)
        if not following.live:
            raise ValueError(f"token {token} leaves the passages")
        return following

    def places(self) -> list[Range]:
        """Every place where the quote written so far stands, whole characters only."""
        found = []
        for passage, stop in sorted(self.live):
            start = stop - len(self.written)
            data = self.passages[passage]
            if _is_boundary(data, start) and _is_boundary(data, stop) and stop > start:
                found.append(Range(passage, start, stop))
        return found

    def complete(self) -> list[Range]:
        """The places whose range ends right here: where a quote of whole ranges may stop."""
        ends = {(p, stop) for (p, stop), allowed in self.live.items() if stop in allowed}
        return [place for place in self.places() if (place.passage, place.end) in ends]


def _is_boundary(data: bytes, offset: int) -> bool:
    """Whether a character starts, or the text ends, at `offset` of UTF-8 `data`."""
    return offset == len(data) or data[offset] & 0xC0 != 0x80


class CitedQuote:
    """A grammar for a citation: one whole allowed range of a passage, then that passage's mark.

    marks: the mark token of each passage, in order; no other mark can be written, and none before
    the quote is complete. Each state is a new value.
    """

    def __init__(self, walk: PassageWalk, marks: Sequence[int], done: bool = False) -> None:
        self.walk, self.marks, self.done = walk, marks, done

    def allowed(self) -> set[int]:
        ending = {self.marks[place.passage] for place in self.walk.complete()}
        return self.walk.allowed() | ending

    def advance(self, token: int) -> CitedQuote:
        if token not in self.allowed():
            raise ValueError(f"token {token} is no part of a citation here")
        if token in self.marks:
            return CitedQuote(self.walk, self.marks, done=True)
        return CitedQuote(self.walk.advance(token), self.marks)
