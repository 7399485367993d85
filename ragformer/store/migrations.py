"""The tables, as numbered steps: migration n brings `user_version` from n - 1 to n.

A step is never edited once released; a change is a new step. Words are indexed by two external
content FTS5 tables that triggers keep in line with `chunks`: stemmed words of every chunk, and
three-character grams of the chunks written without spaces between words (`chunks.dense`).
"""

from __future__ import annotations

import sqlite3

from ragformer.errors import StoreError

_FIRST = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
    "INSERT INTO meta VALUES ('generation', 0), ('unscrubbed', 0)",
    """CREATE TABLE documents (
        id TEXT PRIMARY KEY,
        title TEXT NOT NULL,
        n_pages INTEGER NOT NULL,
        added_at TEXT NOT NULL,
        language TEXT NOT NULL,
        reader TEXT NOT NULL,
        read_version INTEGER NOT NULL,
        chunk_version INTEGER NOT NULL
    )""",
    # A path is the bytes the system knows it by: a file name need not be valid UTF-8.
    """CREATE TABLE paths (
        path BLOB PRIMARY KEY,
        document_id TEXT NOT NULL REFERENCES documents ON DELETE CASCADE,
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL
    )""",
    "CREATE INDEX paths_of_document ON paths (document_id)",
    """CREATE TABLE failures (
        path BLOB PRIMARY KEY,
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        reason TEXT NOT NULL
    )""",
    """CREATE TABLE pages (
        document_id TEXT NOT NULL REFERENCES documents ON DELETE CASCADE,
        number INTEGER NOT NULL,
        status TEXT NOT NULL,
        label TEXT NOT NULL,
        reason TEXT NOT NULL,
        text TEXT NOT NULL,
        words BLOB NOT NULL,
        UNIQUE (document_id, number)
    )""",
    "CREATE INDEX page_status ON pages (document_id, status, number)",
    """CREATE TABLE outline (
        document_id TEXT NOT NULL REFERENCES documents ON DELETE CASCADE,
        ordinal INTEGER NOT NULL,
        level INTEGER NOT NULL,
        title TEXT NOT NULL,
        page INTEGER NOT NULL,
        PRIMARY KEY (document_id, ordinal)
    ) WITHOUT ROWID""",
    # AUTOINCREMENT: the id of a removed chunk never comes back, so a vector index that is out of
    # date can miss a chunk but not name a wrong one.
    """CREATE TABLE chunks (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        document_id TEXT NOT NULL REFERENCES documents ON DELETE CASCADE,
        ordinal INTEGER NOT NULL,
        heading_path TEXT NOT NULL,
        context TEXT NOT NULL,
        text TEXT NOT NULL,
        spans TEXT NOT NULL,
        n_tokens INTEGER NOT NULL,
        dense INTEGER NOT NULL,
        UNIQUE (document_id, ordinal)
    )""",
    "CREATE INDEX dense_chunks ON chunks (id) WHERE dense",
    # A rowid table, though the pair is the key: a row of 1.5 KB would overflow an index page.
    """CREATE TABLE vectors (
        chunk_id INTEGER NOT NULL REFERENCES chunks ON DELETE CASCADE,
        encoder_id TEXT NOT NULL,
        vector BLOB NOT NULL,
        UNIQUE (chunk_id, encoder_id)
    )""",
    """CREATE VIRTUAL TABLE chunk_words USING fts5 (
        context, text, content='chunks', content_rowid='id', tokenize='porter unicode61'
    )""",
    "CREATE VIEW dense AS SELECT id, context, text FROM chunks WHERE dense",
    """CREATE VIRTUAL TABLE chunk_grams USING fts5 (
        context, text, content='dense', content_rowid='id', tokenize='trigram'
    )""",
    """CREATE TRIGGER chunk_added AFTER INSERT ON chunks BEGIN
        INSERT INTO chunk_words (rowid, context, text) VALUES (new.id, new.context, new.text);
    END""",
    """CREATE TRIGGER dense_chunk_added AFTER INSERT ON chunks WHEN new.dense BEGIN
        INSERT INTO chunk_grams (rowid, context, text) VALUES (new.id, new.context, new.text);
    END""",
    """CREATE TRIGGER chunk_removed AFTER DELETE ON chunks BEGIN
        INSERT INTO chunk_words (chunk_words, rowid, context, text)
        VALUES ('delete', old.id, old.context, old.text);
        UPDATE meta SET value = 1 WHERE key = 'unscrubbed';
    END""",
    """CREATE TRIGGER dense_chunk_removed AFTER DELETE ON chunks WHEN old.dense BEGIN
        INSERT INTO chunk_grams (chunk_grams, rowid, context, text)
        VALUES ('delete', old.id, old.context, old.text);
    END""",
)

_AUTHOR = ("ALTER TABLE documents ADD COLUMN author TEXT NOT NULL DEFAULT ''",)

# Of a long document, what a run has done before it is whole: see drafts.py.
_DRAFTS = (
    """CREATE TABLE draft_pages (
        document_id TEXT NOT NULL,
        number INTEGER NOT NULL,
        read_version INTEGER NOT NULL,
        reader TEXT NOT NULL,
        status TEXT NOT NULL,
        label TEXT NOT NULL,
        reason TEXT NOT NULL,
        text TEXT NOT NULL,
        words BLOB NOT NULL,
        UNIQUE (document_id, number)
    )""",
    """CREATE TABLE draft_vectors (
        document_id TEXT NOT NULL,
        encoder_id TEXT NOT NULL,
        embedded BLOB NOT NULL,
        vector BLOB NOT NULL,
        UNIQUE (document_id, encoder_id, embedded)
    )""",
    """CREATE TRIGGER document_removed AFTER DELETE ON documents BEGIN
        DELETE FROM draft_pages WHERE document_id = old.id;
        DELETE FROM draft_vectors WHERE document_id = old.id;
    END""",
)

# Whether a file had not been changed for a while when it was looked at.
_SETTLED = (
    "ALTER TABLE paths ADD COLUMN settled INTEGER NOT NULL DEFAULT 1",
    "ALTER TABLE failures ADD COLUMN settled INTEGER NOT NULL DEFAULT 1",
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_FIRST, _AUTHOR, _DRAFTS, _SETTLED)


def version(connection: sqlite3.Connection) -> int:
    """How many migrations this database has had."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection) -> None:
    """Apply what is missing, each step in its own transaction; two processes at once do it once.

    Raises StoreError if the database was written by a newer ragformer.
    """
    if version(connection) > len(MIGRATIONS):
        raise StoreError(
            f"this collection has format {version(connection)} and this ragformer knows up to "
            f"{len(MIGRATIONS)}; upgrade ragformer to open it"
        )
    for number, statements in enumerate(MIGRATIONS, start=1):
        if version(connection) >= number:
            continue
        connection.execute("BEGIN IMMEDIATE")
        try:
            if version(connection) < number:
                for statement in statements:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
