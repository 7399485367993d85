"""The two readers of the child process: pdfium for text with boxes, pypdf as the gentler second.

Both offer the same: n_pages, label(i), title(), author(), outline(), page(i), i from 0. Imported
only in the child, because a hostile file can take the whole process down.
"""

from __future__ import annotations

import ctypes
import math
import re
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import chain, compress, pairwise, repeat
from operator import and_
from pathlib import Path
from typing import Any

import pypdf
import pypdfium2
import pypdfium2.raw as pdfium_c
from pypdf.errors import PyPdfError

from ragformer.pdf.beside import without_those_beside
from ragformer.pdf.clean import Cleaned, clean
from ragformer.pdf.footnotes import footnotes_last
from ragformer.pdf.image import as_png, mark
from ragformer.pdf.order import in_reading_order
from ragformer.pdf.words import BOX_UNIT
from ragformer.types import Box

# What the two libraries raise on files that break the format's rules; the rest is a bug.
DAMAGE = (
    PyPdfError, pypdfium2.PdfiumError, ArithmeticError, AssertionError, AttributeError,
    LookupError, MemoryError, NotImplementedError, OSError, RecursionError, TypeError, ValueError,
)  # fmt: skip
MAX_OUTLINE = 5000
MAX_ASPECT = 20  # a page longer than this times its width is not drawn
MAX_SCAN = 5000  # pixels of a scan's longer side

Outline = list[tuple[int, str, int]]


class WrongPasswordError(Exception):
    """The file is encrypted and this password does not open it."""


class PdfiumFile:
    """A file opened by pdfium."""

    reader = "pdfium"

    def __init__(self, path: Path, password: str | None) -> None:
        try:
            self._pdf: Any = pypdfium2.PdfDocument(path, password=password)
        except pypdfium2.PdfiumError as error:
            if error.err_code == pdfium_c.FPDF_ERR_PASSWORD:
                raise WrongPasswordError from error
            raise
        self.n_pages: int = len(self._pdf)
        self._beside: set[int] = set()  # pages that have words, and all of them beside the page

    def close(self) -> None:
        self._pdf.close()

    def label(self, i: int) -> str:
        return str(self._pdf.get_page_label(i))

    def title(self) -> str:
        return str(self._pdf.get_metadata_value("Title"))

    def author(self) -> str:
        return str(self._pdf.get_metadata_value("Author"))

    def outline(self) -> Outline:
        items: Outline = []
        for bookmark in self._pdf.get_toc():
            dest = bookmark.get_dest()
            index = dest.get_index() if dest is not None else None
            if index is not None and 0 <= index < self.n_pages:
                items.append((bookmark.level, str(bookmark.get_title()), index + 1))
            if len(items) >= MAX_OUTLINE:
                break
        return items

    def page(self, i: int) -> tuple[str, array[int]]:
        """The text of a page and its words, six numbers each (see `_words`)."""
        page = self._pdf[i]
        try:
            if page.get_rotation() and _is_level(page):
                # Drawn level but shown turned: pdfium would give the paragraphs in reverse.
                box = _Display(page)
                page.set_rotation(0)
            else:
                box = _Display(page)
            text, words, n_beside = _read_page(page, box)
            if n_beside and not words:
                self._beside.add(i)
            return text, words
        finally:
            page.close()

    def is_blank(self, i: int) -> bool:
        """Whether nothing at all is drawn on the page, or words only beside it."""
        page = self._pdf[i]
        try:
            return i in self._beside or int(pdfium_c.FPDFPage_CountObjects(page.raw)) == 0
        finally:
            page.close()

    def image(self, i: int, width: int, boxes: Sequence[Box] = ()) -> tuple[float, bytes]:
        """The page as displayed, about `width` pixels wide, as PNG bytes, and how many points a
        pixel is wide. boxes: what to go over with a yellow marker."""
        page = self._pdf[i]
        try:
            wide, high = page.get_size()
            if not 0 < high * width <= MAX_ASPECT * width * wide:
                raise ValueError(f"a page of {wide:g} x {high:g} points is too long to draw")
            bitmap = page.render(scale=width / wide, rev_byteorder=True, prefer_bgrx=False)
            pixels = bytearray(bitmap.buffer)
            for box in boxes:
                mark(pixels, bitmap.width, bitmap.height, bitmap.stride, box, width / wide)
            png = as_png(bitmap.width, bitmap.height, bitmap.stride, pixels)
            return wide / width, png
        finally:
            page.close()

    def scan(self, i: int, dpi: int) -> tuple[float, bytes]:
        """The page as displayed, in grey as a PGM file, and how many points a pixel is wide."""
        page = self._pdf[i]
        try:
            wide, high = page.get_size()
            if not 0 < high <= MAX_ASPECT * wide <= MAX_ASPECT**2 * high:
                raise ValueError(f"a page of {wide:g} x {high:g} points is too long to draw")
            scale = min(dpi / 72, MAX_SCAN / max(wide, high))
            bitmap = page.render(scale=scale, grayscale=True)
            pixels, stride = bytes(bitmap.buffer), bitmap.stride
            rows = (pixels[at : at + bitmap.width] for at in range(0, len(pixels), stride))
            return wide / bitmap.width, b"P5 %d %d 255\n" % (
                bitmap.width,
                bitmap.height,
            ) + b"".join(rows)
        finally:
            page.close()


class _Display:
    """From pdfium's page space to the page as displayed: origin top left, rotation applied."""

    def __init__(self, page: Any) -> None:
        self.rotation: int = page.get_rotation()
        self.size: tuple[float, float] = page.get_size()
        self.left, self.bottom, self.right, self.top = page.get_bbox()

    def boxes(
        self, x0: list[float], y0: list[float], x1: list[float], y1: list[float]
    ) -> tuple[list[float], list[float], list[float], list[float]]:
        """Boxes of page space, side by side, as x0 y0 x1 y1 from the top left as displayed."""
        left, bottom, right, top = self.left, self.bottom, self.right, self.top
        if self.rotation == 90:
            return _less(y0, bottom), _less(x0, left), _less(y1, bottom), _less(x1, left)
        if self.rotation == 180:
            return _from(right, x1), _less(y0, bottom), _from(right, x0), _less(y1, bottom)
        if self.rotation == 270:
            return _from(top, y1), _from(right, x1), _from(top, y0), _from(right, x0)
        return _less(x0, left), _from(top, y1), _less(x1, left), _from(top, y0)


def _less(values: list[float], start: float) -> list[float]:
    return [value - start for value in values]


def _from(end: float, values: list[float]) -> list[float]:
    return [end - value for value in values]


def _is_level(page: Any) -> bool:
    """Whether most of the first characters run left to right before the page is turned."""
    text_page = page.get_textpage()
    try:
        n = min(200, text_page.count_chars())
        angles = [pdfium_c.FPDFText_GetCharAngle(text_page.raw, i) for i in range(n)]
    finally:
        text_page.close()
    return bool(len([angle for angle in angles if math.cos(angle) > 0.9]) * 2 > n)


def _read_page(page: Any, display: _Display) -> tuple[str, array[int], int]:
    """Text, words, and how many words stand beside the page."""
    text_page = page.get_textpage()
    try:
        raw = _raw_text(text_page)
        cleaned = _set_marks_apart(text_page.raw, clean(raw))
        text, parts = _logical(text_page.raw, cleaned), cleaned.parts()
        words = _words(text_page.raw, parts, cleaned.origin, display)
        if len(words) < 6 * len(parts):
            return text, words, 0  # where some words have no place, none is moved
        text, words = without_those_beside(text, words, *display.size)
        text, words = footnotes_last(*in_reading_order(text, words))
        return text, words, len(parts) - len(words) // 6
    finally:
        text_page.close()


def _raw_text(text_page: Any) -> str:
    """One character for each of pdfium's characters, so that indices agree with its boxes."""
    n = text_page.count_chars()
    handle = text_page.raw
    buffer = (ctypes.c_ushort * (2 * n + 2))()
    filled = pdfium_c.FPDFText_GetText(handle, 0, n, buffer)
    units = bytes(memoryview(buffer).cast("B")[: 2 * max(0, filled - 1)])
    text = units.decode("utf-16-le", "surrogatepass")
    if len(text) == n:
        return text
    # pdfium left characters out, or halves of characters beyond U+FFFF were joined: ask for each.
    codes = (pdfium_c.FPDFText_GetUnicode(handle, i) for i in range(n))
    return "".join(chr(code) if code < 0x110000 else "\ufffd" for code in codes)


# The same function with untyped arguments: checking their types takes as long as the call.
_get_box = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)(
    ctypes.cast(pdfium_c.FPDFText_GetLooseCharBox, ctypes.c_void_p).value or 0
)
_DIGITS = re.compile(r"\d+")
_LETTERS = re.compile(r"[^\W\d_]{3}")
_FUNCTIONS = {"sin", "cos", "tan", "cot", "log", "exp"}  # they take powers
_RIGHT_TO_LEFT = re.compile(r"[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]{2,}")
_RECT = 16  # bytes: left, top, right, bottom as float32


def _words(
    handle: Any, parts: list[tuple[int, int]], origin: list[int], display: _Display
) -> array[int]:
    """Six numbers a word: start, end, then x0 y0 x1 y1 in hundredths of a point.

    The box is that of the first and the last character: asking for all costs five times more. A
    word that has none, or one beyond all measure, is left out.
    """
    sides = array("f", bytes(2 * _RECT * len(parts)))
    at, end = sides.buffer_info()[0], sides.buffer_info()[0] + 2 * _RECT * len(parts)
    page = repeat(ctypes.cast(handle, ctypes.c_void_p).value)
    # Without a loop of our own: there are 200 words on a page, and the calls alone take long.
    first = map(_get_box, page, [origin[a] for a, _ in parts], range(at, end, 2 * _RECT))
    last = map(_get_box, page, [origin[b - 1] for _, b in parts], range(at + _RECT, end, 2 * _RECT))
    boxed = list(map(and_, first, last))
    if not all(boxed):
        kept = [sides[8 * i : 8 * i + 8] for i, found in enumerate(boxed) if found]
        sides = array("f", chain.from_iterable(kept))
        parts = list(compress(parts, boxed))
    left, top, right, bottom = (
        list(map(better, sides[side::8], sides[side + 4 :: 8]))
        for side, better in enumerate((min, max, max, min))
    )
    return _rows(parts, display.boxes(left, bottom, right, top))


def _set_marks_apart(handle: Any, cleaned: Cleaned) -> Cleaned:
    """The text with a blank between a word and the raised number of a footnote: "result", not
    "result3", is what it is searched by. An exponent stays ("cm2"): its base has fewer letters."""
    cuts = []
    for at, letter, digit in _marks(cleaned.text):
        if _is_raised(handle, cleaned.origin[digit], cleaned.origin[letter]):
            cuts.append(at)
    if not cuts:
        return cleaned
    edges = [*pairwise([0, *cuts, len(cleaned.text)])]
    origin = [[*cleaned.origin[a:b], cleaned.origin[b - 1]] for a, b in edges]
    return Cleaned(
        " ".join(cleaned.text[a:b] for a, b in edges),
        [place for part in origin for place in part][:-1],
        [join + bisect_right(cuts, join) for join in cleaned.joins],
    )


def _marks(text: str) -> Iterator[tuple[int, int, int]]:
    """Where up to three digits stand right behind a word or right before one: the place between
    the two, the letter's and the digit's."""
    for match in _DIGITS.finditer(text):
        start, end = match.span()
        if end - start > 3:
            continue
        if _in_word(text[max(0, start - 1) : start]):
            word, ends = text[max(0, start - 3) : start], not _in_word(text[end : end + 1])
            if ends and _LETTERS.match(word) and word not in _FUNCTIONS:
                yield start, start - 1, start
        elif _LETTERS.match(text, end):
            yield end, end, end - 1


def _in_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _is_raised(handle: Any, one: int, other: int) -> bool:
    """Whether a character is smaller than another and stands higher, as a footnote's mark does."""
    small, large = pdfium_c.FS_RECTF(), pdfium_c.FS_RECTF()
    page = ctypes.cast(handle, ctypes.c_void_p)
    if not all(
        _get_box(page, i, ctypes.addressof(box)) for i, box in ((one, small), (other, large))
    ):
        return False
    height = large.top - large.bottom
    raised = small.bottom - large.bottom
    return bool(small.top - small.bottom < 0.85 * height and 0.2 * height < raised < 0.7 * height)


def _logical(handle: Any, cleaned: Cleaned) -> str:
    """The text with right-to-left words as they are read.

    pdfium turns what was drawn from the left round; but it does so too with words that the file
    gives in reading order (as ActualText), all letters of which have one box.
    """
    text = cleaned.text
    first, last = pdfium_c.FS_RECTF(), pdfium_c.FS_RECTF()
    page = ctypes.cast(handle, ctypes.c_void_p)
    for match in _RIGHT_TO_LEFT.finditer(text):
        start, end = match.span()
        _get_box(page, cleaned.origin[start], ctypes.addressof(first))
        _get_box(page, cleaned.origin[end - 1], ctypes.addressof(last))
        if bytes(first) == bytes(last):
            text = text[:start] + text[start:end][::-1] + text[end:]
    return text


def _rows(parts: list[tuple[int, int]], columns: Sequence[list[float]]) -> array[int]:
    """Words and their boxes' sides, each side a column, as six numbers a word."""
    rows = array("i", bytes(24 * len(parts)))
    try:
        for i, column in enumerate(columns):
            rows[i + 2 :: 6] = array("i", [round(side * BOX_UNIT) for side in column])
    except (OverflowError, ValueError):
        fit = [
            all(abs(side) * BOX_UNIT < 2**31 - 1 for side in box)
            for box in zip(*columns, strict=True)
        ]
        kept = [
            [side for side, fits in zip(column, fit, strict=True) if fits] for column in columns
        ]
        return _rows([part for part, fits in zip(parts, fit, strict=True) if fits], kept)
    rows[0::6] = array("i", [start for start, _ in parts])
    rows[1::6] = array("i", [end for _, end in parts])
    return rows


class PypdfFile:
    """A file opened by pypdf: no boxes, slower, and harder to bring down."""

    reader = "pypdf"

    def __init__(self, path: Path, password: str | None) -> None:
        self._stream = path.open("rb")
        try:
            self._pdf = pypdf.PdfReader(self._stream, strict=False)
            if self._pdf.is_encrypted and not self._pdf.decrypt(password or ""):
                raise WrongPasswordError
            self.n_pages = len(self._pdf.pages)
        except (WrongPasswordError, *DAMAGE):
            self._stream.close()
            raise
        if not self.n_pages:
            raise ValueError("it has no pages")
        self._labels: list[str] | None = None

    def close(self) -> None:
        self._stream.close()

    def label(self, i: int) -> str:
        if self._labels is None:
            self._labels = list(self._pdf.page_labels)
        return self._labels[i]

    def title(self) -> str:
        metadata = self._pdf.metadata
        return str(metadata.title or "") if metadata is not None else ""

    def author(self) -> str:
        metadata = self._pdf.metadata
        return str(metadata.author or "") if metadata is not None else ""

    def outline(self) -> Outline:
        items: Outline = []
        stack: list[tuple[int, Any]] = [(0, item) for item in reversed(self._pdf.outline)]
        while stack and len(items) < MAX_OUTLINE:
            level, item = stack.pop()
            if isinstance(item, list):
                stack.extend((level + 1, child) for child in reversed(item))
                continue
            number = self._pdf.get_destination_page_number(item)
            if number is not None and number >= 0:
                items.append((level, str(item.title), number + 1))
        return items

    def page(self, i: int) -> tuple[str, array[int]]:
        raw = self._pdf.pages[i].extract_text()
        return clean(raw).text, array("i")
