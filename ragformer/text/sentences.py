"""Where sentences begin and end in the text of a page.

Line breaks of a PDF fall anywhere, so one ends a sentence only where the layout says so: before a
bullet or a blank line, between two rows of a table, a form or a table of contents, or after a line
clearly shorter than its neighbours (a heading, the end of a paragraph).
"""

from __future__ import annotations

import re
from itertools import pairwise

_ABBREVIATION = re.compile(
    r"(?:\b(?:[A-Z]|e\.g|i\.e|cf|vs|Dr|Mr|Mrs|Ms|St|No|Nos|Fig|Figs|Eq|Sec|Art|Inc|Ltd|Corp|Co|Jr|Sr"
    r"|al|approx|ca|pp|vol|Vol|Gen|Col|Prof|Rev|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec|U\.S))$"
)
_STOP = re.compile(r"[.!?]+[\"'”’)\]]*(?=\s+[\"'“‘(\[]*[A-Z0-9•])|[。！？]")
_BULLET = re.compile(r"\s*(?:[-•*–▪◦‣]\s|\(?(?:\d{1,3}|[a-z]|[ivx]{1,4})[.)]\s)")

_FIELD = re.compile(r"\s*[A-Z][^:.?!]{0,40}:(?:\s|$)")
_NUMBERED = re.compile(r"\s*\d{1,9}\s+[A-Z]")


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Start and end of each sentence, in order, white space at both ends left out."""
    cuts = sorted({0, len(text), *_punctuation_cuts(text), *_line_cuts(text)})
    spans = []
    for start, end in pairwise(cuts):
        stripped = text[start:end].strip()
        if stripped:
            start += len(text[start:end]) - len(text[start:end].lstrip())
            spans.append((start, start + len(stripped)))
    return spans


def _punctuation_cuts(text: str) -> list[int]:
    cuts = []
    for match in _STOP.finditer(text):
        before = text[max(0, match.start() - 12) : match.start()]
        abbreviated = match.group().startswith(".") and _ABBREVIATION.search(before)
        if abbreviated or leads_to_page(text[max(0, match.end() - 12) : match.end()]):
            continue
        cuts.append(match.end())
    return cuts


def _line_cuts(text: str) -> list[int]:
    lines = text.split("\n")
    if len(lines) == 1:
        return []
    full = sorted(len(line) for line in lines)[len(lines) * 3 // 4]
    cuts, position = [], 0
    for line, following in pairwise(lines):
        position += len(line) + 1
        starts_anew = not following.strip() or _BULLET.match(following) or "|" in following
        starts_anew = starts_anew or "\t" in line or "\t" in following  # cells of a table
        starts_anew = starts_anew or any(is_one(line) and is_one(following) for is_one in _ROWS)
        short = len(line) < 0.6 * full and not following[:1].islower()
        if starts_anew or short or not line.strip():
            cuts.append(position)
    return cuts


def _is_row(line: str) -> bool:
    """Whether a line looks like a table's: at least two numbers, one word in three a number."""
    words = line.split()
    n_numbers = sum(any(c.isdigit() for c in word) for word in words)
    return n_numbers >= 2 and 3 * n_numbers >= len(words)


def _is_entry(line: str) -> bool:
    """Whether a line looks like one of a list of contents: "12 Results" or "Results ..... 12"."""
    return bool(_NUMBERED.match(line)) or leads_to_page(line)


def leads_to_page(line: str) -> bool:
    """Whether dots lead to a page number at its end, or to its end: "Results . . . . . 12"."""
    return line.rstrip(" \t0123456789")[-12:].replace(" ", "").endswith(".....")


_ROWS = (_is_row, _FIELD.match, _is_entry)
"""What two lines that follow each other must both be like to be rows: numbers of a table, fields of
a form ("Make: Cessna"), entries of a list of contents."""
