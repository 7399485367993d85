"""The statements that change a collection; `Store` runs them inside a transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import UTC
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ragformer.store.rows import (
    KnownFile,
    Stages,
    context_line,
    is_dense,
    pack_headings,
    pack_path,
    pack_spans,
    pack_words,
    storable,
)
from ragformer.types import Chunk, Document, OutlineItem, Page


def holds(db: sqlite3.Connection, document_id: str, pages: Sequence[Page], stages: Stages) -> bool:
    """Whether the document is there, read by this version and with the same pages unread."""
    found = db.execute("SELECT read_version FROM documents WHERE id = ?", (document_id,)).fetchone()
    known = "SELECT number, status, reason FROM pages WHERE document_id = ? ORDER BY number"
    rows = db.execute(known, (document_id,)).fetchall()
    return found == (stages.read,) and rows == [
        (page.number, page.status, storable(page.reason)) for page in pages
    ]


def put_document(db: sqlite3.Connection, document: Document, stages: Stages) -> None:
    """The document's row, without content; one that is there keeps its paths and its date."""
    for table in ("pages", "outline", "chunks"):
        db.execute(f"DELETE FROM {table} WHERE document_id = ?", (document.id,))
    db.execute(
        "INSERT INTO documents (id, title, author, n_pages, added_at, language, reader,"
        " read_version, chunk_version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
        " title = excluded.title, author = excluded.author, n_pages = excluded.n_pages,"
        " language = excluded.language,"
        " reader = excluded.reader, read_version = excluded.read_version,"
        " chunk_version = excluded.chunk_version",
        (
            document.id,
            storable(document.title),
            storable(document.author),
            document.n_pages,
            document.added_at.astimezone(UTC).isoformat(),
            document.language,
            stages.reader,
            stages.read,
            stages.chunk,
        ),
    )


def drop_draft(db: sqlite3.Connection, document_id: str) -> None:
    """Forget what was kept of the document while it was not whole."""
    for table in ("draft_pages", "draft_vectors"):
        db.execute(f"DELETE FROM {table} WHERE document_id = ?", (document_id,))


def insert_pages(db: sqlite3.Connection, document_id: str, pages: Sequence[Page]) -> None:
    db.executemany(
        "INSERT INTO pages (document_id, number, status, label, reason, text, words)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            (
                document_id,
                page.number,
                page.status,
                storable(page.label),
                storable(page.reason),
                page.text,
                pack_words(page.words),
            )
            for page in pages
        ),
    )


def insert_outline(db: sqlite3.Connection, document_id: str, items: Sequence[OutlineItem]) -> None:
    db.executemany(
        "INSERT INTO outline VALUES (?, ?, ?, ?, ?)",
        (
            (document_id, ordinal, item.level, storable(item.title), item.page)
            for ordinal, item in enumerate(items)
        ),
    )


def insert_chunks(db: sqlite3.Connection, document_id: str, chunks: Sequence[Chunk]) -> list[int]:
    """Store the chunks and return their new ids in the same order."""
    (title,) = db.execute("SELECT title FROM documents WHERE id = ?", (document_id,)).fetchone()
    ids = []
    for chunk in chunks:
        context = storable(context_line(title, chunk.heading_path))
        row = db.execute(
            "INSERT INTO chunks (document_id, ordinal, heading_path, context, text, spans,"
            " n_tokens, dense) VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
            (
                document_id,
                chunk.ordinal,
                pack_headings(chunk.heading_path),
                context,
                chunk.text,
                pack_spans(chunk.spans),
                chunk.n_tokens,
                is_dense(context) or is_dense(chunk.text),
            ),
        ).fetchone()
        ids.append(int(row[0]))
    return ids


def put_vectors(
    db: sqlite3.Connection,
    encoder_id: str,
    ids: Sequence[int],
    vectors_ND: npt.NDArray[np.float32],
) -> None:
    """Store row i as the vector of chunk ids[i]; an id that is no longer there is passed over.

    Raises ValueError for a wrong number of rows or a value that is not finite.
    """
    if len(ids) != len(vectors_ND):
        raise ValueError(f"{len(ids)} chunks but {len(vectors_ND)} vectors")
    if not np.isfinite(vectors_ND).all():
        raise ValueError(f"encoder {encoder_id} gave a vector with a value that is not finite")
    rows = np.ascontiguousarray(vectors_ND, dtype="<f4")
    db.executemany(
        "INSERT INTO vectors (chunk_id, encoder_id, vector) SELECT id, ?, ? FROM chunks"
        " WHERE id = ? ON CONFLICT DO UPDATE SET vector = excluded.vector",
        ((encoder_id, row.tobytes(), int(key)) for key, row in zip(ids, rows, strict=True)),
    )


def drop_vectors_except(db: sqlite3.Connection, encoder_id: str, own: bool | None) -> None:
    """Drop other encoders' vectors; see `Store.drop_vectors_except`."""
    db.execute("DELETE FROM vectors WHERE encoder_id <> ?", (encoder_id,))
    if own is not None:
        db.execute("DELETE FROM meta WHERE key = 'own_encoder'")
    if own:  # as a number: this column would take the text of some ids for a float
        db.execute("INSERT INTO meta VALUES ('own_encoder', ?)", (int(encoder_id, 16),))


def add_to_generation(db: sqlite3.Connection, changes: int) -> None:
    db.execute("UPDATE meta SET value = value + ? WHERE key = 'generation'", (changes,))


def attach(db: sqlite3.Connection, file: KnownFile, document_id: str) -> None:
    """Let `file` hold this document; what it held or failed with before is forgotten."""
    before = _held_by(db, file.path)
    db.execute("DELETE FROM failures WHERE path = ?", (pack_path(file.path),))
    db.execute(
        "INSERT INTO paths VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
        " document_id = excluded.document_id, size = excluded.size, mtime_ns = excluded.mtime_ns,"
        " settled = excluded.settled",
        (pack_path(file.path), document_id, file.size, file.mtime_ns, file.settled),
    )
    if before is not None:
        _drop_if_nowhere(db, before)


def detach(db: sqlite3.Connection, path: Path) -> None:
    """Forget the file, and its document when no other path holds it."""
    before = _held_by(db, path)
    db.execute("DELETE FROM failures WHERE path = ?", (pack_path(path),))
    db.execute("DELETE FROM paths WHERE path = ?", (pack_path(path),))
    if before is not None:
        _drop_if_nowhere(db, before)


def insert_failure(db: sqlite3.Connection, file: KnownFile) -> None:
    db.execute(
        "INSERT INTO failures VALUES (?, ?, ?, ?, ?)",
        (pack_path(file.path), file.size, file.mtime_ns, storable(file.reason), file.settled),
    )


def scrub(db: sqlite3.Connection) -> None:
    """Make the word tables forget removed chunks.

    FTS5 only marks a removed word until its segments are merged. Its own 'secure-delete' would
    need SQLite 3.42 and lock older ones out of the file; merging once after a removal does not.
    """
    if db.execute("SELECT value FROM meta WHERE key = 'unscrubbed'").fetchone()[0]:
        db.execute("INSERT INTO chunk_words (chunk_words) VALUES ('optimize')")
        db.execute("INSERT INTO chunk_grams (chunk_grams) VALUES ('optimize')")
        db.execute("UPDATE meta SET value = 0 WHERE key = 'unscrubbed'")


def _held_by(db: sqlite3.Connection, path: Path) -> str | None:
    found = db.execute("SELECT document_id FROM paths WHERE path = ?", (pack_path(path),))
    row = found.fetchone()
    return None if row is None else str(row[0])


def _drop_if_nowhere(db: sqlite3.Connection, document_id: str) -> None:
    db.execute(
        "DELETE FROM documents WHERE id = ?1"
        " AND NOT EXISTS (SELECT 1 FROM paths WHERE document_id = ?1)",
        (document_id,),
    )
