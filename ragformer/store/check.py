"""What `ragformer doctor --check` looks for: every promise the store makes, tested on its rows."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ragformer.errors import EncoderMismatchError, StoreError
from ragformer.store.keep_vectors import find_file_faults
from ragformer.store.rows import unpack_headings, unpack_spans, unpack_words

if TYPE_CHECKING:
    from ragformer.store.store import Store

_WORD_TABLES = {"chunk_words": "chunks", "chunk_grams": "dense"}


def find_faults(store: Store) -> list[str]:
    """Every fault, one sentence each. A damaged file ends the search with that fault."""
    faults: list[str] = []
    try:
        for look in (_file, _word_tables, _vectors, find_file_faults, _pages, _documents, _chunks):
            faults.extend(look(store))
    except StoreError as error:
        faults.append(str(error))
    return faults


def other_encoders(encoder_id: str, others: Sequence[str]) -> EncoderMismatchError:
    """What to say of chunks that have no vector of this encoder, but perhaps of others."""
    if others:
        what = f"this collection was embedded by encoder {', '.join(others)}, not {encoder_id}"
        way_out = "or wait if it is running, or set RAGFORMER_MODELS to the models it was made with"
    else:
        what = f"some chunks of this collection have no vector of encoder {encoder_id}"
        way_out = "which embeds what is missing, or wait if it is running"
    return EncoderMismatchError(f"{what}; run `ragformer index --reembed`, {way_out}")


def _file(store: Store) -> Iterator[str]:
    for (message,) in store.query("PRAGMA integrity_check"):
        if message != "ok":
            yield f"the database file is damaged: {message}"
    for table, *_ in store.query("PRAGMA foreign_key_check"):
        yield f"a row of {table} belongs to something that is no longer there"


def _word_tables(store: Store) -> Iterator[str]:
    for table, content in _WORD_TABLES.items():
        # docsize has a row for each chunk the index knows; count(*) of the table would not ask it.
        indexed = store.query(f"SELECT count(*) FROM {table}_docsize")[0][0]
        stored = store.query(f"SELECT count(*) FROM {content}")[0][0]
        if indexed != stored:
            yield f"{table} covers {indexed} chunks of {stored}; index the files again"
    if not store.readonly:  # FTS5's own check is spelled as an INSERT
        yield from _compare_word_tables(store)


def _compare_word_tables(store: Store) -> Iterator[str]:
    for table in _WORD_TABLES:
        try:
            store.query(f"INSERT INTO {table} ({table}, rank) VALUES ('integrity-check', 1)")
        except StoreError as error:
            if type(error) is not StoreError:  # busy or full: no finding about the words
                raise
            yield f"{table} does not match the chunks' text: {error.__cause__}"


def _vectors(store: Store) -> Iterator[str]:
    n_chunks = len(store.chunk_ids())
    counts = store.encoders()
    if n_chunks and max(counts.values(), default=0) < n_chunks:
        have = ", ".join(f"{n} of encoder {key}" for key, n in counts.items()) or "none"
        yield f"{n_chunks} chunks have too few vectors ({have}); run `ragformer index --reembed`"
    for encoder_id in counts:
        _, vectors_ND = store.vectors(encoder_id)
        if not np.isfinite(vectors_ND).all():
            yield f"a vector of encoder {encoder_id} is not finite; run `ragformer index --reembed`"


def _pages(store: Store) -> Iterator[str]:
    bad = store.query(
        "SELECT document_id, number, status FROM pages WHERE number < 1 OR CASE status"
        " WHEN 'text' THEN trim(text) = '' WHEN 'ocr' THEN trim(text) = ''"
        " WHEN 'empty' THEN text GLOB '*[a-zA-Z0-9]*' WHEN 'failed' THEN reason = '' ELSE 1 END"
    )
    for document_id, number, status in bad:
        yield f"page {number} of document {document_id[:12]} is not what its status says: {status}"


def _documents(store: Store) -> Iterator[str]:
    rows = store.query(
        "SELECT id, n_pages, (SELECT count(*) FROM pages WHERE document_id = documents.id),"
        " EXISTS (SELECT 1 FROM paths WHERE document_id = documents.id) FROM documents"
    )
    for document_id, n_pages, stored, somewhere in rows:
        if n_pages != stored:
            yield f"document {document_id[:12]} has {n_pages} pages and {stored} are stored"
        if not somewhere:
            yield f"document {document_id[:12]} has no path"


def _chunks(store: Store) -> Iterator[str]:
    for (document_id,) in store.query("SELECT id FROM documents ORDER BY id"):
        for fault in unreadable(store, document_id):
            yield f"{fault} of document {document_id[:12]}"


def unreadable(store: Store, document_id: str) -> Iterator[str]:
    """What of a document does not re-read: "page 3 has words where it has no text" and its kin."""
    text_of: dict[int, str] = {}
    columns = "SELECT number, text, words FROM pages WHERE document_id = ?"
    for number, text, packed in store.query(columns, document_id):
        text_of[number] = text
        try:
            words = unpack_words(packed)
        except (ValueError, zlib.error):
            yield f"the words of page {number} cannot be unpacked"
        else:
            if any(not 0 <= word.start < word.end <= len(text) for word in words):
                yield f"a word of page {number} lies outside the text"
    columns = "SELECT ordinal, text, spans, heading_path FROM chunks WHERE document_id = ?"
    for ordinal, text, spans, headings in store.query(columns, document_id):
        try:
            unpack_headings(headings)
            places = unpack_spans(spans)
        except (ValueError, TypeError):
            yield f"the place of chunk {ordinal} cannot be unpacked"
        else:
            if "\n".join(text_of.get(s.page, "")[s.start : s.end] for s in places) != text:
                yield f"chunk {ordinal} does not re-read from the pages"
