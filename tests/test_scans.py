"""Pages without text are listed until OCR reads them, and are never read twice."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from small_documents import CATS, Index, WritePdf, statuses

from ragformer import indexing
from ragformer.library import Library

LINE = "The ferry to Brennock leaves at noon."
TSV = "\n".join(
    f"5\t1\t1\t1\t1\t{i}\t{300 * i}\t400\t280\t40\t96\t{word}"
    for i, word in enumerate(LINE.split())
)


@pytest.fixture
def tesseract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in that reads LINE off every page; the file with an x for each of its runs."""
    if os.name != "posix":
        pytest.skip("the stand-in for tesseract is a POSIX script")
    program, runs = tmp_path / "bin" / "tesseract", tmp_path / "runs"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\nimport sys\n"
        "if '--list-langs' in sys.argv: print('List:'); print('eng'); sys.exit()\n"
        f"open({str(runs)!r}, 'a').write('x')\nprint({TSV!r})\n"
    )
    program.chmod(0o700)
    monkeypatch.setenv("PATH", str(program.parent))
    runs.write_text("")
    return runs


def test_scans_are_listed_then_read_then_kept(
    library: Library,
    write_pdf: WritePdf,
    index: Index,
    tesseract: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = write_pdf("a.pdf", CATS, "", "")
    (file,) = index(library, path).files
    assert (file.unread_pages, file.ocr_pages) == ((2, 3), 0)
    assert not library.search("ferry to Brennock", within=[path])[0].text.startswith("The ferry")

    (file,) = index(library, path, ocr="eng").files
    assert (file.status, file.unread_pages, file.ocr_pages) == ("unchanged", (), 2)
    found = library.search("ferry to Brennock")[0]
    assert (found.text, found.spans[0].page) == (LINE, 2)
    (document,) = library.store.documents()
    assert document.status_counts == {"text": 1, "ocr": 2}
    page = library.store.page(document.id, 2)
    assert [page.text[word.start : word.end] for word in page.words] == LINE.split()
    assert tesseract.read_text() == "xx"

    assert index(library, path, ocr="eng").pages_read == 0
    monkeypatch.setattr(indexing, "READ_VERSION", indexing.READ_VERSION + 1)
    report = index(library, path)
    assert (report.pages_read, statuses(report)) == (3, {"a.pdf": "unchanged"})
    assert library.store.documents()[0].status_counts == {"text": 1, "ocr": 2}
    assert library.store.page(document.id, 3).text == LINE
    assert tesseract.read_text() == "xx"
