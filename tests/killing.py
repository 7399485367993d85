"""Indexing runs that are killed: at a named step, or some time after their start.

    python tests/killing.py     reads a Job a line from stdin, answers each with its exit status

Each run is a fork of one process that has everything imported and no thread, so that hundreds of
them take no longer than a few starts of Python. The encoder is made up; the reader may be, too.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ragformer import indexing
from ragformer.config import load_settings
from ragformer.errors import PdfError
from ragformer.library import Library
from ragformer.pdf.read import PageRange, PagesRead, PdfText
from ragformer.retrieve import embed as _imported_before_the_forks  # noqa: F401
from ragformer.retrieve import embed_chunks
from ragformer.store import lock
from ragformer.types import Page


@dataclasses.dataclass(frozen=True)
class Job:
    """One run of `index` over `docs`. flags: of Library.index. encoder: the made-up one's id.

    real: read with the real reader, real PDFs; else a file is text, a form feed between pages.
    kill_at: a step and which of its times, from 1. kill_after: seconds. steps: a file to write
    the name of every step to.
    """

    home: str
    docs: str
    flags: dict[str, bool] = dataclasses.field(default_factory=dict)
    encoder: str = "0123456789ab"
    real: bool = False
    kill_at: tuple[str, int] | None = None
    kill_after: float | None = None
    steps: str = ""


class Killer:
    """The process that runs jobs; use it in a `with`."""

    def __enter__(self) -> Killer:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def run(self, job: Job) -> int:
        """The run's exit status: 0 when it came to its end, -9 when it was killed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(dataclasses.asdict(job)) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


class MadeUpEncoder:
    """A vector for each bag of words, other ones for another id; a row's rounding depends on the
    batch it is in, as a real encoder's does."""

    def __init__(self, identity: str) -> None:
        self.id = identity
        self.tokenizer = self

    def count(self, text: str) -> int:
        return len(text.split())

    def encode(self, texts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
        rows = np.full((len(texts), 32), 1e-3 * len(texts) / 64, dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in text.split():
                row[zlib.crc32(f"{self.id} {word}".encode()) % 32] += 1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


class MadeUpLibrary(Library):
    """A Library with a MadeUpEncoder."""

    def __init__(self, job: Job) -> None:
        super().__init__(load_settings(home=job.home))
        self.made_up = MadeUpEncoder(job.encoder)

    encoder = property(lambda self: self.made_up)  # type: ignore[assignment]
    encoder_id = property(lambda self: self.made_up.id)  # type: ignore[assignment]


RANGE = 3  # pages, in place of the real reader's


def read_text(
    paths: Sequence[Path], *_: object, begun: Mapping[Path, PageRange], **__: object
) -> Iterator[tuple[Path, Any]]:
    """In place of the real reader."""
    for path in paths:
        texts = path.read_text().split("\f")
        yield path, PagesRead(0, len(texts))
        if texts[0].startswith("bad"):
            yield path, PdfError(f"{path.name} is bad")
            continue
        pages = list(begun[path].pages if path in begun else ())
        for start in range(len(pages), len(texts), RANGE):
            some = enumerate(texts[start : start + RANGE], start=start + 1)
            pages += [Page(n, str(n), text) for n, text in some]
            if len(pages) % RANGE == 0 and len(texts) > RANGE:
                yield path, PageRange(tuple(pages[-RANGE:]), "made up")
        yield path, PdfText(path.stem, tuple(pages), (), "made up")


class Steps:
    """Counts the steps of this process and kills it at one of them."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.counts: Counter[str] = Counter()
        self._committed = False

    def mark(self, name: str) -> None:
        self.counts[name] += 1
        if self.job.steps:
            with Path(self.job.steps).open("a") as file:
                file.write(name + "\n")
        if self.job.kill_at and (name, self.counts[name]) == tuple(self.job.kill_at):
            os.kill(os.getpid(), signal.SIGKILL)

    def statement(self, sql: str) -> None:
        """SQLite is about to run this; the first three words name it."""
        if self._committed:
            self.mark("committed")
        words = sql.split()[:3]
        self._committed = words[0] == "COMMIT"
        if words[0] in {"CREATE", "PRAGMA", "BEGIN", "COMMIT"}:
            words = [word for word in words[:2] if words[0] == "PRAGMA"] or words[:1]
        if words[0] not in {"SELECT", "--"}:
            self.mark(" ".join(words))

    def watch(self, module: ModuleType, name: str) -> None:
        """Make each call of a function a step, named like it."""
        function: Callable[..., Any] = getattr(module, name)

        def marked(*arguments: Any, **options: Any) -> Any:
            self.mark(name.strip("_"))
            return function(*arguments, **options)

        setattr(module, name, marked)


def run(job: Job) -> None:
    """Index; in a process that ends with it."""
    steps = Steps(job)
    connect = sqlite3.connect

    def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **options)
        connection.set_trace_callback(steps.statement)
        return connection

    if not job.real:
        indexing.follow_pdfs = read_text  # type: ignore[assignment]
        indexing.RANGE, embed_chunks.EMBED_AT_ONCE = RANGE, 2
    if job.kill_at or job.steps:
        sqlite3.connect = traced  # type: ignore[assignment]
        for name in ("file_hash", "split_pages", "detect_language", "_is_as_seen"):
            steps.watch(indexing, name)
        steps.watch(embed_chunks, "embed")
        for name in ("_hold", "_take"):
            steps.watch(lock, name)
    with MadeUpLibrary(job) as library:
        for _ in library.index([job.docs], workers=2, **job.flags):
            pass


def serve() -> None:
    for line in sys.stdin:
        job = Job(**json.loads(line))
        pid = os.fork()
        if pid == 0:
            try:
                run(job)
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        if job.kill_after is not None:
            time.sleep(job.kill_after)
            os.kill(pid, signal.SIGKILL)  # a child that has ended is still there to be waited for
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    serve()
