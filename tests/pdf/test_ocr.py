"""Pages without text are read by Tesseract: the words' places, and whatever the program does.

A small program stands in for it where the law is about processes; the last test runs the real one.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pypdfium2
import pytest
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen import canvas

from ragformer.errors import NotFoundError
from ragformer.pdf import ocr
from ragformer.pdf.ocr import NOTHING, Tesseract, find_tesseract, words_of_tsv
from ragformer.pdf.read import PdfText, follow_pdfs, read_pdf
from ragformer.types import Page

MakePdf = Callable[..., Path]
Stand = Callable[..., Tesseract]
HEAD = "level page_num block_num par_num line_num word_num left top width height conf text"


def row(line: int, word: int, left: int, top: int, said: str, sure: float = 95.0) -> str:
    cells = (5, 1, 1, 1, line, word, left, top, 10 * len(said), 30, sure, said)
    return "\t".join(map(str, cells))


def tsv(*rows: str) -> str:
    page = "\t".join(map(str, (1, 1, 0, 0, 0, 0, 0, 0, 2500, 3333, -1, "")))
    return "\n".join([HEAD.replace(" ", "\t"), page, *rows]) + "\n"


def test_words_of_tsv() -> None:
    told = tsv(
        row(1, 1, 100, 200, "The"),
        row(1, 2, 150, 210, "exam-"),
        row(2, 1, 100, 250, "ple"),
        row(2, 2, 150, 250, "#~;", sure=12.5),
        row(2, 3, 200, 250, 'is "right"'),
        row(2, 4, 300, 250, " "),
    )
    text, words = words_of_tsv(told, points_per_pixel=0.24)
    assert text == 'The example is"right"'
    assert [text[word.start : word.end] for word in words] == ["The", "exam", "ple", 'is"right"']
    assert words[0].box == pytest.approx((24, 48, 31.2, 57.6))
    assert words[1].box == pytest.approx((36, 48, 48, 57.6))
    assert words[2].box == pytest.approx((24, 60, 31.2, 67.2))
    assert words_of_tsv("", 1.0) == words_of_tsv(tsv(), 1.0) == ("", ())


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stand:
    """stand_in(code): a `tesseract` on the PATH that knows eng and osd and else runs this code."""
    if os.name != "posix":
        pytest.skip("the stand-in for tesseract is a POSIX script")

    def make(code: str) -> Tesseract:
        folder = tmp_path / "bin"
        folder.mkdir()
        program = folder / "tesseract"
        listed = "if '--list-langs' in sys.argv: print('List:'); print('eng\\nosd'); sys.exit()"
        program.write_text(f"#!{sys.executable}\nimport sys, time\n{listed}\n{code}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", str(folder))
        return find_tesseract()

    return make


SAYS_SIZE = f"""
image = sys.stdin.buffer.read()
size = image.split(b" ", 3)[1:3]
assert len(image) > int(size[0]) * int(size[1]), "not a whole image"
print({tsv()!r} + "5\\t1\\t1\\t1\\t1\\t1\\t0\\t0\\t9\\t9\\t90\\tscan" + size[0].decode())
"""


def read(path: Path, tesseract: Tesseract) -> list[Page]:
    *_, news = follow_pdfs([path], 1, tesseract=tesseract)
    assert news is not None
    _, text = news
    assert isinstance(text, PdfText)
    assert text.reader == "pdfium+tesseract"
    return list(text.pages)


def image_pdf(path: Path, pages: list[Path | None]) -> Path:
    """Each page shows the first page of a PDF as nothing but an image, or is blank."""
    drawing = canvas.Canvas(str(path), pagesize=(600, 800))
    for source in pages:
        if source is not None:
            with pypdfium2.PdfDocument(source) as pdf:
                image = pdf[0].render(scale=300 / 72).to_pil()
            drawing.drawImage(ImageReader(image), 0, 0, 600, 800)
        drawing.showPage()
    drawing.save()
    return path


def test_only_pages_without_text_are_looked_at(
    make_pdf: MakePdf, tmp_path: Path, stand_in: Stand
) -> None:
    path = make_pdf("a.pdf", [[(60, 700, 12, "typed")], [], [(60, 700, 12, "typed too")]])
    pages = read(path, stand_in(SAYS_SIZE))
    assert [page.status for page in pages] == ["text", "ocr", "text"]
    assert [page.text for page in pages] == ["typed", "scan2500", "typed too"]
    assert pages[1].words[0].box == pytest.approx((0, 0, 2.16, 2.16))


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("print()", NOTHING),
        ("sys.exit('no such device')", "tesseract ended with status 1: no such device"),
        ("time.sleep(60)", "tesseract took longer than 0.3 s on it"),
    ],
)
def test_a_page_tesseract_cannot_read_says_why(
    make_pdf: MakePdf, stand_in: Stand, monkeypatch: pytest.MonkeyPatch, code: str, reason: str
) -> None:
    monkeypatch.setattr(ocr, "PAGE_SECONDS", 0.3 if "sleep" in code else 60)
    pages = read(make_pdf("a.pdf", [[(60, 700, 12, "typed")], []]), stand_in(code))
    assert [page.status for page in pages] == ["text", "empty"]
    assert pages[1].reason == reason


def test_a_missing_program_or_language_is_one_plain_sentence(
    stand_in: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in("")
    with pytest.raises(NotFoundError, match=r"does not have the language deu, only eng, osd;"):
        find_tesseract("eng+deu")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotFoundError, match=r"needs the program tesseract.*install it"):
        find_tesseract()


@pytest.mark.skipif(shutil.which("tesseract") is None, reason="no tesseract on this system")
def test_a_scan_is_read_word_for_word_where_it_stands(make_pdf: MakePdf, tmp_path: Path) -> None:
    lines = ["The harbour of Quill was closed in winter.", "Its lamp burned for sixty-one days."]
    typed = make_pdf("t.pdf", [[(70, 700 - 40 * i, 16, line) for i, line in enumerate(lines)]])
    blank, scan = read(image_pdf(tmp_path / "scan.pdf", [None, typed]), find_tesseract())
    assert (blank.status, blank.reason) == ("empty", NOTHING)
    assert (scan.status, scan.text) == ("ocr", "\n".join(lines))
    for word, true in zip(scan.words, read_pdf(typed).pages[0].words, strict=True):
        assert (word.start, word.end) == (true.start, true.end)
        assert word.box == pytest.approx(true.box, abs=6)
    boxed = "".join(scan.text[word.start : word.end] for word in scan.words)
    assert boxed == re.sub(r"\s", "", scan.text)
