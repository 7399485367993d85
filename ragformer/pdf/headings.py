"""Which lines are headings, and under which headings each line stands.

The document's own outline comes first. Below it, or without one, a heading is a short line that
is larger than the body text, or numbered like one, or (only without an outline) stands alone in
capitals or title case. Where a rule is in doubt the line is body text: a missed heading costs a
little context, a false one cuts a paragraph.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from ragformer.pdf.lines import LARGER, Line, body_height
from ragformer.types import OutlineItem, Page

_NUMBERED = re.compile(
    r"(?:(?:chapter|section|part|appendix|article|annex)\s+(?:\d{1,3}|[A-Z]|[IVX]{1,5})\b[.:]?\s*"
    r"|(?P<number>\d{1,2}(?:\.\d{1,2}){1,4}|[A-Z]\.\d{1,2}(?:\.\d{1,2})*)\.?\s+(?=[A-Z])"
    r"|(?P<single>\d{1,2})\.?\s+(?=[A-Z]))",
    re.IGNORECASE,
)
# Formulas, addresses, list items, lines of a table of contents ("Results ..... 12").
_NEVER = re.compile(r"[=<>{}|\\@∑∫√]|\.\s?\.\s?\.|^[•◦▪●○■□‣∙*–—-]")
_ENDS_IN_NUMBER = re.compile(r"\s\d+$")
_MAX_WORDS = 14
_MAX_CHARS = 120
_ABOVE_ALL = -1e6  # ranks of outline items start here: nothing on the page outranks them


@dataclass(frozen=True, slots=True)
class Placed:
    """A line, whether it is a heading, and the headings it stands under (its own included)."""

    line: Line
    heading: bool
    path: tuple[str, ...]


def place_lines(
    pages: Sequence[Page], lines: Sequence[Line], outline: Sequence[OutlineItem]
) -> list[Placed]:
    """Give each body line its heading path. lines: in the order of the text, all pages."""
    usual = body_height(lines)
    texts = [pages[line.page - 1].text[line.start : line.end] for line in lines]
    known = _outline_headings(texts, lines, outline)
    titles = {_plain(item.title) for item in outline}
    stack: list[tuple[float, str]] = []
    placed: list[Placed] = []
    previous: tuple[int, float] | None = None  # where the last heading was found, and its rank
    for i, line in enumerate(lines):
        for level, title, _ in known.get(i, ()):
            _push(stack, level, title)
        own = any(stands_here for _, _, stands_here in known.get(i, ()))
        text = texts[i]
        rank = None if own else _rank(texts, lines, i, usual, bool(outline))
        if rank is not None and _plain(text) in titles:
            own, rank = True, None
        if rank is not None and previous == (i - 1, rank) and _continues(lines, i, text):
            stack[-1] = (rank, f"{stack[-1][1]} {text}"[:_MAX_CHARS])
        elif rank is not None:
            _push(stack, rank, text)
        previous = (i, rank) if rank is not None else previous
        placed.append(Placed(line, own or rank is not None, tuple(title for _, title in stack)))
    return placed


def _continues(lines: Sequence[Line], i: int, text: str) -> bool:
    """Whether a heading is the next line of the heading just before it."""
    gap = lines[i].y0 - lines[i - 1].y1
    return (
        lines[i].page == lines[i - 1].page
        and gap < 0.5 * lines[i].height
        and not (_NUMBERED.match(text))
    )


def _push(stack: list[tuple[float, str]], rank: float, title: str) -> None:
    """A heading ends all that rank no higher. A lower rank number is a higher heading."""
    while stack and stack[-1][0] >= rank:
        stack.pop()
    stack.append((rank, " ".join(title.split())))


def _rank(
    texts: Sequence[str], lines: Sequence[Line], i: int, usual: float, has_outline: bool
) -> float | None:
    """The rank of line i as a heading, None when it is body text."""
    line, text = lines[i], texts[i]
    n_words = len(text.split())
    if n_words > _MAX_WORDS or len(text) > _MAX_CHARS or text[-1] in ".,;:-":
        return None
    if len(re.findall(r"[^\W\d_]", text)) < max(3, 0.6 * len(text)) or _NEVER.search(text):
        return None
    if _ENDS_IN_NUMBER.search(text) and any(
        _ENDS_IN_NUMBER.search(near) for near in (*texts[max(0, i - 1) : i], *texts[i + 1 : i + 2])
    ):
        return None  # one of several lines that end in a page number: a table of contents
    numbered = _NUMBERED.match(text)
    depth = 1 + (numbered.group("number") or "").count(".") if numbered else 0
    if usual and line.height >= LARGER * usual:
        return -round(line.height * 2) / 2 + 0.01 * depth
    alone = usual > 0 and _stands_alone(lines, i)
    if numbered and alone and (text[0].isupper() or numbered.group("number")):
        return -usual + 0.01 * depth
    if alone and not has_outline and n_words <= 8 and _in_title_case(text):
        return -usual + 0.5
    return None


def _stands_alone(lines: Sequence[Line], i: int) -> bool:
    """Whether white space sets the line off above (or it starts a page) and text follows it."""
    line = lines[i]
    if i + 1 >= len(lines) or lines[i + 1].page != line.page:
        return False
    after = lines[i + 1]
    if abs(after.y0 - line.y0) < line.height or after.end - after.start < line.end - line.start:
        return False
    before = lines[i - 1] if i else None
    if before is None or before.page != line.page or before.y0 > line.y0:
        return True
    return line.y0 - before.y1 > 0.5 * line.height


def _in_title_case(text: str) -> bool:
    words = [word for word in re.findall(r"[^\W\d_]+", text) if len(word) > 3 or word.isupper()]
    return bool(words) and all(word[0].isupper() for word in words)


def _plain(text: str) -> str:
    """Letters and digits only, for comparing headings."""
    return re.sub(r"[\W_]+", "", text.casefold())


def _outline_headings(
    texts: Sequence[str], lines: Sequence[Line], outline: Sequence[OutlineItem]
) -> dict[int, list[tuple[float, str, bool]]]:
    """For line indices: (rank, title, whether the line is the heading itself) that begin there."""
    on_page: dict[int, list[int]] = defaultdict(list)
    said = [_plain(text) for text in texts]
    for i, line in enumerate(lines):
        on_page[line.page].append(i)
    with_text = sorted(on_page)
    begins: dict[int, list[tuple[float, str, bool]]] = defaultdict(list)
    last = 0
    for item in outline:
        nearest = bisect_left(with_text, item.page)
        here = on_page[with_text[nearest]] if nearest < len(with_text) else []
        if not here or here[-1] < last:
            continue
        title = _plain(item.title)
        first = max(here[0], last)
        found = next((i for i in range(first, here[-1] + 1) if _says(said[i], title)), None)
        begins[first if found is None else found].append(
            (_ABOVE_ALL + item.level, item.title, found is not None)
        )
        last = last if found is None else found + 1
    return begins


def _says(line: str, title: str) -> bool:
    """Whether a line is this heading: the same, or with a number before, or its first part."""
    if not line or not title:
        return False
    if line == title or (line.endswith(title) and len(line) - len(title) <= 6):
        return True
    return title.startswith(line) and len(line) >= 0.5 * len(title)
