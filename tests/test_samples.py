"""The sample PDFs: made again they are the same, and every sample question is right about them."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pypdfium2 as pdfium
import pytest
from PIL import ImageChops, ImageStat

SAMPLES = Path(__file__).parent / "samples"
PDFS = sorted((SAMPLES / "pdfs").glob("*.pdf"))
SCAN = SAMPLES / "pdfs" / "letter.pdf"
QUESTIONS: list[dict[str, Any]] = [
    json.loads(line) for line in (SAMPLES / "questions.jsonl").read_text("utf-8").splitlines()
]


@cache
def page_texts(path: Path) -> tuple[str, ...]:
    """Every page's text with runs of white space as one space."""
    with pdfium.PdfDocument(path) as document:
        return tuple(" ".join(page.get_textpage().get_text_range().split()) for page in document)


@pytest.fixture(scope="module")
def made_again(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    subprocess.run([sys.executable, SAMPLES / "make_samples.py", folder], check=True)
    return folder


def test_the_script_makes_every_sample(made_again: Path) -> None:
    assert sorted(path.name for path in made_again.iterdir()) == [path.name for path in PDFS]


@pytest.mark.parametrize("path", [p for p in PDFS if p != SCAN], ids=lambda path: path.name)
def test_typesetting_again_gives_the_same_bytes(path: Path, made_again: Path) -> None:
    assert (made_again / path.name).read_bytes() == path.read_bytes()


def test_scanning_again_gives_the_same_picture(made_again: Path) -> None:
    """Not the same bytes: another version of the renderer may shade an edge differently."""
    again = pdfium.PdfDocument(made_again / SCAN.name)
    with pdfium.PdfDocument(SCAN) as scan, again:
        assert len(scan) == len(again)
        for ours, theirs in zip(scan, again, strict=True):
            pictures = [page.render(grayscale=True).to_pil() for page in (ours, theirs)]
            assert ImageStat.Stat(ImageChops.difference(*pictures)).mean[0] < 1
            assert ImageStat.Stat(pictures[0]).mean[0] < 252, "a blank page"


def test_the_scan_has_no_text_and_everything_else_has() -> None:
    for path in PDFS:
        assert all(bool(text) == (path != SCAN) for text in page_texts(path)), path.name


def test_the_report_prints_other_numbers_than_its_physical_ones() -> None:
    with pdfium.PdfDocument(SAMPLES / "pdfs" / "report.pdf") as report:
        labels = [report.get_page_label(index) for index in range(len(report))]
    assert labels == ["i", "ii", "iii", "1", "2", "3", "4", "5"]
    for label, text in zip(
        labels[3:], page_texts(SAMPLES / "pdfs" / "report.pdf")[3:], strict=True
    ):
        assert f"Annual Report 2025 {label}" in text


@pytest.mark.parametrize("name", ["manual.pdf", "handbook.pdf", "paper.pdf", "report.pdf"])
def test_an_outline_entry_points_at_the_page_of_its_heading(name: str) -> None:
    with pdfium.PdfDocument(SAMPLES / "pdfs" / name) as document:
        entries = [(item.get_title(), item.get_dest().get_index()) for item in document.get_toc()]
    assert len(entries) >= 8
    for title, index in entries:
        assert title in page_texts(SAMPLES / "pdfs" / name)[index]


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question["id"])
def test_the_evidence_of_a_question_stands_on_its_page_and_nowhere_else(
    question: dict[str, Any],
) -> None:
    texts = page_texts(SAMPLES / "pdfs" / question["pdf"])
    if not question["answerable"]:
        assert (question["answer"], question["evidence"], question["pages"]) == ("", "", [])
        return
    assert question["answer"] in question["evidence"]
    holding = [number for number, text in enumerate(texts, 1) if question["evidence"] in text]
    assert holding == question["pages"]


def test_the_samples_stay_small() -> None:
    assert sum(path.stat().st_size for path in PDFS) < 600_000
