"""Damaged, hostile and real files from the shared folder: text where there is any, and no harm."""

from __future__ import annotations

import difflib
import json
import re
import tarfile
import unicodedata
from pathlib import Path

import pytest

from ragformer.errors import PdfError
from ragformer.pdf.read import Limits, PdfText, read_pdf, read_pdfs

HEAVY = 300_000  # bytes: larger ones and the bombs are left to a run by hand


@pytest.fixture(scope="module")
def hard_files(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("hard")
    with tarfile.open(shared_data / "robust" / "files.tar.xz") as archive:
        small = [m for m in archive if m.isfile() and m.size < HEAVY]
        archive.extractall(folder, members=small, filter="data")
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_hard_files_yield_what_either_reader_can(hard_files: list[Path], shared_data: Path) -> None:
    manifest = (shared_data / "robust" / "manifest.jsonl").read_text().splitlines()
    known = {row["file"]: row for row in map(json.loads, manifest)}
    limits = Limits(page_seconds=20, file_seconds=40)
    found = dict(read_pdfs(hard_files, workers=2, limits=limits))
    assert sorted(found) == hard_files
    lost = []
    for path, read in found.items():
        readers = [known[path.name][name] for name in ("pypdf", "pypdfium2")]
        readable = max(reader.get("read", 0) for reader in readers)
        if isinstance(read, PdfError):
            assert "\n" not in str(read).replace(path.name, "")
            n_read = 0
        else:
            n_read = sum(page.status != "failed" for page in read.pages)
        if n_read < readable:
            lost.append(path.name)
    assert lost == []


@pytest.mark.parametrize("name", ["lists", "tables", "landscape_rotated", "two_column_justified"])
def test_text_comes_in_reading_order(shared_data: Path, name: str) -> None:
    path = shared_data / "robust" / "extract" / f"{name}.pdf"
    read = read_pdf(path)
    ours = _words("\n".join(page.text for page in read.pages))
    truth = _words(path.with_suffix(".txt").read_text())
    assert difflib.SequenceMatcher(None, ours, truth, autojunk=False).ratio() > 0.99


def _words(text: str) -> list[str]:
    text = re.sub("[\u00ad\ufffe]\\s*\n?", "", unicodedata.normalize("NFKC", text))
    return re.sub(r"(\w)-\n(\w)", r"\1\2", text).split()


def test_every_word_of_a_real_file_has_its_place(shared_data: Path) -> None:
    read = read_pdf(shared_data / "pdfqa-dev" / "pdfs" / "derisking-handbook.pdf")
    assert isinstance(read, PdfText)
    for page in read.pages:
        boxed = "".join(page.text[word.start : word.end] for word in page.words)
        assert boxed == re.sub(r"\s", "", page.text)
        assert all(word.x0 < word.x1 and word.y0 < word.y1 for word in page.words)
