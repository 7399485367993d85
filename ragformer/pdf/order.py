"""Reading order by geometry: columns that a PDF draws line by line across, and tables.

    words with boxes -> lines -> segments apart by wide gaps -> rows -> regions -> text in order

Most PDFs draw their text in the order it is read, and that is kept. Where the rows of a region
leave the same gaps free from top to bottom (the idea of the XY-cut: Nagy & Seth 1984), it is

    columns of prose    if its lines run on to the gap and the text leaps over it, line by line:
                        then column after column
    a table             if it has short cells: then one row a line, its cells apart by tabs

Sides count in hundredths of a point from the top left, as everywhere in the child.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import sub
from statistics import median
from typing import TypeAlias

from ragformer.pdf.clean import HANGS

WIDE = 0.9  # of the line's height: a gap between words that may be one between cells or columns
GUTTER = 600  # the narrowest gap between columns
MIN_ROWS = 3
PROSE_ROWS = 5
PROSE_WORDS = 4  # a line of prose holds about as many words, a cell of a table fewer
FILLED = 0.6  # of its column is how far a line of prose reaches
SHARE = 0.6  # of a table's rows have two cells or more
LEVEL = 200  # how far the sides of cells of one column may be apart
FAR = 2.5  # line heights between two rows that are not of one table
_NUMERIC = re.compile(r"[^\w]*\d[\d\W]*[a-zA-Z%]{0,2}")
_SYMBOLS = re.compile(r"\W{1,3}")  # a currency's, set apart from its amount
_BREAKS_OFF = re.compile(r"[a-z]-$")

Rows: TypeAlias = "array[int]"  # six numbers a word: start, end, x0, y0, x1, y1


@dataclass(slots=True)
class _Segment:
    """Words first..last (half open) of one line of the text, with no wide gap between them.

    cells: how many there are in that line.
    """

    line: int
    first: int
    last: int
    x0: int
    y0: int
    x1: int
    y1: int
    cells: int = 1

    @property
    def height(self) -> int:
        return self.y1 - self.y0


_Row = list[_Segment]
_Block = list[tuple[_Segment, ...]]


def in_reading_order(text: str, words: Rows) -> tuple[str, Rows]:
    """The page's text and words with columns and tables in order; most pages as they are."""
    if not _worth_a_look(words):
        return text, words
    segments = _segments(text, words)
    blocks: dict[int, _Block] = {}  # by the line of the text that their first segment is in
    moved: set[int] = set()
    for region in _regions(_rows_of(segments)):
        found = _columns(region) or _tables(region, text, words)
        for block in found:
            of_block = [segment for line in block for segment in line]
            moved.update(segment.first for segment in of_block)
            blocks.setdefault(min(segment.line for segment in of_block), []).extend(block)
    if not moved:
        return text, words
    left: dict[int, _Row] = {}
    for segment in segments:
        if segment.first not in moved:
            left.setdefault(segment.line, []).append(segment)
    return _write(text, words, _merged(left, blocks))


def _worth_a_look(words: Rows) -> bool:
    """Whether several words stand far right of the one before, or well above it.

    Asked first of every page, so without a loop of our own.
    """
    x0, y0, x1, y1 = (words[side::6] for side in range(2, 6))
    heights = sorted(map(sub, y1, y0))
    height = float(heights[len(heights) // 2]) if heights else 0.0
    wide = sum(map((WIDE * height).__lt__, map(sub, x0[1:], x1)))
    up = sum(map((1.5 * height).__lt__, map(sub, y0, y0[1:])))
    return wide + up > 1


def _segments(text: str, words: Rows) -> list[_Segment]:
    """Each line cut at its wide gaps; nothing where some text has no box, or it runs upright."""
    starts, ends, x0, y0, x1, y1 = (words[side::6] for side in range(6))
    across, down = sum(x1) - sum(x0), sum(y1) - sum(y0)
    if across < down:
        return []
    segments = []
    at, line, n = 0, 0, 0
    end = text.find("\n")
    while at < len(starts):
        stop = bisect_left(starts, end, at) if end >= 0 else len(starts)
        if stop > at:
            wide = _wide_gaps(x0, x1, at, stop, WIDE * (y1[at] - y0[at]))
            # Two halves of a word that was broken over lines stay together.
            cuts = [at, *(i for i in wide if starts[i] > ends[i - 1]), stop]
            for first, last in pairwise(cuts):
                box = min(x0[first:last]), y0[first], max(x1[first:last]), y1[first]
                segments.append(_Segment(line, first, last, *box, len(cuts) - 1))
        at, line, n = stop, line + 1, end + 1
        end = text.find("\n", n)
    return segments


def _wide_gaps(x0: Rows, x1: Rows, at: int, stop: int, wide: float) -> list[int]:
    """The words of at..stop that stand more than `wide` right of the word before."""
    gaps = list(map(sub, x0[at + 1 : stop], x1[at : stop - 1]))
    if not gaps or max(gaps) <= wide:
        return []
    return [at + 1 + i for i, gap in enumerate(gaps) if gap > wide]


def _rows_of(segments: list[_Segment]) -> list[_Row]:
    """Segments side by side, from the top; each row from the left."""
    rows: list[_Row] = []
    for segment in sorted(segments, key=lambda s: s.y0 + s.y1):
        middle = (segment.y0 + segment.y1) / 2
        top = rows[-1][0] if rows else None
        if top is not None and middle < top.y1 - 0.15 * top.height:
            rows[-1].append(segment)
        else:
            rows.append([segment])
    return [sorted(row, key=lambda s: s.x0) for row in rows]


def _regions(rows: list[_Row]) -> Iterator[list[_Row]]:
    """Runs of rows that leave at least one gap free from the first to the last."""
    region: list[_Row] = []
    covered: list[tuple[int, int]] = []
    for row in rows:
        own = _union([(s.x0, s.x1) for s in row])
        both = _union([*covered, *own])
        if region and len(both) == 1 and (len(covered) > 1 or len(own) > 1):
            if len(covered) > 1:
                yield region
            region, both = [], own
        region.append(row)
        covered = both
    if len(covered) > 1:
        yield region


def _union(intervals: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The intervals from the left, those less than GUTTER apart as one."""
    merged: list[tuple[int, int]] = []
    for x0, x1 in sorted(intervals):
        if merged and x0 - merged[-1][1] < GUTTER:
            merged[-1] = (merged[-1][0], max(merged[-1][1], x1))
        else:
            merged.append((x0, x1))
    return merged


def _columns(region: list[_Row]) -> list[_Block]:
    """The lines of a region of prose column by column, where the text goes across instead."""
    spans = _union([(s.x0, s.x1) for row in region for s in row])
    across = [row for row in region if len(row) > 1 and row[0].line == row[1].line]
    if not 1 < len(spans) < 5 or len(across) < max(PROSE_ROWS, 0.5 * len(region)):
        return []
    columns = [[s for row in region for s in row if _is_in(s, span)] for span in spans]
    for (x0, x1), column in zip(spans, columns, strict=True):
        if len(column) < PROSE_ROWS or median(s.last - s.first for s in column) < PROSE_WORDS:
            return []
        if median(s.x1 - s.x0 for s in column) < FILLED * (x1 - x0):
            return []
    return [[(segment,) for column in columns for segment in column]]


def _tables(region: list[_Row], text: str, words: Rows) -> list[_Block]:
    """The rows of each table in a region, one line each; a row of several lines stays as it is."""
    parts: list[list[_Row]] = []
    for row in region:
        if parts and row[0].y0 - parts[-1][-1][0].y1 < FAR * row[0].height:
            parts[-1].append(row)
        else:
            parts.append([row])
    blocks: list[_Block] = []
    for part in parts:
        full = [row for row in part if len(row) > 1]
        if len(part) < MIN_ROWS or len(full) < SHARE * len(part):
            continue
        if not (_has_short_cells(part) and _is_aligned(full)):
            continue
        if _is_by_columns(part, text, words):
            blocks.append([tuple(row) for row in part])
        else:
            blocks += [[tuple(sorted(row, key=lambda s: s.first))] for row in full if _is_line(row)]
    return blocks


def _is_line(row: _Row) -> bool:
    """Whether a row is one line of the text, nothing of which stands elsewhere."""
    return len({cell.line for cell in row}) == 1 and len(row) == row[0].cells


def _is_aligned(rows: list[_Row]) -> bool:
    """Whether most cells stand below one of the row before: by left or right side or middle."""
    n = n_aligned = 0
    for above, row in pairwise(rows):
        for cell in row:
            n += 1
            n_aligned += any(
                min(abs(cell.x0 - o.x0), abs(cell.x1 - o.x1)) < LEVEL
                or abs(cell.x0 + cell.x1 - o.x0 - o.x1) < 2 * LEVEL
                for o in above
            )
    return n_aligned >= SHARE * n


def _has_short_cells(rows: list[_Row]) -> bool:
    return median(cell.last - cell.first for row in rows for cell in row) < PROSE_WORDS


def _is_by_columns(rows: list[_Row], text: str, words: Rows) -> bool:
    """Whether the text has the cells column after column.

    A third of them must be numbers: an index or a list in columns is read just so.
    """
    spans = _union([(cell.x0, cell.x1) for row in rows for cell in row])
    by_columns = [cell for span in spans for row in rows for cell in row if _is_in(cell, span)]
    if any(a.first > b.first for a, b in pairwise(by_columns)):
        return False
    numbers = sum(_NUMERIC.fullmatch(_said(text, words, cell)) is not None for cell in by_columns)
    return numbers >= len(by_columns) / 3 and len({cell.line for cell in rows[-1]}) > 1


def _is_in(segment: _Segment, span: tuple[int, int]) -> bool:
    return span[0] <= segment.x0 <= span[1]


def _said(text: str, words: Rows, segment: _Segment) -> str:
    return text[words[6 * segment.first] : words[6 * segment.last - 5]]


def _merged(
    left: dict[int, _Row], blocks: dict[int, _Block]
) -> Iterator[tuple[Sequence[_Segment], str]]:
    """Each line, with what to put between its segments, where the text had its first one."""
    for line in sorted({*left, *blocks}):
        for segments in blocks.get(line, ()):
            yield segments, "\t"
        if line in left:
            yield left[line], " "


def _write(
    text: str, words: Rows, lines: Iterable[tuple[Sequence[_Segment], str]]
) -> tuple[str, Rows]:
    """The text of these lines and its words; a word that breaks off at a line's end is joined."""
    pieces: list[str] = []
    found = array("i")
    length = 0
    for segments, between in lines:
        for i, segment in enumerate(segments):
            said = _said(text, words, segment)
            broken = i == 0 and pieces and _BREAKS_OFF.search(pieces[-1][-2:])
            if broken and said[0].islower() and not HANGS.match(said):
                pieces[-1], length = pieces[-1][:-1], length - 1
                found[-5] -= 1
            elif pieces:
                alone = _SYMBOLS.fullmatch(pieces[-1]) is not None
                pieces.append("\n" if i == 0 else " " if alone else between)
                length += 1
            moved = words[6 * segment.first : 6 * segment.last]
            shift = length - moved[0]
            for j in range(0, len(moved), 6):
                moved[j] += shift
                moved[j + 1] += shift
            found.extend(moved)
            pieces.append(said)
            length += len(said)
    return "".join(pieces), found
