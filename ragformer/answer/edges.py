"""Where a short answer may begin and end: at whole words and whole numbers."""

from __future__ import annotations

import unicodedata

from ragformer.store.rows import DENSE_RUN


def whole_words(text: str, start: int, end: int) -> tuple[int, int]:
    """start..end less the white space at its ends, grown where it would cut a number or a word.

    Tokens end anywhere: "15 months" is never to be answered as "5 months", nor 3,029.64 as 9.64.
    """
    start, end = trimmed(text, start, end)
    while 0 < start < len(text) and _cuts(text, start):
        start -= 1
    while 0 < end < len(text) and _cuts(text, end):
        end += 1
    return start, end


def trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """start..end less the white space at its ends."""
    chosen = text[start:end]
    return start + len(chosen) - len(chosen.lstrip()), start + len(chosen.rstrip())


def _cuts(text: str, at: int) -> bool:
    """Whether number, word or character goes on from text[at - 1] to text[at]."""
    before, after = text[at - 1], text[at]
    if _is_mark(after):
        return not before.isspace()
    if after.isdigit():
        in_number = before in ".," and text[at - 2 : at - 1].isdigit()
        return before.isdigit() or in_number or _in_word(before)
    if before.isdigit():
        return after in ".," and text[at + 1 : at + 2].isdigit()
    return _in_word(before) and _in_word(after)


def _in_word(letter: str) -> bool:
    """Whether it is part of a word with white space around. Chinese, Thai and their like are
    written without."""
    return (letter.isalpha() or _is_mark(letter)) and not DENSE_RUN.match(letter)


def _is_mark(character: str) -> bool:
    """Whether it belongs to the character before: a vowel sign, an accent, a (non-)joiner."""
    return unicodedata.category(character)[0] == "M" or character in "\u200c\u200d"
