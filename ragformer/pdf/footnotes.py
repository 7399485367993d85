"""Footnotes of a page in columns: those of the first column stand in the middle of its text.

    lines of the page -> notes at the foot of a column that another follows -> those lines last

A note begins with a small raised number, is set smaller than the page, and the text after it goes
on higher up. Sides count in hundredths of a point from the top left.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from dataclasses import dataclass
from statistics import median

from ragformer.pdf.order import Rows

SMALLER = 0.96  # of the page's usual height is a note's at most
_NUMBER = re.compile(r"^\d{1,3} \S", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class _Line:
    """Characters start..end and words first..last of a page, half open, with the tops of the first
    and the last word and the usual height."""

    start: int
    end: int
    first: int
    last: int
    top: int
    last_top: int
    height: float


def footnotes_last(text: str, words: Rows) -> tuple[str, Rows]:
    """The page with its footnotes after all of its text; most pages as they are."""
    if not _NUMBER.search(text):
        return text, words
    lines = _lines(text, words)
    if any(line.first == line.last for line in lines):
        return text, words
    usual = median(line.height for line in lines for _ in range(line.first, line.last))
    kept, notes = [], []
    at = 0
    while at < len(lines):
        end = at + 1
        if _begins_note(words, lines[at], usual):
            while end < len(lines) and _goes_on(lines[end - 1], lines[end], usual):
                end += 1
            if end < len(lines) and lines[end].top < lines[at].top - usual:
                notes += lines[at:end]
                at = end
                continue
        kept += lines[at:end]
        at = end
    return _write(text, words, kept + notes) if notes else (text, words)


def _lines(text: str, words: Rows) -> list[_Line]:
    starts, tops, bottoms = words[0::6], words[3::6], words[5::6]
    lines = []
    for match in re.finditer(r"[^\n]*\S[^\n]*", text):
        first, last = bisect_left(starts, match.start()), bisect_left(starts, match.end())
        heights = [bottoms[i] - tops[i] for i in range(first, last)]
        sides = (tops[first], tops[last - 1], median(heights)) if heights else (0, 0, 0.0)
        lines.append(_Line(match.start(), match.end(), first, last, *sides))
    return lines


def _begins_note(words: Rows, line: _Line, usual: float) -> bool:
    """Whether a line of small print begins with a smaller number that stands higher."""
    if line.last - line.first < 2 or not line.height < SMALLER * usual:
        return False
    start, end, _, top, _, bottom, *_, next_top, _, next_bottom = words[
        6 * line.first : 6 * line.first + 12
    ]
    height = next_bottom - next_top
    return end - start <= 3 and bottom - top < 0.85 * height and bottom < next_bottom - 0.1 * height


def _goes_on(before: _Line, after: _Line, usual: float) -> bool:
    """Whether the line after one of a note is below it and as small."""
    return after.top > before.last_top and after.height < SMALLER * usual


def _write(text: str, words: Rows, lines: list[_Line]) -> tuple[str, Rows]:
    found = array("i")
    length = 0
    for line in lines:
        moved = words[6 * line.first : 6 * line.last]
        for i in range(0, len(moved), 6):
            moved[i] += length - line.start
            moved[i + 1] += length - line.start
        found.extend(moved)
        length += line.end - line.start + 1
    return "\n".join(text[line.start : line.end] for line in lines), found
