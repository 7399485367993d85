"""Read pages that have no text with Tesseract, the program `tesseract` of the system.

    page -> drawn by a reading child -> grey image -> tesseract -> words as TSV -> Page

The columns of the TSV are those of Tesseract 4 and 5 (its manual page, "tsv").
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from ragformer.errors import NotFoundError
from ragformer.pdf.child import Child, ChildDiedError
from ragformer.pdf.clean import clean
from ragformer.pdf.order import in_reading_order
from ragformer.pdf.words import BOX_UNIT, Words
from ragformer.types import Page

DPI = 300  # what Tesseract was trained for
PAGE_SECONDS = 120.0
SURE = 30  # percent: words that Tesseract is less sure of are mostly specks and lines
NOTHING = "tesseract finds no text on it"
_WORD_LEVEL = "5"


@dataclass(frozen=True, slots=True)
class Tesseract:
    """The program's path, and its languages as it takes them: "eng" or "deu+eng"."""

    program: str
    language: str

    def read(self, image: bytes, points_per_pixel: float) -> tuple[str, Words]:
        """The text of an image file and its words. Raises OSError when the program fails."""
        try:
            done = subprocess.run(
                [self.program, "stdin", "stdout", "-l", self.language, "--dpi", str(DPI), "tsv"],
                input=image,
                capture_output=True,
                # Its own threads slow each other down; we run as many of it as there are workers.
                env={**os.environ, "OMP_THREAD_LIMIT": "1"},
                timeout=PAGE_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise OSError(f"tesseract took longer than {PAGE_SECONDS:g} s on it") from error
        if done.returncode:
            lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
            said = lines[-1][:200] if lines else "without a word"
            raise OSError(f"tesseract ended with status {done.returncode}: {said}")
        return words_of_tsv(done.stdout.decode("utf-8", "replace"), points_per_pixel)


def find_tesseract(language: str = "eng") -> Tesseract:
    """The system's Tesseract; raises NotFoundError without it or one of the languages."""
    program = shutil.which("tesseract")
    if program is None:
        raise NotFoundError(
            "reading scans needs the program tesseract, and it is not on the PATH; install it "
            "(apt install tesseract-ocr, brew install tesseract) or leave --ocr out"
        )
    listed = subprocess.run(
        [program, "--list-langs"], capture_output=True, text=True, check=False, timeout=60
    )
    there = set(listed.stdout.split("\n")[1:])
    for name in language.split("+"):
        if name not in there:
            raise NotFoundError(
                f"tesseract does not have the language {name}, only "
                f"{', '.join(sorted(there - {''})) or 'none'}; install it "
                f"(apt install tesseract-ocr-{name}) or name another with --ocr-language"
            )
    return Tesseract(program, language)


def is_due(page: Page) -> bool:
    """Whether a page has no text and Tesseract has not yet looked for some."""
    return page.status in ("empty", "failed") and not page.reason.endswith(NOTHING)


def keep_scans(pages: Sequence[Page], before: Iterable[Page]) -> tuple[Page, ...]:
    """The pages, each that has no text as OCR read it before, if it did."""
    known = {page.number: page for page in before if page.status == "ocr"}
    return tuple(known.get(page.number, page) if is_due(page) else page for page in pages)


def read_scans(
    pages: Sequence[Page],
    child: Child,
    request: dict[str, object],
    tesseract: Tesseract,
    threads: ThreadPoolExecutor,
) -> list[Page]:
    """The pages, those that are due as Tesseract reads them; the others as they are.

    request: what the child needs to open the file. threads: in which Tesseract runs.
    """
    found = {page.number: page for page in pages}
    running: deque[tuple[Page, Future[Page]]] = deque()
    for page in filter(is_due, pages):
        try:
            image, scale = _draw(child, request, page.number)
        except OSError as error:
            found[page.number] = _still_unread(page, str(error))
            continue
        running.append((page, threads.submit(_read_page, tesseract, page, image, scale)))
        if len(running) > 4:  # the images that wait are large
            page, future = running.popleft()
            found[page.number] = future.result()
    for page, future in running:
        found[page.number] = future.result()
    return [found[page.number] for page in pages]


def _draw(child: Child, request: dict[str, object], number: int) -> tuple[bytes, float]:
    """The page as an image, and the size of its pixels in points. Raises OSError."""
    child.start_clock()
    try:
        ((head, image),) = child.ask({**request, "render": number, "dpi": DPI})
    except ChildDiedError as death:
        raise OSError(f"drawing it, the reader {death}") from death
    if "pixel" not in head:
        raise OSError(f"it cannot be drawn ({head['reason']})")
    return image, float(head["pixel"])


def _read_page(tesseract: Tesseract, page: Page, image: bytes, scale: float) -> Page:
    try:
        text, words = tesseract.read(image, scale)
    except OSError as error:
        return _still_unread(page, str(error))
    if not text:  # nor on the next run: a blank page is looked at once
        return _still_unread(page, NOTHING)
    return dataclasses.replace(page, text=text, words=words, status="ocr", reason="")


def _still_unread(page: Page, reason: str) -> Page:
    said = f"{page.reason}; {reason}" if page.reason else reason
    return dataclasses.replace(page, reason=said)


def words_of_tsv(tsv: str, points_per_pixel: float) -> tuple[str, Words]:
    """The text of a page and its words from Tesseract's TSV, in reading order.

    Words are as high as their line, as a PDF's own are: not "nor" less than "for".
    """
    raw = ""
    starts: list[int] = []
    boxes: list[tuple[int, ...]] = []
    for _, line in groupby(_rows(tsv), key=itemgetter(0)):
        words = [(said, box) for _, said, box in line]
        top, bottom = min(box[1] for _, box in words), max(box[3] for _, box in words)
        for i, (said, (x0, _, x1, _)) in enumerate(words):
            raw += " " if i else "\n" if raw else ""
            starts.append(len(raw))
            sides = (x0, top, x1, bottom)
            boxes.append(tuple(round(side * points_per_pixel * BOX_UNIT) for side in sides))
            raw += said
    cleaned = clean(raw)
    found = array("i")
    for start, end in cleaned.parts():
        found.extend((start, end, *boxes[bisect_right(starts, cleaned.origin[start]) - 1]))
    text, rows = in_reading_order(cleaned.text, found)
    return text, Words(rows.tobytes())


def _rows(tsv: str) -> Iterator[tuple[list[str], str, tuple[int, int, int, int]]]:
    """(its line's numbers, text, box in pixels) of each word that Tesseract is sure of."""
    for row in tsv.split("\n"):
        cells = row.rstrip("\r").split("\t", 11)
        if len(cells) < 12 or cells[0] != _WORD_LEVEL:
            continue
        said = "".join(cells[11].split())
        if said and float(cells[10]) >= SURE:
            x, y, wide, high = map(int, cells[6:10])
            yield cells[1:5], said, (x, y, x + wide, y + high)
