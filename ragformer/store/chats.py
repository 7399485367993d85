"""What was asked and answered: `chats.db`, beside the collection's store.

Its own file, so that asking never waits for indexing. A turn remembers which documents its answer
was drawn from, and goes when one of them is no longer in the store.

    turns -< drawn_from        turns - details (citations, passages, a thumb)        titles
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ragformer.errors import StoreReadOnlyError
from ragformer.store.files import BUSY_SECONDS, disk_error, is_writable, plain_errors
from ragformer.store.rows import storable
from ragformer.types import Answer, Citation, Span

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
    CREATE TABLE IF NOT EXISTS details (
        turn_id INTEGER PRIMARY KEY REFERENCES turns ON DELETE CASCADE,
        form TEXT NOT NULL,
        thumb INTEGER
    );
    CREATE TABLE IF NOT EXISTS titles (chat INTEGER PRIMARY KEY, title TEXT NOT NULL);
"""
_LONE_TITLES = "DELETE FROM titles WHERE chat NOT IN (SELECT chat FROM turns)"


@dataclass(frozen=True, slots=True)
class Turn:
    """A question and what was answered; `reason` is set when it was a refusal.

    passages: id and score of each chunk that was read, in order; found_by: each one's scores, as in
    a Passage. thumb: 1 up, 0 down, None unsaid.
    A turn kept before there were details has none: `confidence` is None, as where a remote model
    wrote the answer. backend: what wrote it.
    """

    asked_at: datetime
    question: str
    answer: str
    reason: str | None
    id: int = 0
    confidence: float | None = None
    citations: tuple[Citation, ...] = ()
    passages: tuple[tuple[int, float], ...] = ()
    found_by: tuple[dict[str, float], ...] = ()
    note: str = ""
    searched_as: str = ""
    model: str = ""
    backend: str = "local"
    stopped: bool = False
    thumb: int | None = None


@dataclass(frozen=True, slots=True)
class ChatInfo:
    """A chat in a list: its title is its first question unless it was renamed."""

    number: int
    title: str
    last_at: datetime
    n_turns: int


def turn_of(answer: Answer, stopped: bool = False) -> Turn:
    """An answer as the turn that is kept of it; it has no id yet."""
    return Turn(
        datetime.now(UTC),
        storable(answer.question),
        storable(answer.text),
        answer.reason,
        confidence=answer.confidence,
        citations=answer.citations,
        passages=tuple((passage.chunk_id, passage.score) for passage in answer.passages),
        found_by=tuple(passage.found_by for passage in answer.passages),
        note=answer.note,
        searched_as=answer.searched_as,
        model=answer.model,
        backend=answer.backend,
        stopped=stopped,
    )


class Chats:
    """The conversations of one collection; each call opens the file and closes it again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / CHATS

    def add(self, answer: Answer, chat: int | None = None, stopped: bool = False) -> int:
        """Append a turn to a chat, or to a new one; returns the chat's number.

        stopped: the user cut the answer short. Raises StoreReadOnlyError when the folder cannot be
        written, StoreFullError on a full disk.
        """
        documents = {passage.document.id for passage in answer.passages}
        documents |= {document.id for document in answer.about}
        said = turn_of(answer, stopped)
        with self._writing() as db:
            if chat is None:
                (chat,) = db.execute("SELECT coalesce(max(chat), 0) + 1 FROM turns").fetchone()
            row = (chat, said.asked_at.isoformat(), said.question, said.answer, said.reason)
            turn = db.execute("INSERT INTO turns VALUES (NULL, ?, ?, ?, ?, ?)", row).lastrowid
            pairs = [(turn, document_id) for document_id in sorted(documents)]
            db.executemany("INSERT INTO drawn_from VALUES (?, ?)", pairs)
            db.execute("INSERT INTO details VALUES (?, ?, NULL)", (turn, _pack(said)))
        return int(chat or 1)

    def turns(self, chat: int) -> list[Turn]:
        """The turns of a chat in order; none if there is no such chat."""
        columns = "SELECT asked_at, question, answer, reason, id{} WHERE chat = ? ORDER BY id"
        kept = ", form, thumb FROM turns LEFT JOIN details ON turn_id = id"
        rows = self._read(columns.format(kept), columns.format(", NULL, NULL FROM turns"), chat)
        return [
            Turn(datetime.fromisoformat(at), *said, **(_unpack(form) | {"thumb": thumb}))
            for at, *said, form, thumb in rows
        ]

    def listed(self, words: str = "") -> list[ChatInfo]:
        """Every chat, or those that say `words` somewhere, the one last asked in first."""
        first = "(SELECT question FROM turns t WHERE t.chat = turns.chat ORDER BY id LIMIT 1)"
        title = f"coalesce((SELECT title FROM titles WHERE titles.chat = turns.chat), {first})"
        found = "max(instr(lower(question || char(10) || answer || char(10) || {0}), ?)) > 0"
        columns = "SELECT chat, {0}, max(asked_at), count(*) FROM turns GROUP BY chat"
        order = f"{columns} HAVING {found} ORDER BY max(id) DESC"
        rows = self._read(order.format(title), order.format(first), words.lower())
        return [ChatInfo(n, name, datetime.fromisoformat(at), k) for n, name, at, k in rows]

    def rename(self, chat: int, title: str) -> None:
        """Give a chat a title; an empty one takes it back."""
        with self._writing() as db:
            db.execute("DELETE FROM titles WHERE chat = ?", (chat,))
            if title.strip():
                row = (chat, storable(title.strip()))
                db.execute("INSERT INTO titles VALUES (?, ?)", row)
            db.execute(_LONE_TITLES)

    def delete(self, chat: int) -> None:
        """Remove a chat, leaving nothing of it on disk."""
        with self._writing() as db:
            db.execute("DELETE FROM turns WHERE chat = ?", (chat,))
            db.execute(_LONE_TITLES)

    def delete_turn(self, turn_id: int) -> None:
        """Remove one turn, leaving nothing of it on disk."""
        with self._writing() as db:
            db.execute("DELETE FROM turns WHERE id = ?", (turn_id,))
            db.execute(_LONE_TITLES)

    def rate(self, turn_id: int, thumb: int | None) -> None:
        """Note a thumb: 1 up, 0 down, None takes it back."""
        with self._writing() as db:
            db.execute("UPDATE details SET thumb = ? WHERE turn_id = ?", (thumb, turn_id))

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
            db.execute(_LONE_TITLES)

    def _read(self, sql: str, before: str, *values: object) -> list[tuple[Any, ...]]:
        """All rows of `sql`, or of `before` where the file was made before there were details."""
        if not self.file.exists():
            return []
        with plain_errors(self.folder), self._open("mode=ro") as db:
            made = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'details'").fetchone()
            return db.execute(sql if made else before, values).fetchall()

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


def _pack(turn: Turn) -> str:
    citations = [
        dataclasses.asdict(citation) | {"path": str(citation.path)} for citation in turn.citations
    ]
    kept = ("confidence", "passages", "found_by", "note", "searched_as", "model", "backend")
    form = {name: getattr(turn, name) for name in (*kept, "stopped")}
    return json.dumps(form | {"citations": citations})


def _unpack(form: str | None) -> dict[str, Any]:
    """The fields of a Turn that `_pack` kept; none for a turn that has no details."""
    if form is None:
        return {}
    fields: dict[str, Any] = json.loads(form)
    fields["passages"] = tuple((key, score) for key, score in fields["passages"])
    fields["found_by"] = tuple(fields["found_by"])
    fields["citations"] = tuple(_citation(values) for values in fields["citations"])
    return fields


def _citation(values: dict[str, Any]) -> Citation:
    made = {
        "path": Path(values["path"]),
        "span": Span(**values["span"]),
        "boxes": tuple(tuple(box) for box in values["boxes"]),
    }
    return Citation(**(values | made))
