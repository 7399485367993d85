"""The rows of the documents page."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from ragformer_ui.ledger import filtered, page_rows, rows, totals

from ragformer.store.store import Store
from ragformer.types import Document, FileOutcome


def document(name: str, n_pages: int = 2, **fields: object) -> Document:
    added = datetime(2026, 1, 2, tzinfo=UTC)
    return Document(name, "A title", (Path("/docs") / name,), n_pages, added, **fields)  # type: ignore[arg-type]


FOUND = rows(
    [
        document("b.pdf", status_counts={"text": 1, "empty": 1}, unread_pages=(2,)),
        document("A.pdf", language="de"),
        document("scan.pdf", status_counts={"empty": 2}, unread_pages=(1, 2)),
    ],
    [FileOutcome(Path("/docs/c.pdf"), None, "failed", "it is not a PDF")],
)


def test_every_file_has_a_row_and_says_what_is_wrong_with_it() -> None:
    assert [(row.path.name, row.status, row.about) for row in FOUND] == [
        ("A.pdf", "read", "in de: search by meaning is weak"),
        ("b.pdf", "partly read", "1 of 2 pages without text"),
        ("c.pdf", "failed", "it is not a PDF"),
        ("scan.pdf", "no text", "no page could be read: most likely scans"),
    ]
    assert totals(FOUND) == (
        "3 documents, 6 pages, 3 pages without text, 1 file that could not be read"
    )


def test_rows_are_found_by_every_word_and_by_status() -> None:
    def names(words: str, status: str | None = None) -> list[str]:
        return [row.path.name for row in filtered(FOUND, words, status)]  # type: ignore[arg-type]

    assert names("") == ["A.pdf", "b.pdf", "c.pdf", "scan.pdf"]
    assert names("TITLE a.p") == ["A.pdf"]
    assert names("", "failed") == ["c.pdf"]
    assert names("a.pdf", "failed") == []


def test_pages_come_with_their_status(shelf: Store) -> None:
    scan = next(d for d in shelf.documents() if d.path.name == "scan.pdf")
    assert [(p.number, p.status) for p in page_rows(shelf, scan.id)] == [
        (1, "text"), (2, "empty"), (3, "empty")
    ]  # fmt: skip
