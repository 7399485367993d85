"""The collection on disk: SQLite is the truth, everything else is made from it.

    documents -< paths, pages, outline, chunks -< vectors (one per encoder), words, grams

Readers never wait: the file is in WAL mode and each write is one short transaction, so a crash
leaves every document whole or absent. Threads may share a Store and take turns; one that must not
wait for another's write opens its own, which is cheap.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from ragformer.errors import NotFoundError, StoreReadOnlyError
from ragformer.store import write
from ragformer.store.by_words import Within, ranked_by_words
from ragformer.store.check import find_faults, other_encoders
from ragformer.store.files import connect, plain_errors
from ragformer.store.keep_vectors import refresh
from ragformer.store.lock import indexer_lock
from ragformer.store.migrations import migrate
from ragformer.store.read_vectors import Ids, Vectors, read_vectors
from ragformer.store.rows import (
    DOCUMENTS,
    KnownFile,
    Stages,
    pack_path,
    unpack_document,
    unpack_headings,
    unpack_path,
    unpack_spans,
    unpack_words,
)
from ragformer.store.within import match_paths, named_first
from ragformer.types import Chunk, Document, FileOutcome, OutlineItem, Page, Passage

__all__ = ["Ids", "Store", "Vectors"]

_LISTED = "IN (SELECT value FROM json_each(?))"


class Store:
    """An open collection; see `Store.open`. Every method may raise StoreError or its kin."""

    def __init__(self, folder: Path, connection: sqlite3.Connection, readonly: bool) -> None:
        self.folder = folder
        self.connection = connection
        self.readonly = readonly
        self._turn = threading.RLock()

    @classmethod
    def open(cls, folder: Path, *, create: bool = False, readonly: bool = False) -> Store:
        """Open the collection in `folder`, made when missing if `create`.

        Without `create`, a folder that cannot be written opens for reading only (`.readonly`).
        Raises NotFoundError if there is no collection, StoreError if it cannot be used.
        """
        connection, readonly = connect(folder, create, readonly)
        return cls(folder, connection, readonly)

    @classmethod
    def empty(cls, folder: Path) -> Self:
        """A collection with nothing in it, in memory only."""
        connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        migrate(connection)
        return cls(folder, connection, readonly=True)

    def close(self) -> None:
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """All rows of one statement, seen between two writes of this process, never within one."""
        return self.named_rows(sql, *values)[1]

    def named_rows(self, sql: str, *values: Any) -> tuple[list[str], list[tuple[Any, ...]]]:
        """As `query`, the names of the columns first."""
        with self._turn, plain_errors(self.folder):
            rows = self.connection.execute(sql, values)
            return [name for name, *_ in rows.description or ()], rows.fetchall()

    @contextmanager
    def writing(self, changes: int = 1) -> Iterator[sqlite3.Connection]:
        """One transaction: all of the block or, if it raises, nothing. Adds to `generation`."""
        if self.readonly:
            raise StoreReadOnlyError(
                f"the collection in {self.folder} is open for reading only; "
                "check who owns the folder, or choose another with RAGFORMER_HOME"
            )
        with self._turn, plain_errors(self.folder):
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
                write.add_to_generation(self.connection, changes)
                self.connection.execute("COMMIT")
            finally:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")

    def indexing(self) -> AbstractContextManager[None]:
        """Hold the right to index; raises StoreBusyError at once if another process holds it."""
        if self.readonly:
            raise StoreReadOnlyError(f"the collection in {self.folder} cannot be written")
        return indexer_lock(self.folder)

    @property
    def generation(self) -> int:
        """A number that grows with every change of content."""
        return int(self.query("SELECT value FROM meta WHERE key = 'generation'")[0][0])

    # Documents and files

    def find(self, document_id: str) -> Document | None:
        return self._load([document_id]).get(document_id)

    def documents(self, within: Sequence[str] = ()) -> list[Document]:
        """Every document, or those with a path that `within` names (see `match_paths`), by path.

        A document's paths are sorted, with those that `within` names first.
        """
        loaded = list(self._load(None).values())
        if within:
            named = match_paths((path for document in loaded for path in document.paths), within)
            loaded = [named_first(d, named) for d in loaded if not named.isdisjoint(d.paths)]
        return sorted(loaded, key=lambda document: (document.paths, document.id))

    def _load(self, ids: Collection[str] | None) -> dict[str, Document]:
        """The documents of these ids that are there; None means all. One statement, one moment."""
        if ids is None:
            rows = self.query(DOCUMENTS)
        else:
            rows = self.query(f"{DOCUMENTS} WHERE id {_LISTED}", json.dumps(list(ids)))
        return {row[0]: unpack_document(row) for row in rows}

    def add_document(
        self,
        document: Document,
        pages: Sequence[Page],
        chunks: Sequence[Chunk],
        vectors_ND: Vectors,
        encoder_id: str,
        outline: Sequence[OutlineItem] = (),
        files: Sequence[KnownFile] = (),
        stages: Stages | None = None,
    ) -> Document:
        """Store a document whole, in one transaction.

        One that is there only gains the files, unless another version of reading made it or other
        pages of it were read: then its content goes and this takes its place. `vectors_ND`:
        float32, row i for chunks[i]. `files`: where it was seen; by default `document.paths`, with
        a size that no file has, so that they are looked at again. A file that held another document
        holds this one now; a document held nowhere goes.
        """
        stages = stages or Stages()
        with self.writing() as db:
            write.drop_draft(db, document.id)
            if not write.holds(db, document.id, pages, stages):
                write.put_document(db, document, stages)
                write.insert_pages(db, document.id, pages)
                write.insert_outline(db, document.id, outline)
                ids = write.insert_chunks(db, document.id, chunks)
                write.put_vectors(db, encoder_id, ids, vectors_ND)
            for file in files or [KnownFile(path, -1, -1) for path in document.paths]:
                write.attach(db, file, document.id)
            return self._need(document.id)

    def replace_chunks(
        self,
        document_id: str,
        chunks: Sequence[Chunk],
        vectors_ND: Vectors,
        encoder_id: str,
        chunk_version: int,
    ) -> None:
        """Cut a stored document anew: its old chunks and all their vectors go."""
        with self.writing() as db:
            self._need(document_id)
            write.drop_draft(db, document_id)
            db.execute("DELETE FROM chunks WHERE document_id = ?", (document_id,))
            ids = write.insert_chunks(db, document_id, chunks)
            write.put_vectors(db, encoder_id, ids, vectors_ND)
            version = "UPDATE documents SET chunk_version = ? WHERE id = ?"
            db.execute(version, (chunk_version, document_id))

    def stages(self, document_id: str) -> Stages:
        """How the document was read and cut; raises NotFoundError if it is not there."""
        columns = "SELECT reader, read_version, chunk_version FROM documents WHERE id = ?"
        rows = self.query(columns, document_id)
        if not rows:
            raise _missing(document_id)
        return Stages(*rows[0])

    def outdated(self, stage: Literal["read", "chunk"], version: int) -> set[str]:
        """Ids of the documents that another version of this stage made."""
        outdated = f"SELECT id FROM documents WHERE {stage}_version <> ?"
        return {key for (key,) in self.query(outdated, version)}

    def known_file(self, path: Path) -> KnownFile | None:
        """The file as it was last seen, read or failed."""
        rows = self.query(
            "SELECT size, mtime_ns, document_id, '', settled FROM paths WHERE path = ?1 UNION ALL"
            " SELECT size, mtime_ns, NULL, reason, settled FROM failures WHERE path = ?1",
            pack_path(path),
        )
        return KnownFile(path, *rows[0]) if rows else None

    def attach_path(
        self, document_id: str, file: KnownFile, moved_from: Path | None = None
    ) -> Document:
        """Note that the file, as it is now, holds this stored document, and return that.

        moved_from: a path that holds it no more, forgotten in the same transaction. Raises
        NotFoundError if the document is not there.
        """
        known = self.known_file(file.path)
        with self.writing(changes=known is None or known.document_id != document_id) as db:
            write.attach(db, file, self._need(document_id).id)
            if moved_from is not None:
                write.detach(db, moved_from)
            return self._need(document_id)

    def remove_path(self, path: Path) -> bool:
        """Forget a file, and its document when this was the last path; False if unknown."""
        if self.known_file(path) is None:
            return False
        with self.writing() as db:
            write.detach(db, path)
        return True

    def remove_document(self, document_id: str) -> None:
        """Remove a document wherever it was seen; `checkpoint` then wipes its last traces."""
        self._need(document_id)
        with self.writing() as db:
            db.execute("DELETE FROM documents WHERE id = ?", (document_id,))

    def record_failure(self, file: KnownFile) -> None:
        """Note that the file could not be read (`file.reason`); what it held before goes."""
        with self.writing() as db:
            write.detach(db, file.path)
            write.insert_failure(db, file)

    def failures(self) -> list[FileOutcome]:
        """Every file that could not be read, by path."""
        rows = self.query("SELECT path, reason FROM failures")
        return sorted(
            (FileOutcome(unpack_path(path), None, "failed", reason) for path, reason in rows),
            key=lambda outcome: outcome.path,
        )

    @property
    def unscrubbed(self) -> bool:
        """Whether removed words wait for a `checkpoint`."""
        return bool(self.query("SELECT value FROM meta WHERE key = 'unscrubbed'")[0][0])

    def checkpoint(self) -> bool:
        """Wipe removed words and vectors and empty the log: nothing removed is left in the folder.

        False if a reader in another process holds on to the log; it is emptied at a later call.
        """
        refresh(self)  # first: until it is done, the words that wait tell of it
        with self.writing(changes=0) as db:
            write.scrub(db)
        return not self.query("PRAGMA wal_checkpoint(TRUNCATE)")[0][0]

    # Pages and chunks

    def page(self, document_id: str, number: int) -> Page:
        """Raises NotFoundError if there is no such document or page."""
        columns = "SELECT number, label, text, words, status, reason FROM pages"
        rows = self.query(f"{columns} WHERE document_id = ? AND number = ?", document_id, number)
        if not rows:
            document = self._need(document_id)
            raise NotFoundError(f"{document.title} has {document.n_pages} pages, no page {number}")
        number, label, text, words, status, reason = rows[0]
        return Page(number, label, text, unpack_words(words), status, reason)

    def pages(self, document_id: str) -> Iterator[Page]:
        """The pages in order, read one at a time."""
        self._need(document_id)
        numbers = "SELECT number FROM pages WHERE document_id = ? ORDER BY number"
        for (number,) in self.query(numbers, document_id):
            yield self.page(document_id, number)

    def outline(self, document_id: str) -> list[OutlineItem]:
        columns = "SELECT level, title, page FROM outline WHERE document_id = ? ORDER BY ordinal"
        return [OutlineItem(*row) for row in self.query(columns, document_id)]

    def chunks(self, document_id: str) -> list[Chunk]:
        """The document's chunks by ordinal."""
        columns = "SELECT ordinal, heading_path, text, spans, n_tokens FROM chunks"
        rows = self.query(f"{columns} WHERE document_id = ? ORDER BY ordinal", document_id)
        return [
            Chunk(ordinal, unpack_headings(headings), text, unpack_spans(spans), n_tokens)
            for ordinal, headings, text, spans, n_tokens in rows
        ]

    def chunk_ids(self, documents: Collection[str] | None = None) -> Ids:
        """Ids of all chunks, or of these documents' chunks, ascending."""
        if documents is None:
            rows = self.query("SELECT id FROM chunks")
        else:
            chosen = f"SELECT id FROM chunks WHERE document_id {_LISTED}"
            rows = self.query(chosen, json.dumps(list(documents)))
        # Sorted here: in SQLite's order by id it would read every chunk's text to reach the ids.
        return np.sort(np.array([row[0] for row in rows], dtype=np.int64))

    def passages(self, scored: Sequence[tuple[int, float]]) -> list[Passage]:
        """The chunks of (chunk id, score) pairs, in that order; ids removed since are left out."""
        wanted = json.dumps([int(key) for key, _ in scored])
        columns = "SELECT id, document_id, heading_path, text, spans FROM chunks"
        rows = {row[0]: row[1:] for row in self.query(f"{columns} WHERE id {_LISTED}", wanted)}
        documents = self._load({row[0] for row in rows.values()})
        found = []
        for key, score in scored:
            if key in rows and rows[key][0] in documents:
                document_id, headings, text, spans = rows[key]
                places = unpack_headings(headings), text, unpack_spans(spans)
                found.append(Passage(int(key), documents[document_id], *places, float(score)))
        return found

    def best_by_words(
        self, table: str, phrases: Sequence[str], k: int, within: Within | None = None
    ) -> list[tuple[int, float]]:
        """The k best (chunk id, bm25) of one FTS5 table, best first; phrases: as MATCH has them."""
        limits = () if within is None else (within.value,)
        return self.query(ranked_by_words(table, within), " OR ".join(phrases), *limits, k)

    # Vectors

    def vectors(self, encoder_id: str) -> tuple[Ids, Vectors]:
        """(ids_N ascending, vectors_ND) of one encoder; D is 0 when there are none."""
        with self._turn, plain_errors(self.folder):
            return read_vectors(self.connection, encoder_id)

    def encoders(self) -> dict[str, int]:
        """How many vectors each encoder has here."""
        return dict(self.query("SELECT encoder_id, count(*) FROM vectors GROUP BY 1 ORDER BY 1"))

    def set_vectors(self, encoder_id: str, ids: Sequence[int] | Ids, vectors_ND: Vectors) -> None:
        """Store or overwrite the vectors of these chunks; ids removed since are passed over."""
        with self.writing() as db:
            write.put_vectors(db, encoder_id, [int(key) for key in ids], vectors_ND)

    def chunks_without_vectors(self, encoder_id: str, limit: int = -1) -> list[int]:
        """Ids of the chunks that this encoder has yet to embed, ascending; up to `limit` >= 0."""
        rows = self.query(
            "SELECT id FROM chunks WHERE NOT EXISTS (SELECT 1 FROM vectors"
            " WHERE chunk_id = chunks.id AND encoder_id = ?) LIMIT ?",
            encoder_id,
            limit,
        )
        return sorted(int(row[0]) for row in rows)

    def check_encoder(self, encoder_id: str) -> None:
        """Raises EncoderMismatchError unless every chunk has a vector of this encoder."""
        if not self.chunks_without_vectors(encoder_id, 1):
            return
        raise other_encoders(encoder_id, [key for key in self.encoders() if key != encoder_id])

    @property
    def own_encoder(self) -> str | None:
        """Id of the encoder this collection was taught; None where it uses the one in the box."""
        rows = self.query("SELECT value FROM meta WHERE key = 'own_encoder'")
        return f"{rows[0][0]:012x}" if rows else None

    def drop_vectors_except(self, encoder_id: str, own: bool | None = None) -> None:
        """own: from now on it is the collection's own, or the one in the box; None: as before."""
        with self.writing() as db:
            write.drop_vectors_except(db, encoder_id, own)

    def check(self) -> list[str]:
        """Every fault found, one sentence each; none means the collection is sound."""
        return find_faults(self)

    def _need(self, document_id: str) -> Document:
        found = self.find(document_id)
        if found is None:
            raise _missing(document_id)
        return found


def _missing(document_id: str) -> NotFoundError:
    return NotFoundError(
        f"there is no document {document_id[:12]} in this collection; "
        "`ragformer list` shows what is there"
    )
