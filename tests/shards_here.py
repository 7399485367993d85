"""A collection in shards without Ray: jobs run one after another, in this process."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from ragformer.cluster.index import Job, Step, index_shards, steps_of
from ragformer.cluster.layout import make_shards
from ragformer.indexing import Options
from ragformer.library import Library
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
