"""A grammar for an imported decoder: free prose, quotations that stand in a passage, their marks.

    prose --opening quotation mark--> quotation --closing one--> mark --> prose

What it lets through is read again before it is shown (`quoting`), as a server's answer is; with
the grammar there is nothing to throw away. A quotation walks the passages' bytes (`PassageWalk`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from ragformer.answer.cite import LONGEST_QUOTE, part_spans
from ragformer.answer.edges import whole_words
from ragformer.nn.constrain import PassageWalk, Range, Vocabulary
from ragformer.text.checkpoint_tokenizer import ChatTokenizer
from ragformer.types import Passage

QUOTE = b'"'
_CURLY = tuple(character.encode() for character in "“”„«»")
_WORD = re.compile(rb"\S+")


@dataclass(frozen=True)
class ChatVocabulary:
    """What of a tokenizer's vocabulary may be written where. stops: ids that end the reply."""

    tokenizer: ChatTokenizer
    stops: frozenset[int]

    @cached_property
    def words(self) -> Vocabulary:
        """Tokens that a quotation may be made of."""
        found = self.tokenizer.token_bytes.items()
        return Vocabulary({token: data for token, data in found if QUOTE not in data})

    @cached_property
    def openings(self) -> frozenset[int]:
        """Tokens that end in the quotation mark and have no other."""
        found = self.tokenizer.token_bytes.items()
        return frozenset(t for t, data in found if data.find(QUOTE) == len(data) - 1 >= 0)

    @cached_property
    def closing(self) -> int:
        """The quotation mark alone."""
        [token] = self.tokenizer.encode(QUOTE.decode())
        return token

    @cached_property
    def prose(self) -> Tensor:
        """Ids outside quotations: no bracket, as marks are dictated; a quotation mark only last."""
        plain = {
            token
            for token, data in self.tokenizer.token_bytes.items()
            if data and b"[" not in data and QUOTE not in data
            if not any(curly in data for curly in _CURLY)
        }
        return torch.tensor(sorted(plain | self.openings | self.stops))


@dataclass(frozen=True)
class CitedProse:
    """A state of the grammar. quote: the quotation being written; dictated: what must come next."""

    vocabulary: ChatVocabulary
    passages: tuple[bytes, ...]
    starts: tuple[Range, ...]
    quote: PassageWalk | None = None
    dictated: tuple[int, ...] = ()
    done: bool = False

    @classmethod
    def of(cls, vocabulary: ChatVocabulary, passages: Sequence[Passage]) -> CitedProse:
        """At the beginning of a reply about `passages`, of which mark i is the i-th."""
        lines = [passage.text.replace("\n", " ").encode() for passage in passages]
        starts = [
            Range(n, word.start(), high)
            for n, passage in enumerate(passages)
            for low, high in _parts(passage)
            for word in _WORD.finditer(lines[n], low, high)
            if any(map(str.isalnum, word[0].decode()))
        ]
        return cls(vocabulary, tuple(lines), tuple(starts))

    def allowed(self) -> set[int] | Tensor:
        """Ids that may come next."""
        if self.dictated:
            return {self.dictated[0]}
        if self.quote is None:
            return self.vocabulary.prose
        ends = bool(self._places(self.quote))
        if ends and len(self.quote.written) >= LONGEST_QUOTE:
            return {self.vocabulary.closing}
        going_on = self.quote.allowed()
        return going_on | {self.vocabulary.closing} if ends or not going_on else going_on

    def advance(self, token: int) -> CitedProse:
        """The state after `token`."""
        if self.dictated:
            return replace(self, dictated=self.dictated[1:])
        if self.quote is None:
            if token not in self.vocabulary.openings:
                return replace(self, done=token in self.vocabulary.stops)
            walk = PassageWalk(self.passages, self.vocabulary.words, self.starts)
            return replace(self, quote=walk)
        if token != self.vocabulary.closing:
            return replace(self, quote=self.quote.advance(token))
        places = self._places(self.quote) or self.quote.places()
        mark = f" [{places[0].passage + 1}]" if places else ""
        return replace(self, quote=None, dictated=tuple(self.vocabulary.tokenizer.encode(mark)))

    def _places(self, quote: PassageWalk) -> list[Range]:
        """Where the quotation stands in whole words."""
        return [place for place in quote.places() if self._is_whole(place)]

    def _is_whole(self, place: Range) -> bool:
        data = self.passages[place.passage]
        text, start = data.decode(), len(data[: place.start].decode())
        end = start + len(data[place.start : place.end].decode())
        return whole_words(text, start, end) == (start, end)


def _parts(passage: Passage) -> list[tuple[int, int]]:
    """Bytes start..end of each part of the passage that a quotation may not leave."""
    return [
        (len(passage.text[:low].encode()), len(passage.text[:high].encode()))
        for low, high, _ in part_spans(passage)
    ]
