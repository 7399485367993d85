"""Cut a document into chunks: runs of body text of a size that a search result should have.

    pages -> lines -> body lines with their headings -> paragraphs -> pieces -> chunks

Every character of the body that is not blank ends up in exactly one chunk, in order; running
headers and footers in none; and the row that names a table's columns also in every chunk that
starts further down the table, so that its cells are found by them. A piece is a paragraph, or a
part of one that is too long: cut at sentences, else at lines, else at words, else anywhere.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from ragformer.pdf.headings import Placed, place_lines
from ragformer.pdf.lines import Line, page_lines, running_lines
from ragformer.pdf.read import PdfText
from ragformer.pdf.tables import Part, headers
from ragformer.types import Chunk, Page, Span

SMALL = 30  # tokens: a chunk below this joins a neighbour on its page where it fits
_BULLET = re.compile(r"(?:[•◦▪●○■□‣∙·*–—-]|\(?(?:\d{1,3}|[a-zA-Z]|[ivx]{1,4})[.)])\s")
_SENTENCE_END = re.compile(r"[.!?:。！？][\"'”’)\]]*$")
_SENTENCES = re.compile(r"(?<=[.!?])[\"'”’)\]]*\s+(?=[\"'“‘(\[]*[A-Z0-9])|(?<=[。！？])")
_LINES = re.compile(r"\n")
_WORDS = re.compile(r"\s+")

Count = Callable[[str], int]


@dataclass(frozen=True, slots=True)
class _Piece:
    """Characters of one page that stay together, their tokens and headings."""

    page: int
    start: int
    end: int
    n_tokens: int
    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Paragraph:
    """The pieces of one paragraph. `follows_on`: the text runs on from the page before."""

    pieces: list[_Piece]
    heading: bool
    follows_on: bool

    @property
    def n_tokens(self) -> int:
        return sum(piece.n_tokens + 1 for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class _Fitting:
    """Pieces as the one text they make."""

    pieces: list[_Piece]
    spans: tuple[Span, ...]
    text: str
    n_tokens: int

    def chunk(self, ordinal: int, title: str) -> Chunk:
        """The headings are those of the longest piece, less one that repeats the title."""
        longest = max(self.pieces, key=lambda piece: piece.n_tokens)
        path = tuple(heading for heading in longest.path if heading.casefold() != title.casefold())
        return Chunk(ordinal, path, self.text, self.spans, self.n_tokens)


def split_pages(text: PdfText, count_tokens: Count, max_tokens: int = 200) -> list[Chunk]:
    """The chunks of a document, in order, each of at most max_tokens by `count_tokens`.

    Chunks follow headings and paragraphs and leave a page only where a paragraph does.
    """
    if max_tokens < 1:
        raise ValueError(f"a chunk needs at least 1 token, not {max_tokens}")
    lines = [page_lines(page) for page in text.pages]
    running = running_lines(text.pages, lines)
    body = [line for on_page in lines for line in on_page if line not in running]
    placed = place_lines(text.pages, body, text.outline)
    cutter = _Cutter(text.pages, count_tokens, max_tokens)
    paragraphs = [cutter.paragraph(group) for group in _paragraphs(text.pages, placed)]
    groups = _join_small(list(_pack(paragraphs, max_tokens)), max_tokens)
    fitting = [part for group in groups for part in cutter.fit(group)]
    return [part.chunk(i, text.title) for i, part in enumerate(fitting)]


def _paragraphs(pages: Sequence[Page], placed: Sequence[Placed]) -> Iterator[list[Placed]]:
    """Lines grouped to paragraphs; a paragraph ends at the end of its page."""
    pitches = _pitches([item.line for item in placed])
    group: list[Placed] = []
    for item in placed:
        if group and _breaks(pages, group[-1], item, pitches.get(item.line.page, 0.0)):
            yield group
            group = []
        group.append(item)
    if group:
        yield group


def _pitches(lines: Sequence[Line]) -> dict[int, float]:
    """For each page the usual distance from one line's top to the next, in line heights."""
    steps: dict[int, list[float]] = {}
    for line, after in pairwise(lines):
        if line.page == after.page and line.height and 0 < after.y0 - line.y0 < 4 * line.height:
            steps.setdefault(line.page, []).append((after.y0 - line.y0) / line.height)
    return {page: median(found) for page, found in steps.items()}


def _breaks(pages: Sequence[Page], before: Placed, after: Placed, pitch: float) -> bool:
    """Whether a new paragraph starts at `after`."""
    a, b = before.line, after.line
    if a.page != b.page or before.path != after.path or before.heading != after.heading:
        return True
    text = pages[a.page - 1].text
    if after.heading:
        return False  # both: a heading of two lines
    if _BULLET.match(text, b.start, b.end):
        return True
    ended = _SENTENCE_END.search(text[max(a.start, a.end - 8) : a.end]) is not None
    if not a.height or not b.height:
        blank_line = text.count("\n", a.end, b.start) > 1
        return blank_line or (ended and a.end - a.start < 0.75 * (b.end - b.start))
    if abs(a.height - b.height) > 0.12 * max(a.height, b.height):
        return True
    if b.y0 < a.y0 - a.height:  # the next column
        return ended
    if b.y0 - a.y0 > 1.3 * max(pitch, 1.0) * a.height:
        return True
    indented = b.x0 > a.x0 + 0.8 * b.height
    return ended and (indented or a.x1 - a.x0 < 0.8 * (b.x1 - b.x0))


class _Cutter:
    """Cuts paragraphs into pieces and makes chunks of them; knows the pages and the counter."""

    def __init__(self, pages: Sequence[Page], count: Count, max_tokens: int) -> None:
        self.pages = pages
        self.count = count
        self.max_tokens = max_tokens
        self._headers: dict[int, list[tuple[Part, int]]] = {}

    def paragraph(self, group: list[Placed]) -> _Paragraph:
        """The pieces of some lines. Lines with a running line between them are kept apart."""
        first = group[0]
        text = self.text(first.line.page)
        pieces: list[_Piece] = []
        start, end = first.line.start, first.line.end
        for item in group[1:]:
            if text[end : item.line.start].strip():
                pieces += self._cut(first, start, end)
                start = item.line.start
            end = item.line.end
        pieces += self._cut(first, start, end)
        return _Paragraph(pieces, first.heading, self._follows_on(first))

    def text(self, page: int) -> str:
        return self.pages[page - 1].text

    def _follows_on(self, first: Placed) -> bool:
        """Whether a paragraph that opens a page continues the text of the page before."""
        line = first.line
        return not first.heading and self.text(line.page)[line.start].islower()

    def _cut(self, placed: Placed, start: int, end: int) -> list[_Piece]:
        page = placed.line.page
        ranges = self._ranges(self.text(page), start, end, 0)
        return [_Piece(page, a, b, n, placed.path) for a, b, n in ranges]

    def _ranges(self, text: str, start: int, end: int, level: int) -> list[tuple[int, int, int]]:
        """(start, end, tokens) of parts that fit, without blanks at their ends."""
        part = text[start:end]
        n_tokens = self.count(part)
        if n_tokens <= self.max_tokens or end - start <= 1:
            return [(start, end, n_tokens)]
        ways = (_LINES, _WORDS) if _is_table(part) else (_SENTENCES, _LINES, _WORDS)
        found: list[tuple[int, int, int]] = []
        for deeper in range(level, len(ways)):
            parts = _split(ways[deeper], text, start, end)
            if len(parts) > 1:
                for a, b in parts:
                    found += self._ranges(text, a, b, deeper + 1)
                return found
        middle = (start + end) // 2
        for a, b in ((start, middle), (middle, end)):
            found += self._ranges(text, a, b, len(ways))
        return found

    def fit(self, group: list[_Piece]) -> list[_Fitting]:
        """The group with its table's header, halved while it counts more tokens than it may."""
        headed = self._join([*self._header(group[0]), *group])
        if headed.n_tokens <= self.max_tokens:
            return [headed]
        if len(group) == 1:
            return [self._join(group)]
        middle = len(group) // 2
        return self.fit(group[:middle]) + self.fit(group[middle:])

    def _header(self, first: _Piece) -> list[_Piece]:
        """The row that names the columns, for pieces that start further down the same table."""
        if first.page not in self._headers:
            self._headers[first.page] = headers(self.text(first.page))
        for (start, end), table_end in self._headers[first.page]:
            if end <= first.start < table_end:
                return [_Piece(first.page, start, end, 0, first.path)]
        return []

    def _spans(self, group: list[_Piece]) -> tuple[Span, ...]:
        """Pieces that only blanks keep apart share a span."""
        spans: list[Span] = []
        for piece in group:
            last = spans[-1] if spans else None
            if last and last.page == piece.page:
                between = self.text(piece.page)[last.end : piece.start]
                if not between.strip():
                    spans[-1] = Span(piece.page, last.start, piece.end)
                    continue
            spans.append(Span(piece.page, piece.start, piece.end))
        return tuple(spans)

    def _join(self, group: list[_Piece]) -> _Fitting:
        spans = self._spans(group)
        text = "\n".join(self.text(s.page)[s.start : s.end] for s in spans)
        return _Fitting(group, spans, text, self.count(text))


def _is_table(text: str) -> bool:
    """Whether so many words are numbers that the lines must be rows."""
    words = text.split()
    return "\n" in text and sum(any(map(str.isdigit, w)) for w in words) > 0.3 * len(words)


def _split(way: re.Pattern[str], text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Parts of text[start:end] between matches of `way`, closing quotes kept, blanks trimmed."""
    parts = []
    at = start
    for match in way.finditer(text, start, end):
        cut = match.start() + len(match.group().rstrip())
        parts.append((at, cut))
        at = match.end()
    parts.append((at, end))
    trimmed = []
    for a, b in parts:
        part = text[a:b]
        if part.strip():
            a += len(part) - len(part.lstrip())
            trimmed.append((a, a + len(part.strip())))
    return trimmed


def _pack(paragraphs: Sequence[_Paragraph], max_tokens: int) -> Iterator[list[_Piece]]:
    """Fill chunks with paragraphs, a new one at each heading and page; long ones in even parts."""
    group: list[_Piece] = []
    size, only_headings, opens_page = 0, True, True
    for paragraph in paragraphs:
        turns = bool(group) and group[-1].page != paragraph.pieces[0].page
        if group and only_headings:
            ends = turns and opens_page  # a title page; else a heading goes with what follows it
        else:
            full = size + paragraph.n_tokens > max_tokens
            ends = full or paragraph.heading or (turns and not paragraph.follows_on)
        if group and ends:
            yield group
            group, size, only_headings, opens_page = [], 0, True, turns
        n_parts = math.ceil((size + paragraph.n_tokens) / max_tokens)
        target = min(max_tokens, 1.15 * (size + paragraph.n_tokens) / n_parts)
        for piece in paragraph.pieces:
            if group and size + piece.n_tokens + 1 > target:
                yield group
                group, size = [], 0
            group.append(piece)
            size += piece.n_tokens + 1
        only_headings = only_headings and paragraph.heading
    if group:
        yield group


def _join_small(groups: Sequence[list[_Piece]], max_tokens: int) -> list[list[_Piece]]:
    """Let a group below SMALL join the one before or after it on the same page, where it fits."""
    joined: list[list[_Piece]] = []
    for group in groups:
        if joined and joined[-1][-1].page == group[0].page:
            before, here = (sum(p.n_tokens + 1 for p in g) for g in (joined[-1], group))
            if min(before, here) < SMALL and before + here <= max_tokens:
                joined[-1] = joined[-1] + group
                continue
        joined.append(group)
    return joined
