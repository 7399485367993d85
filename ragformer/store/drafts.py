"""What has been read and embedded of a long document that is not whole yet: its journal.

    pages, as they come in ranges -> draft_pages       vectors, batch by batch -> draft_vectors

Each is one short transaction, and a run that was cut off goes on from there. No reader looks at
these tables: the document appears whole, in one transaction, and its draft goes with that, or at
the end of a run that did not come to it. Drafts are no content: `Store.generation` stays.

A draft's vectors are known by what was embedded, so that after any change between two runs, of the
chunks, the title or the scans, they are found where they still hold and nowhere else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from ragformer.store.rows import pack_words, storable, unpack_words
from ragformer.store.store import Store, Vectors
from ragformer.types import Chunk, Page


def keep_pages(
    store: Store, document_id: str, pages: Sequence[Page], reader: str, read_version: int
) -> None:
    """Keep these pages, in place of what was kept of the same numbers. reader: so far."""
    with store.writing(changes=0) as db:
        db.executemany(
            "REPLACE INTO draft_pages (document_id, number, read_version, reader, status, label,"
            " reason, text, words) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    document_id,
                    page.number,
                    read_version,
                    reader,
                    page.status,
                    storable(page.label),
                    storable(page.reason),
                    page.text,
                    pack_words(page.words),
                )
                for page in pages
            ),
        )


def begun(store: Store, read_version: int) -> dict[str, tuple[tuple[Page, ...], str]]:
    """By document id, the pages that this version kept, from the first on without a gap, and what
    read them."""
    columns = "SELECT document_id, reader, number, label, text, words, status, reason"
    rows = store.query(
        f"{columns} FROM draft_pages WHERE read_version = ? ORDER BY document_id, number",
        read_version,
    )
    pages: dict[str, list[Page]] = {}
    readers: dict[str, str] = {}
    for key, reader, number, label, text, words, status, reason in rows:
        of_document = pages.setdefault(key, [])
        if number == len(of_document) + 1:
            of_document.append(Page(number, label, text, unpack_words(words), status, reason))
            readers[key] = reader
    return {key: (tuple(pages[key]), readers[key]) for key in readers}


class DraftVectors:
    """The vectors of one document and encoder that are kept."""

    def __init__(self, store: Store, document_id: str, encoder_id: str) -> None:
        self._store, self._key = store, (document_id, encoder_id)
        rows = "SELECT embedded, vector FROM draft_vectors WHERE document_id = ? AND encoder_id = ?"
        self._vector_of: dict[bytes, bytes] = dict(store.query(rows, *self._key))

    def of(self, title: str, chunks: Sequence[Chunk]) -> Vectors | None:
        """Row i is the vector of chunks[i]; None unless all of them are kept."""
        rows = [self._vector_of.get(_embedded(title, chunk)) for chunk in chunks]
        kept = [np.frombuffer(row, "<f4") for row in rows if row is not None]
        return np.stack(kept) if kept and len(kept) == len(chunks) else None

    def keep(self, title: str, chunks: Sequence[Chunk], vectors_ND: Vectors) -> None:
        """Keep row i as the vector of chunks[i]."""
        rows = np.ascontiguousarray(vectors_ND, dtype="<f4")
        with self._store.writing(changes=0) as db:
            db.executemany(
                "REPLACE INTO draft_vectors VALUES (?, ?, ?, ?)",
                (
                    (*self._key, _embedded(title, chunk), row.tobytes())
                    for chunk, row in zip(chunks, rows, strict=True)
                ),
            )


def drop_drafts(store: Store) -> bool:
    """Forget every draft; False if there is none."""
    tables = ("draft_pages", "draft_vectors")
    if not any(store.query(f"SELECT 1 FROM {table} LIMIT 1") for table in tables):
        return False
    with store.writing(changes=0) as db:
        for table in tables:
            db.execute(f"DELETE FROM {table}")
    return True


def _embedded(title: str, chunk: Chunk) -> bytes:
    """A digest of all that goes into a chunk's vector."""
    return hashlib.sha256(repr((title, chunk.heading_path, chunk.text)).encode()).digest()
