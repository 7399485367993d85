"""What was asked and answered: `chats.db`, beside the collection's store.

Its own file, so that asking never waits for indexing. A turn remembers which documents its answer
was drawn from, and goes when one of them is no longer in the store.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ragformer.errors import StoreReadOnlyError
from ragformer.store.files import BUSY_SECONDS, disk_error, is_writable, plain_errors
from ragformer.store.rows import storable
from ragformer.types import Answer

CHATS = "chats.db"

_TABLES = """
    PRAGMA secure_delete = ON;
    PRAGMA foreign_keys = ON;
    CREATE TABLE IF NOT EXISTS turns (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        chat INTEGER NOT NULL,
        asked_at TEXT NOT NULL,
        question TEXT NOT NULL,
        answer TEXT NOT NULL,
        reason TEXT
    );
    CREATE TABLE IF NOT EXISTS drawn_from (
        turn_id INTEGER NOT NULL REFERENCES turns ON DELETE CASCADE,
        document_id TEXT NOT NULL,
        PRIMARY KEY (document_id, turn_id)
    ) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Turn:
    """A question and what was answered; `reason` is set when it was a refusal."""

    asked_at: datetime
    question: str
    answer: str
    reason: str | None


class Chats:
    """The conversations of one collection; each call opens the file and closes it again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / CHATS

    def add(self, answer: Answer, chat: int | None = None) -> int:
        """Append a turn to a chat, or to a new one; returns the chat's number.

        Raises StoreReadOnlyError when the folder cannot be written, StoreFullError on a full disk.
        """
        documents = {passage.document.id for passage in answer.passages}
        documents |= {document.id for document in answer.about}
        with self._writing() as db:
            if chat is None:
                (chat,) = db.execute("SELECT coalesce(max(chat), 0) + 1 FROM turns").fetchone()
            asked_at = datetime.now(UTC).isoformat()
            said = storable(answer.question), storable(answer.text)
            row = (chat, asked_at, *said, answer.reason)
            turn = db.execute("INSERT INTO turns VALUES (NULL, ?, ?, ?, ?, ?)", row).lastrowid
            pairs = [(turn, document_id) for document_id in sorted(documents)]
            db.executemany("INSERT INTO drawn_from VALUES (?, ?)", pairs)
        return int(chat or 1)

    def turns(self, chat: int) -> list[Turn]:
        """The turns of a chat in order; none if there is no such chat."""
        if not self.file.exists():
            return []
        with plain_errors(self.folder), self._open("mode=ro") as db:
            columns = "SELECT asked_at, question, answer, reason FROM turns"
            rows = db.execute(f"{columns} WHERE chat = ? ORDER BY id", (chat,)).fetchall()
        return [Turn(datetime.fromisoformat(row[0]), *row[1:]) for row in rows]

    def forget_all_but(self, document_ids: Collection[str]) -> None:
        """Remove every turn drawn from any other document, leaving nothing of it on disk."""
        if not self.file.exists():
            return
        with self._writing() as db:
            db.execute(
                "DELETE FROM turns WHERE id IN (SELECT turn_id FROM drawn_from"
                " WHERE document_id NOT IN (SELECT value FROM json_each(?)))",
                (json.dumps(list(document_ids)),),
            )

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        if not is_writable(self.file if self.file.exists() else self.folder):
            raise StoreReadOnlyError(f"{self.folder} cannot be written, so the chat is not saved")
        try:
            self.file.touch(mode=0o600)
        except OSError as error:
            raise disk_error(self.folder, error) from error
        with plain_errors(self.folder), self._open("mode=rw") as db:
            db.executescript(_TABLES)
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")

    @contextmanager
    def _open(self, how: str) -> Iterator[sqlite3.Connection]:
        """A connection that is closed after use; what was not committed is undone."""
        uri = f"{self.file.absolute().as_uri()}?{how}"
        db = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            yield db
        finally:
            db.close()
