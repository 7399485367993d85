"""From characters of a passage to a place on a page, checked against the store."""

from __future__ import annotations

from typing import Any

from ragformer.errors import NotFoundError, StoreBusyError, StoreError
from ragformer.store.rows import storable
from ragformer.store.store import Store
from ragformer.text.sentences import sentence_spans
from ragformer.types import Box, Citation, Page, Passage, Span

LONGEST_QUOTE = 600
"""Bytes of UTF-8: a script the tokenizer does not know is written byte by byte. A longer sentence
(a table without line ends, say) is quoted around the answer."""


def part_spans(passage: Passage) -> list[tuple[int, int, Span]]:
    """Where each span of the passage stands in its text: start, end, span."""
    parts, start = [], 0
    for span in passage.spans:
        end = start + span.end - span.start
        parts.append((start, end, span))
        start = end + 1  # the "\n" that joins them
    return parts


def quote_range(passage: Passage, start: int, end: int) -> tuple[int, int]:
    """The characters of the passage to quote for an answer at start..end, no white space at start.

    The answer lies in one span. The sentences it touches, kept within that span: a quote never
    crosses a page, nor anything left out between two spans.
    """
    low, high = next((a, b) for a, b, _ in part_spans(passage) if a <= start < end <= b)
    touched = [(a, b) for a, b in sentence_spans(passage.text) if a < end and start < b]
    first, last = max(low, touched[0][0]), min(high, touched[-1][1])
    if len(passage.text[first:last].encode()) > LONGEST_QUOTE:
        first, last = _around(passage.text, start, end, first, last)
    return first, last


def _around(text: str, start: int, end: int, low: int, high: int) -> tuple[int, int]:
    """At most LONGEST_QUOTE bytes of low..high around start..end, cut at spaces."""
    end = start + len(_first_bytes(text[start:end], LONGEST_QUOTE))
    room = (LONGEST_QUOTE - len(text[start:end].encode())) // 2
    first = start - len(_first_bytes(text[low:start][::-1], room))
    last = end + len(_first_bytes(text[end:high], room))
    if first > low:
        space = text.find(" ", first, start)
        first = first if space < 0 else space + 1
    if last < high:
        space = text.rfind(" ", end, last)
        last = last if space < 0 else space
    return first, last


def _first_bytes(text: str, n: int) -> str:
    """As many whole characters of `text` as fit into n bytes."""
    return text.encode()[:n].decode(errors="ignore")


def joins(passage: Passage) -> list[int]:
    """Where in the passage's text one span ends and the next begins."""
    return [end for _, end, _ in part_spans(passage)[:-1]]


def place_of(passage: Passage, start: int, end: int) -> Span:
    """The page characters of start..end of the passage, which lie in one of its spans."""
    for low, high, span in part_spans(passage):
        if low <= start < end <= high:
            return Span(span.page, span.start + start - low, span.start + end - low)
    raise ValueError(f"characters {start} to {end} do not lie in one span of the passage")


def range_of(passage: Passage, place: Span) -> tuple[int, int] | None:
    """The characters of the passage that stand there, `place_of` undone; None if none do."""
    for low, _, span in part_spans(passage):
        if span.page == place.page and span.start <= place.start and place.end <= span.end:
            return low + place.start - span.start, low + place.end - span.start
    return None


def cite(store: Store, passage: Passage, mark: int, start: int, end: int) -> Citation:
    """The citation of start..end of the passage, re-read from the store's page text."""
    place = place_of(passage, start, end)
    page = store.page(passage.document.id, place.page)
    quote = passage.text[start:end]
    return Citation(
        mark=mark,
        document_id=passage.document.id,
        path=passage.document.path,
        page=place.page,
        page_label=page.label,
        span=place,
        quote=quote,
        boxes=tuple(line_boxes(page, place.start, place.end)),
        verified=page.text[place.start : place.end] == quote,
    )


def checked_citation(store: Store, passage: Passage, mark: int, start: int, end: int) -> Citation:
    """As `cite`, of what may be shown; raises StoreError where the page says something else."""
    name, again = passage.document.path.name, "try again, or run: ragformer doctor --repair"
    try:
        citation = cite(store, passage, mark, start, end)
    except NotFoundError as error:
        raise StoreBusyError(
            f"{name} has left the collection while it was read; {again}"
        ) from error
    if not citation.verified:
        raise StoreError(
            f"page {citation.page} of {name} does not say what was read there before; {again}"
        )
    return citation


def page_name(citation: Citation) -> str:
    """The physical page, with the printed label where it differs."""
    if citation.page_label in ("", str(citation.page)):
        return str(citation.page)
    return f"{citation.page} (printed {citation.page_label})"


def place_name(citation: Citation) -> str:
    """File and page on one line: a file's name may hold a line break, and behind it what looks
    like a quote. What is no UTF-8 in it becomes question marks."""
    return " ".join(f"{storable(citation.path.name)}, page {page_name(citation)}".split())


def line_boxes(page: Page, start: int, end: int) -> list[Box]:
    """One box a line around the words of the page that overlap start..end."""
    boxes: list[Box] = []
    for word in page.words:
        if word.end <= start or word.start >= end:
            continue
        if boxes and _same_line(boxes[-1], word.box):
            boxes[-1] = _union(boxes[-1], word.box)
        else:
            boxes.append(word.box)
    return boxes


def _same_line(a: Box, b: Box) -> bool:
    """Whether b goes on to the right of a at the same height."""
    overlap = min(a[3], b[3]) - max(a[1], b[1])
    return overlap > 0.5 * min(a[3] - a[1], b[3] - b[1]) and b[0] >= a[0]


def _union(a: Box, b: Box) -> Box:
    return (min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]))


def passage_boxes(store: Store, passage: Passage) -> list[tuple[int, Box]]:
    """Page and box of every line of the passage."""
    found: list[tuple[int, Box]] = []
    pages: dict[int, Page] = {}
    for span in passage.spans:
        if span.page not in pages:
            pages[span.page] = store.page(passage.document.id, span.page)
        found += [(span.page, box) for box in line_boxes(pages[span.page], span.start, span.end)]
    return found


def citation_form(citation: Citation) -> dict[str, Any]:
    """A citation as plain values for JSON, in `ask --json` and in a chat that is exported."""
    return {
        "mark": citation.mark,
        "path": str(citation.path),
        "document_id": citation.document_id,
        "page": citation.page,
        "page_label": citation.page_label,
        "start": citation.span.start,
        "end": citation.span.end,
        "quote": citation.quote,
        "boxes": [{"page": citation.page, "box": box_form(box)} for box in citation.boxes],
        "verified": citation.verified,
    }


def box_form(box: Box) -> list[float]:
    """To a hundredth of a point: finer is noise of the number format."""
    return [round(value, 2) for value in box]
