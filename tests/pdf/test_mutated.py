"""Whatever is done to the bytes of a PDF, reading it gives pages or one PdfError, and chunks.

Case i is made from seed i alone. The gate takes a few; `make fuzz` takes 10,000.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import settings
from reportlab.pdfgen import canvas

from ragformer.errors import PdfError
from ragformer.pdf.chunk import split_pages
from ragformer.pdf.read import Limits, PdfText, read_pdfs

SAMPLES = Path(__file__).parents[1] / "samples" / "pdfs"
AT_ONCE = 500  # files on the disk
TOKENS = [
    b" 0 ", b" -1 ", b" 99999999999 ", b" 1e99 ", b" obj ", b" endobj ", b" stream\n", b" << ",
    b" >> ", b" [ ", b" ] ", b" ( ", b" ) ", b" BT ", b" ET ", b" Tj ", b" null ", b" 1 0 R ",
    b" /Kids ", b" /Parent ", b" /Length ", b" /Type /Page ", b" /Rotate 90 ", b" /Encrypt ",
    b" /Prev ", b" /FlateDecode ", b"\xff\xfe", b"\x00", b"%%EOF\n", b" xref\n", b" trailer ",
]  # fmt: skip
Change = Callable[[bytearray, random.Random], None]


def flip(data: bytearray, draw: random.Random) -> None:
    for _ in range(draw.randint(1, 20)):
        data[draw.randrange(len(data))] = draw.randrange(256)


def cut(data: bytearray, draw: random.Random) -> None:
    start = draw.randrange(len(data))
    del data[start : start + draw.choice([1, 10, 100, len(data)])]


def repeat(data: bytearray, draw: random.Random) -> None:
    start = draw.randrange(len(data))
    part = data[start : start + draw.choice([5, 50, 500])]
    data[start:start] = part * draw.choice([1, 2, 50])


def insert(data: bytearray, draw: random.Random) -> None:
    for _ in range(draw.randint(1, 5)):
        at = draw.randrange(len(data) + 1)
        data[at:at] = draw.choice(TOKENS)


def renumber(data: bytearray, draw: random.Random) -> None:
    found = list(re.finditer(rb"\d+", data))
    for match in sorted(draw.sample(found, min(5, len(found))), key=lambda m: -m.start()):
        other = draw.choice([b"0", b"1", b"-7", b"65536", b"4294967297", match.group() * 3])
        data[match.start() : match.end()] = other


CHANGES: list[Change] = [flip, cut, repeat, insert, renumber]


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """The smaller samples, and one whose text and structure lie open, so that changes meet them."""
    path = tmp_path_factory.mktemp("open") / "open.pdf"
    drawing = canvas.Canvas(str(path), pagesize=(600, 800), pageCompression=0)
    for page in range(3):
        drawing.bookmarkPage(f"p{page}")
        drawing.addOutlineEntry(f"Part {page}", f"p{page}", level=min(page, 1))
        for i in range(12):
            cells = [(60, f"Row {i} of page {page}"), (250, f"{i * 37}"), (400, "exam-\nple")]
            for x, said in cells:
                drawing.drawString(x, 700 - 14 * i, said)
        drawing.showPage()
    drawing.save()
    samples = [sample.read_bytes() for sample in sorted(SAMPLES.glob("*.pdf"))]
    return [path.read_bytes(), *sorted(samples, key=len)[:3]]


def mutated(originals: list[bytes], seed: int) -> bytes:
    draw = random.Random(seed)
    data = bytearray(originals[0] if draw.random() < 0.6 else draw.choice(originals[1:]))
    for _ in range(draw.randint(1, 3)):
        draw.choice(CHANGES)(data, draw)
        if not data:
            break
    return bytes(data)


def test_a_spoiled_pdf_gives_pages_or_one_error(originals: list[bytes], tmp_path: Path) -> None:
    seeds = iter(range(settings.default.max_examples))
    outcomes = set()
    while some := list(islice(seeds, AT_ONCE)):
        paths = [tmp_path / f"{seed}.pdf" for seed in some]
        for seed, path in zip(some, paths, strict=True):
            path.write_bytes(mutated(originals, seed))
        found = dict(read_pdfs(paths, workers=2, limits=Limits(page_seconds=5, file_seconds=30)))
        assert sorted(found) == sorted(paths)
        for path, text in found.items():
            outcomes.add(type(text))
            if isinstance(text, PdfText):
                check_text(text)
            path.unlink()
    assert outcomes >= {PdfText, PdfError}


def check_text(text: PdfText) -> None:
    for number, page in enumerate(text.pages, start=1):
        assert page.number == number
        assert (page.status == "text") == bool(page.text.strip())
        assert not re.search("[\x00\ud800-\udfff\ufffe]", page.text)
        ends = [0, *(side for word in page.words for side in (word.start, word.end))]
        assert ends == sorted(ends)
        assert ends[-1] <= len(page.text)
    for chunk in split_pages(text, lambda part: len(part.split()), 50):
        assert chunk.text == "\n".join(
            text.pages[s.page - 1].text[s.start : s.end] for s in chunk.spans
        )
