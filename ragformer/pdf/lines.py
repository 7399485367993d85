"""The lines of a page with their place on it, and which of them are running headers or footers."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import add, sub
from statistics import median

from ragformer.pdf.words import BOX_UNIT, Words
from ragformer.types import Page, Word

_LINE = re.compile(r"[^\n]*\S[^\n]*")
_NUMBER = re.compile(r"\d+|\b[ivxlc]+\b")
_PAGE_NUMBER = re.compile(
    rf"\b(?:page|seite|página|pagina)\W{{1,3}}(?:{_NUMBER.pattern})(?:\s*(?:of|von|de|di|/)\s*\d+)?"
)
_NAMES_NEXT = re.compile(r"(?:[#№]|\b(?:number|no|nr|nummer|número|numero))\W{0,2}$")
_NO_LETTERS = re.compile(r"[\W\d_]+")
LARGER = 1.15  # a heading is this many times as high as the body text, or more
EDGE_LINES = 3  # how many lines from the top and from the bottom may be running ones
BAND = 6.0  # points a running line may move up or down between pages
WINDOW = 4  # pages within which a running line comes back
SHARE = 0.4  # of the pages from its first to its last: it may stand on every second one
FRONT_MATTER = 30  # how far a printed page number may be from the physical one


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
    starts, *sides = _columns(page.words)
    at = 0
    for match in _LINE.finditer(page.text):
        said = match.group()
        start = match.start() + len(said) - len(said.lstrip())
        end = start + len(said.strip())
        first, at = at, bisect_left(starts, end, at)
        box = _box(*(side[first:at] for side in sides)) if first < at else ()
        lines.append(Line(page.number, start, end, *box))
    return lines


def _columns(words: Sequence[Word]) -> list[Sequence[float]]:
    """The starts, x0, y0, x1 and y1 of words, without making objects of those that are packed."""
    if isinstance(words, Words):
        starts, _, *sides = words.columns()
        return [starts, *([number / BOX_UNIT for number in side] for side in sides)]
    rows = [(word.start, *word.box) for word in words]
    return [list(column) for column in zip(*rows, strict=True)] or [[]] * 5


def _box(
    x0: Sequence[float], y0: Sequence[float], x1: Sequence[float], y1: Sequence[float]
) -> tuple[float, ...]:
    """Around the words of a line, and their height. A word joined over a line end has its second
    half below: the line is where most words are."""
    high = list(map(sub, y1, y0))
    heights = map(min, high, map(add, map(sub, x1, x0), high))
    return min(x0), median(y0), max(x1), median(y1), median(heights)


def body_height(lines: Iterable[Line]) -> float:
    """The height most characters are set in; 0 when no line has a place."""
    count: Counter[float] = Counter()
    for line in lines:
        count[round(line.height * 2) / 2] += line.end - line.start
    del count[0.0]
    return max(count, key=lambda height: (count[height], -height), default=0.0)


@dataclass(frozen=True, slots=True)
class _Edge:
    """A line near the top or bottom of its page.

    text: lower-cased, with "page" for "page 3 of 9". numbers: the others, each with whether it
    may be the page's own: it stands alone, or is about the physical page or its printed label and
    names nothing else ("No. 3").
    """

    line: Line
    text: str
    numbers: tuple[tuple[int, bool], ...]

    @classmethod
    def of(cls, page: Page, line: Line) -> _Edge:
        text = _PAGE_NUMBER.sub("page", page.text[line.start : line.end].casefold())
        found = list(_NUMBER.finditer(text))
        alone = len(found) == 1 and _NO_LETTERS.fullmatch(text) is not None
        own = [page.number, *map(_value, _NUMBER.findall(page.label.casefold()))]
        numbers = []
        for match in found:
            value = _value(match.group())
            near = min(abs(value - number) for number in own) <= FRONT_MATTER
            names = _NAMES_NEXT.search(text, 0, match.start()) is not None
            numbers.append((value, alone or (near and not names)))
        return cls(line, text, tuple(numbers))


def running_lines(pages: Sequence[Page], lines: Sequence[Sequence[Line]]) -> set[Line]:
    """The lines that come back page after page at the top or bottom: the same but for the page's
    number.

    lines: those of each page, in order. A line counts when it stands at the same height and says
    the same as one within the next pages, at least three times. Each of its numbers stays, or may
    be the page's own and counts on with it; so the rows of a long table stay in, and "Invoice
    5017": a line lost to search costs more than one too many. A large line whose number counts on
    is a heading ("Lesson 3"), not a running line.
    """
    groups: dict[str, list[_Edge]] = defaultdict(list)
    for page, on_page in zip(pages, lines, strict=True):
        for line in _edges(on_page):
            edge = _Edge.of(page, line)
            groups[_NUMBER.sub("\0", edge.text)].append(edge)
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


def _by_height(group: list[_Edge]) -> list[list[_Edge]]:
    """Parts of a group whose lines stand at the same height, give or take BAND, by page."""
    parts: list[list[_Edge]] = []
    for edge in sorted(group, key=lambda edge: edge.line.y0):
        if parts and edge.line.y0 - parts[-1][-1].line.y0 <= BAND:
            parts[-1].append(edge)
        else:
            parts.append([edge])
    return [sorted(part, key=lambda edge: edge.line.page) for part in parts]


def _repeated(same: list[_Edge], large: float) -> list[Line]:
    """The lines of one text and height that recur close together and count like pages do."""
    runs: list[list[_Edge]] = [[]]
    for edge in same:
        if runs[-1] and edge.line.page - runs[-1][-1].line.page > WINDOW:
            runs.append([])
        runs[-1].append(edge)
    return [edge.line for run in runs if _is_running(run, large) for edge in run]


def _is_running(run: list[_Edge], large: float) -> bool:
    pages = {edge.line.page for edge in run}
    texts = {edge.text for edge in run}
    if large and min(edge.line.height for edge in run) >= large and len(texts) > 1:
        return all(map(_NO_LETTERS.fullmatch, texts)) and len(pages) >= 3 and _counts_on(run)
    return len(pages) >= max(3, SHARE * (max(pages) - min(pages) + 1)) and _counts_on(run)


def _counts_on(run: list[_Edge]) -> bool:
    """Whether each number stays or, in most steps, is a page's own and grows by as much as it."""
    for numbers in zip(*(edge.numbers for edge in run), strict=True):
        if len({value for value, _ in numbers}) == 1:
            continue
        ahead = [value - edge.line.page for edge, (value, _) in zip(run, numbers, strict=True)]
        steps = zip(pairwise(ahead), numbers[1:], strict=True)
        if sum(own and a == b for (a, b), (_, own) in steps) < 0.6 * (len(run) - 1):
            return False
    return True


def _value(number: str) -> int:
    """An Arabic or Roman number's value; numbers of absurd length are cut."""
    if number[0].isdigit():
        return int(number[:18])
    digits = [{"i": 1, "v": 5, "x": 10, "l": 50, "c": 100}[letter] for letter in number]
    return sum(-a if a < b else a for a, b in zip(digits, [*digits[1:], 0], strict=True))
