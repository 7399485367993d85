"""Guesses at what is written next: where the last tokens stood before, what followed them there.

An answer copies from its passages, so the guess is often right, and several tokens that are read
at once cost a memory-bound model little more than one.
Source: Saxena 2023, prompt lookup decoding; checked as in Leviathan et al. 2023, arXiv:2211.17192.
"""

from __future__ import annotations

from collections.abc import Iterable

LONGEST_GRAM, SHORTEST_GRAM = 4, 2
"""Tokens in common that make a guess: the longest match counts."""


class Lookup:
    """The tokens of a prompt and of what is written behind it, found again by their last few."""

    def __init__(self, tokens: Iterable[int]) -> None:
        self.tokens: list[int] = []
        self._behind: dict[tuple[int, ...], int] = {}
        for token in tokens:
            self.add(token)

    def add(self, token: int) -> None:
        """Go on by one token."""
        # What ends here is entered only now that something stands behind it.
        for n in range(SHORTEST_GRAM, min(LONGEST_GRAM, len(self.tokens)) + 1):
            self._behind[tuple(self.tokens[-n:])] = len(self.tokens)
        self.tokens.append(token)

    def guess(self, most: int) -> list[int]:
        """Up to `most` tokens that followed the longest match, at its last place; often none."""
        for n in range(min(LONGEST_GRAM, len(self.tokens)), SHORTEST_GRAM - 1, -1):
            at = self._behind.get(tuple(self.tokens[-n:]))
            if at is not None:
                return self.tokens[at : at + most]
        return []
