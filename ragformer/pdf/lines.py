"""The lines of a page with their place on it, and which of them are running headers or footers."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from ragformer.types import Page, Word

_LINE = re.compile(r"[^\n]*\S[^\n]*")
_NUMBER = re.compile(r"\d+|\b[ivxlc]+\b")
_PAGE_NUMBER = re.compile(r"\b(?:page|seite|página|pagina)\b|^[\W\d]+$", re.IGNORECASE)
LARGER = 1.15  # a heading is this many times as high as the body text, or more
EDGE_LINES = 3  # how many lines from the top and from the bottom may be running ones
BAND = 6.0  # points a running line may move up or down between pages
WINDOW = 4  # pages within which a running line comes back
SHARE = 0.4  # of the pages from its first to its last: it may stand on every second one


@dataclass(frozen=True, slots=True)
class Line:
    """Characters start..end of a page (no blanks at the ends) and the box around them.

    `height` is the font's, by the median word; the box and height are 0 where there are none.
    """

    page: int
    start: int
    end: int
    x0: float = 0.0
    y0: float = 0.0
    x1: float = 0.0
    y1: float = 0.0
    height: float = 0.0


def page_lines(page: Page) -> list[Line]:
    """The lines of a page that are not blank, in the order of its text."""
    lines = []
    words, at = page.words, 0
    for match in _LINE.finditer(page.text):
        start = match.start() + len(match.group()) - len(match.group().lstrip())
        end = start + len(match.group().strip())
        first = at
        while at < len(words) and words[at].start < end:
            at += 1
        lines.append(_line(page.number, start, end, words[first:at]))
    return lines


def _line(page: int, start: int, end: int, words: Sequence[Word]) -> Line:
    if not words:
        return Line(page, start, end)
    # A word joined over a line end has its second half below: the line is where most words are.
    return Line(
        page,
        start,
        end,
        min(word.x0 for word in words),
        median(word.y0 for word in words),
        max(word.x1 for word in words),
        median(word.y1 for word in words),
        median(min(word.y1 - word.y0, word.x1 - word.x0 + word.y1 - word.y0) for word in words),
    )


def body_height(lines: Iterable[Line]) -> float:
    """The height most characters are set in; 0 when no line has a place."""
    count: Counter[float] = Counter()
    for line in lines:
        count[round(line.height * 2) / 2] += line.end - line.start
    del count[0.0]
    return max(count, key=lambda height: (count[height], -height), default=0.0)


def running_lines(pages: Sequence[Page], lines: Sequence[Sequence[Line]]) -> set[Line]:
    """The lines that come back page after page at the top or bottom: the same but for numbers.

    lines: those of each page, in order. A line counts when it stands at the same height and says
    the same as one within the next pages, at least three times, and its numbers stay or count on
    with the pages; so the rows of a long table stay in. A large line whose number counts on is a
    heading ("Lesson 3"), not a running line.
    """
    groups: dict[str, list[tuple[Line, str]]] = defaultdict(list)
    for page, on_page in zip(pages, lines, strict=True):
        for line in _edges(on_page):
            text = page.text[line.start : line.end]
            groups[_NUMBER.sub("#", text.casefold())].append((line, text))
    usual = body_height(line for on_page in lines for line in on_page)
    running: set[Line] = set()
    for group in groups.values():
        for same in _by_height(group):
            running.update(_repeated(same, LARGER * usual))
    # A running line runs along other text: where there is none, it is all the document says.
    return running if any(line not in running for on_page in lines for line in on_page) else set()


def _edges(lines: Sequence[Line]) -> list[Line]:
    """The lines nearest to the top and bottom edge; the first and last where no place is known."""
    if any(line.height for line in lines):
        lines = sorted((line for line in lines if line.height), key=lambda line: line.y0)
    return list(dict.fromkeys([*lines[:EDGE_LINES], *lines[-EDGE_LINES:]]))


def _by_height(group: list[tuple[Line, str]]) -> list[list[tuple[Line, str]]]:
    """Parts of a group whose lines stand at the same height, give or take BAND, by page."""
    parts: list[list[tuple[Line, str]]] = []
    for item in sorted(group, key=lambda item: item[0].y0):
        if parts and item[0].y0 - parts[-1][-1][0].y0 <= BAND:
            parts[-1].append(item)
        else:
            parts.append([item])
    return [sorted(part, key=lambda item: item[0].page) for part in parts]


def _repeated(same: list[tuple[Line, str]], large: float) -> list[Line]:
    """The lines of one text and height that recur close together and count like pages do."""
    runs: list[list[tuple[Line, str]]] = [[]]
    for item in same:
        if runs[-1] and item[0].page - runs[-1][-1][0].page > WINDOW:
            runs.append([])
        runs[-1].append(item)
    return [line for run in runs if _is_running(run, large) for line, _ in run]


def _is_running(run: list[tuple[Line, str]], large: float) -> bool:
    pages = {line.page for line, _ in run}
    texts = {text for _, text in run}
    if large and min(line.height for line, _ in run) >= large and len(texts) > 1:
        return all(map(_PAGE_NUMBER.search, texts)) and len(pages) >= 3 and _counts_on(run)
    return len(pages) >= max(3, SHARE * (max(pages) - min(pages) + 1)) and _counts_on(run)


def _counts_on(run: list[tuple[Line, str]]) -> bool:
    """Whether, in most steps, each number stays or grows by as much as the page does."""
    good = 0
    for (line, text), (next_line, next_text) in pairwise(run):
        pages = next_line.page - line.page
        numbers, next_numbers = _numbers(text), _numbers(next_text)
        good += all(b - a in (0, pages) for a, b in zip(numbers, next_numbers, strict=False))
    return good >= 0.6 * (len(run) - 1)


def _numbers(text: str) -> list[int]:
    return [_value(number) for number in _NUMBER.findall(text.casefold())]


def _value(number: str) -> int:
    """An Arabic or Roman number's value; numbers of absurd length are cut."""
    if number[0].isdigit():
        return int(number[:18])
    digits = [{"i": 1, "v": 5, "x": 10, "l": 50, "c": 100}[letter] for letter in number]
    return sum(-a if a < b else a for a, b in zip(digits, [*digits[1:], 0], strict=True))
