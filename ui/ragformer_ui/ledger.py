"""What a collection holds, as rows to show: files, their pages, and why some have no text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from ragformer.store.store import Store
from ragformer.types import Document, FileOutcome
from ragformer_ui.plain import counted

Status = Literal["read", "partly read", "no text", "failed"]
STATUSES: tuple[Status, ...] = ("read", "partly read", "no text", "failed")


@dataclass(frozen=True, slots=True)
class Row:
    """A document, or a file that could not be read; `document` is None for that."""

    path: Path
    status: Status
    about: str
    pages: int = 0
    language: str = ""
    added_at: datetime | None = None
    document: Document | None = None


def rows(documents: Iterable[Document], failures: Iterable[FileOutcome]) -> list[Row]:
    """Every document and every failed file, by name."""
    found = [_document_row(document) for document in documents]
    found += [Row(outcome.path, "failed", outcome.reason) for outcome in failures]
    return sorted(found, key=lambda row: (row.path.name.casefold(), row.path))


def _document_row(document: Document) -> Row:
    unread = len(document.unread_pages)
    status: Status = "partly read" if unread else "read"
    about = []
    if unread == document.n_pages:
        status = "no text"
        about.append("no page could be read: most likely scans")
    elif unread:
        about.append(f"{unread} of {counted(document.n_pages, 'page')} without text")
    if scanned := document.status_counts.get("ocr", 0):
        about.append(f"{counted(scanned, 'page')} read from scans")
    if document.language not in ("", "en"):
        about.append(f"in {document.language}: search by meaning is weak")
    if more := len(document.paths) - 1:
        about.append(f"the same file at {counted(more, 'other place')}")
    return Row(
        document.path,
        status,
        "; ".join(about),
        document.n_pages,
        document.language,
        document.added_at,
        document,
    )


def filtered(rows: Iterable[Row], words: str, status: Status | None) -> list[Row]:
    """The rows whose path, title or remark holds every word, of that status if one is given."""
    wanted = words.casefold().split()
    return [
        row
        for row in rows
        if (status is None or row.status == status) and all(word in _said(row) for word in wanted)
    ]


def _said(row: Row) -> str:
    title = row.document.title if row.document else ""
    return f"{row.path} {title} {row.about}".casefold()


@dataclass(frozen=True, slots=True)
class PageRow:
    """A page in the ledger."""

    number: int
    label: str
    status: str
    reason: str


def page_rows(store: Store, document_id: str) -> list[PageRow]:
    """The pages of a document with how each was read."""
    columns = "SELECT number, label, status, reason FROM pages WHERE document_id = ?"
    return [PageRow(*row) for row in store.query(f"{columns} ORDER BY number", document_id)]


def totals(rows: Sequence[Row]) -> str:
    """One line: documents, pages, and what could not be read."""
    documents = [row for row in rows if row.document]
    parts = [counted(len(documents), "document")]
    parts.append(counted(sum(row.pages for row in documents), "page"))
    unread = sum(len(row.document.unread_pages) for row in documents if row.document)
    if unread:
        parts.append(f"{counted(unread, 'page')} without text")
    if failed := len(rows) - len(documents):
        parts.append(f"{counted(failed, 'file')} that could not be read")
    return ", ".join(parts)
