"""A user's own questions and how they were answered over time: `questions.db` in the collection.

    questions -< results >- runs

Of a document only its name and pages are kept, never its text, so that nothing of one that is
removed stays here.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ragformer.errors import InputError, StoreReadOnlyError
from ragformer.store.files import BUSY_SECONDS, disk_error, is_writable, plain_errors
from ragformer.store.rows import storable
from ragformer.text.normalize import check_question

QUESTIONS = "questions.db"

_TABLES = """
    PRAGMA secure_delete = ON;
    PRAGMA foreign_keys = ON;
    CREATE TABLE IF NOT EXISTS questions (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        question TEXT NOT NULL,
        file TEXT NOT NULL,
        pages TEXT NOT NULL
    );
    CREATE TABLE IF NOT EXISTS runs (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at TEXT NOT NULL,
        model TEXT NOT NULL
    );
    CREATE TABLE IF NOT EXISTS results (
        run_id INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
        question_id INTEGER NOT NULL REFERENCES questions ON DELETE CASCADE,
        rank INTEGER,
        refused INTEGER NOT NULL,
        right_page INTEGER NOT NULL,
        quotes INTEGER NOT NULL,
        verbatim INTEGER NOT NULL,
        seconds REAL NOT NULL,
        PRIMARY KEY (run_id, question_id)
    ) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class OwnQuestion:
    """A question to ask again and again; file and pages: where its answer stands, by the file's
    name. No file: it is not in the documents and should be refused."""

    question: str
    file: str = ""
    pages: tuple[int, ...] = ()
    id: int = 0

    def __post_init__(self) -> None:
        check_question(self.question)
        if bool(self.file) != bool(self.pages) or any(page < 1 for page in self.pages):
            raise InputError(
                f"where is the answer to “{self.question}”? Name a file and its page, or neither"
                " for a question that should be refused"
            )


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a question was answered. rank: of the first right page among those found, from 1, None
    if it is not there. right_page: whether the first quote stands on one. verbatim: how many of the
    quotes re-read at their place."""

    question_id: int
    rank: int | None
    refused: bool
    right_page: bool
    quotes: int
    verbatim: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Run:
    """All questions asked once, with the decoder of that id."""

    at: datetime
    model: str
    outcomes: tuple[Outcome, ...]


class Questions:
    """The questions of one collection; each call opens the file and closes it again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / QUESTIONS

    def all(self) -> list[OwnQuestion]:
        """In the order they came."""
        rows = self._read("SELECT question, file, pages, id FROM questions ORDER BY id")
        return [
            OwnQuestion(text, file, tuple(json.loads(pages)), key)
            for text, file, pages, key in rows
        ]

    def replace(self, questions: Sequence[OwnQuestion]) -> None:
        """Keep these and no others; one with the id of a kept one changes it.

        One that changed loses its results: they are about something else. Raises
        StoreReadOnlyError when the folder cannot be written, StoreFullError on a full disk.
        """
        before = {question.id: question for question in self.all()}
        same = [q.id for q in questions if before.get(q.id) == q]
        with self._writing() as db:
            kept = json.dumps(same)
            gone = "DELETE FROM questions WHERE id NOT IN (SELECT value FROM json_each(?))"
            db.execute(gone, (kept,))
            for question in questions:
                if question.id not in same:
                    self._add(db, question)
            db.execute("DELETE FROM runs WHERE id NOT IN (SELECT run_id FROM results)")

    def add(self, question: OwnQuestion) -> None:
        """Keep one more."""
        with self._writing() as db:
            self._add(db, question)

    def _add(self, db: sqlite3.Connection, question: OwnQuestion) -> None:
        row = (storable(question.question), storable(question.file), json.dumps(question.pages))
        db.execute("INSERT INTO questions VALUES (NULL, ?, ?, ?)", row)

    def add_run(self, model: str, outcomes: Sequence[Outcome]) -> None:
        """Keep how all were answered just now; what was removed meanwhile is left out."""
        with self._writing() as db:
            at = datetime.now(UTC).isoformat()
            run = db.execute("INSERT INTO runs VALUES (NULL, ?, ?)", (at, model)).lastrowid
            rows = [
                (
                    run,
                    o.rank,
                    o.refused,
                    o.right_page,
                    o.quotes,
                    o.verbatim,
                    o.seconds,
                    o.question_id,
                )
                for o in outcomes
            ]
            known = "SELECT ?, id, ?, ?, ?, ?, ?, ? FROM questions WHERE id = ?"
            db.executemany(f"INSERT INTO results {known}", rows)

    def runs(self) -> list[Run]:
        """The oldest first."""
        columns = "question_id, rank, refused, right_page, quotes, verbatim, seconds"
        joined = f"SELECT id, at, model, {columns} FROM runs JOIN results ON run_id = id"
        runs: dict[int, Run] = {}
        for key, at, model, question, rank, refused, right, *counts in self._read(
            f"{joined} ORDER BY id, question_id"
        ):
            before = runs.get(key, Run(datetime.fromisoformat(at), model, ()))
            outcome = Outcome(question, rank, bool(refused), bool(right), *counts)
            runs[key] = Run(before.at, model, (*before.outcomes, outcome))
        return list(runs.values())

    def _read(self, sql: str) -> list[tuple[Any, ...]]:
        if not self.file.exists():
            return []
        with plain_errors(self.folder), closing(self._open("mode=ro")) as db:
            return db.execute(sql).fetchall()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        if not is_writable(self.file if self.file.exists() else self.folder):
            raise StoreReadOnlyError(f"{self.folder} cannot be written, so nothing is kept there")
        try:
            self.file.touch(mode=0o600)
        except OSError as error:
            raise disk_error(self.folder, error) from error
        with plain_errors(self.folder), closing(self._open("mode=rw")) as db:
            db.executescript(_TABLES)
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")

    def _open(self, how: str) -> sqlite3.Connection:
        uri = f"{self.file.absolute().as_uri()}?{how}"
        return sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
