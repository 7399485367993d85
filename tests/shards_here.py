"""A collection in shards without Ray: jobs run one after another, in this process. Documents for
every shard, and a disk that is full."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from ragformer.cluster.index import Job, Step, index_shards, steps_of
from ragformer.cluster.layout import make_shards, shard_of
from ragformer.indexing import Options
from ragformer.library import Library
from ragformer.store import files
from ragformer.types import Progress, Report
from ragformer.walk import find_files


class OneByOne:
    """A Runner; `steps` may be replaced by what breaks off."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.steps: Callable[[Job], Iterator[Step]] = steps_of

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[int, Step]]:
        for job in jobs:
            self.jobs.append(job)
            for step in self.steps(job):
                yield job.number, step

    def hash(self, paths: Sequence[Path]) -> Iterable[tuple[Path, str | None]]:
        for path in paths:
            try:
                yield path, hashlib.sha256(path.read_bytes()).hexdigest()
            except OSError:
                yield path, None


def steps_in_shards(
    library: Library,
    paths: Sequence[Path],
    n: int | None = None,
    runner: OneByOne | None = None,
    **options: object,
) -> list[Progress | Report]:
    folder = library.folder
    found = find_files(paths)
    encoder = library.encoder_id, None
    asked = Options(workers=1, **options)  # type: ignore[arg-type]
    runner = runner or OneByOne()
    return list(index_shards(folder, make_shards(folder, n, 3), encoder, found, asked, runner))


def index_in_shards(
    library: Library, paths: Sequence[Path], n: int | None = None, **options: object
) -> Report:
    *_, report = steps_in_shards(library, paths, n, **options)  # type: ignore[arg-type]
    assert isinstance(report, Report)
    return report


def write_for_each_shard(write_pdf: Callable[..., Path], name: str, n: int) -> Path:
    """Documents of 40 pages, until each of n shards has one; returns their folder."""
    shards: set[int] = set()
    for i in count():
        texts = [f"Page {page} of {name} has the valve {page * 17}." for page in range(40)]
        path = write_pdf(f"{name}{i}.pdf", *texts)
        shards.add(shard_of(hashlib.sha256(path.read_bytes()).hexdigest(), n))
        if len(shards) == n:
            break
    return path.parent


def full_disk(shard: str) -> Callable[[Path, str], sqlite3.Connection]:
    """In place of `files._open`: the shard whose folder is called so has next to no space left."""
    plain: Callable[..., Any] = files._open

    def opened(database: Path, how: str) -> sqlite3.Connection:
        connection: sqlite3.Connection = plain(database, how)
        if database.parent.name == shard:
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        return connection

    return opened
