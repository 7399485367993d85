"""Files into the shards of a collection: one ordinary run of `indexing` in each, one Report.

found files -> those a shard knows as they are, the others hashed -> a Job for each shard
            -> its run, anywhere (`steps_of`) -> its Progress and Report -> all of them as one

A shard is only ever written by `index_files`, so all that holds of one store holds of it: a run
that was cut off loses the document at hand, and the next one goes on from there. A file whose
content has changed may now belong to another shard; the old one forgets it once the new one has it.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ragformer.cluster.layout import shard_folder, shard_of
from ragformer.cluster.shard import Fault
from ragformer.errors import ClusterError, RagformerError, StoreBusyError, StoreError, WeightsError
from ragformer.indexing import CHUNK_VERSION, READ_VERSION, Options, index_files
from ragformer.store.files import DATABASE
from ragformer.store.migrations import MIGRATIONS
from ragformer.store.rows import KnownFile, unpack_path
from ragformer.store.store import Store
from ragformer.types import FileOutcome, FileStatus, Progress, Report
from ragformer.walk import Found

if TYPE_CHECKING:
    from ragformer.retrieve.embed import Encoder

PATIENCE = 15.0  # seconds that the lock of a worker just killed may take to go
FORMS = f"reads {READ_VERSION}, cuts {CHUNK_VERSION}, stores {len(MIGRATIONS)}"
"""What two nodes must have alike to write one collection."""


@dataclass(frozen=True, slots=True)
class Job:
    """A shard's part of a run. encoder: its folder, None for the one in the box.

    leave: files that are another shard's by now, forgotten without a look.
    """

    number: int
    folder: Path
    encoder_id: str
    encoder: Path | None
    found: Found
    options: Options
    leave: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Again:
    """A job broke off and is being run once more; why, as a sentence."""

    reason: str


Step = Progress | Report | Again | Fault


class Runner(Protocol):
    """Where jobs run: all of them at once, each until its Report or a Fault."""

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[int, Step]]:
        """(its number, a step of it) as they come."""
        ...

    def hash(self, paths: Sequence[Path]) -> Iterable[tuple[Path, str | None]]:
        """(path, sha256 in hex); None for a file that cannot be opened."""
        ...


def index_shards(
    folder: Path,
    n: int,
    encoder: tuple[str, Path | None],
    found: Found,
    options: Options,
    runner: Runner,
) -> Iterator[Progress | Report]:
    """As `index_files`, for the n shards in `folder`. encoder: as in Job, its id first.

    Raises ClusterError when shards could not be written, after all others are done.
    """
    run = _Run(len(found.files), found.problems)
    yield run.progress()
    known = _known(folder, n)
    run.held = {path: file.document_id for path, files in known.items() for _, file in files}
    shares, leaving = _divide(known, n, found.files, runner)
    jobs = [
        Job(
            number,
            shard_folder(folder, number),
            *encoder,
            Found(found.roots, tuple(shares[number]), ()),
            options,
        )
        for number in range(n)
    ]
    yield from run.follow(runner.run(jobs))
    run.raise_faults(n)
    moved = [
        dataclasses.replace(jobs[s], found=Found((), (), ()), options=Options(), leave=tuple(paths))
        for s, paths in sorted(leaving.items())
    ]
    yield from run.follow(runner.run(moved))
    run.raise_faults(n)
    yield run.report({path for paths in leaving.values() for path in paths})


def steps_of(job: Job, load: Callable[[], Encoder] | None = None) -> Iterator[Step]:
    """Run a job here: the steps of `index_files`, or a Fault where it cannot.

    load: as for `index_files`; by default `encoder_of` the job's.
    """
    try:
        yield from _patiently(job, load or partial(encoder_of, job.encoder_id, job.encoder))
    except (RagformerError, OSError) as error:
        yield Fault(str(error))


def _patiently(job: Job, load: Callable[[], Encoder]) -> Iterator[Progress | Report]:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            with Store.open(job.folder, create=True) as store:
                if job.leave:
                    yield _leave(store, job.leave)
                else:
                    yield from index_files(store, job.encoder_id, load, job.found, job.options)
            return
        except StoreBusyError:
            if time.monotonic() > until:
                raise
            time.sleep(0.5)


def _leave(store: Store, paths: Sequence[Path]) -> Report:
    with store.indexing():
        for path in paths:
            store.remove_path(path)
        store.checkpoint()
    return Report((), 0, 0, 0.0)


def encoder_of(encoder_id: str, folder: Path | None) -> Encoder:
    """The encoder of this id, from `folder` or the box; raises WeightsError for another one."""
    encoder = _load(folder)
    if encoder.id != encoder_id:
        raise WeightsError(
            f"the encoder here is {encoder.id} and the one asked for is {encoder_id}; install "
            "the same ragformer everywhere, or put RAGFORMER_MODELS where every node has it"
        )
    return encoder


@cache
def _load(folder: Path | None) -> Encoder:
    """Once a process, whatever shards it writes."""
    from ragformer.retrieve.embed import load_encoder

    return load_encoder(folder)


def _known(folder: Path, n: int) -> dict[Path, list[tuple[int, KnownFile]]]:
    """The files that shards know, each with the number of its shard; one that cannot be opened
    knows none, and its own run says why."""
    known: dict[Path, list[tuple[int, KnownFile]]] = {}
    for number in range(n):
        with suppress(StoreError):
            for file in _known_files(shard_folder(folder, number)):
                known.setdefault(file.path, []).append((number, file))
    return known


def _divide(
    known: Mapping[Path, Sequence[tuple[int, KnownFile]]],
    n: int,
    files: Sequence[Path],
    runner: Runner,
) -> tuple[list[list[Path]], dict[int, list[Path]]]:
    """The files of each shard, and by shard the files it knows that are another's now."""
    place: dict[Path, int] = {}
    unknown: list[Path] = []
    for path in files:
        current = _as_known(path, known.get(path, ()))
        if current is None:
            unknown.append(path)
        else:
            place[path] = current
    for path, key in runner.hash(unknown):
        if key is None:  # the shard's own run says why
            place[path] = known[path][0][0] if path in known else 0
        else:
            place[path] = shard_of(key, n)
    shares: list[list[Path]] = [[] for _ in range(n)]
    leaving: dict[int, list[Path]] = {}
    for path in files:
        shares[place[path]].append(path)
        for number, _ in known.get(path, ()):
            if number != place[path]:
                leaving.setdefault(number, []).append(path)
    return shares, leaving


def _known_files(folder: Path) -> Iterator[KnownFile]:
    if not (folder / DATABASE).exists():
        return
    with Store.open(folder) as store:
        columns = "SELECT path, size, mtime_ns, document_id, '', settled FROM paths UNION ALL"
        columns += " SELECT path, size, mtime_ns, NULL, reason, settled FROM failures"
        for path, *rest in store.query(columns):
            yield KnownFile(unpack_path(path), *rest)


def _as_known(path: Path, known: Iterable[tuple[int, KnownFile]]) -> int | None:
    """The one shard that knows the file as it is now; None without one, or with several."""
    try:
        now = KnownFile.of(path)
    except OSError:
        return None
    same = [
        number
        for number, file in known
        if file.settled and (file.size, file.mtime_ns) == (now.size, now.mtime_ns)
    ]
    return same[0] if len(same) == 1 else None


@dataclass(slots=True)
class _Run:
    """The steps of all shards as one; of a shard that is run again, what it did before counts.

    held: the document of each file before the run.
    """

    n_files: int
    problems: Sequence[FileOutcome]
    outcomes: dict[Path, FileOutcome] = field(default_factory=dict)
    faults: dict[int, str] = field(default_factory=dict)
    held: Mapping[Path, str | None] = field(default_factory=dict)
    _now: dict[int, Progress] = field(default_factory=dict)
    _before: list[Progress] = field(default_factory=list)
    _again: set[int] = field(default_factory=set)
    _reports: list[Report] = field(default_factory=list)
    _shown: Progress = field(default_factory=lambda: Progress(0, 0, 0, 0))
    _started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.n_files += len(self.problems)
        self.outcomes.update({outcome.path: outcome for outcome in self.problems})

    def follow(self, steps: Iterable[tuple[int, Step]]) -> Iterator[Progress]:
        for number, step in steps:
            if isinstance(step, Progress):
                self._now[number] = step
                outcome = step.outcome and self._settle(number, step.outcome)
                yield self.progress(outcome)
            elif isinstance(step, Report):
                self._reports.append(step)
            elif isinstance(step, Fault):
                self.faults[number] = step.reason
            else:
                self._again.add(number)
                if number in self._now:
                    self._before.append(self._now.pop(number))

    def _settle(self, number: int, outcome: FileOutcome) -> FileOutcome:
        """What came of a file. What a run that broke off has added, the next one finds unchanged,
        and the first may not have come to tell of it."""
        path, before = outcome.path, self.held.get(outcome.path)
        if number in self._again and outcome.status == "unchanged":
            if path in self.outcomes:
                return self.outcomes[path]
            if before != outcome.document_id and outcome.moved_from is None:
                status: FileStatus = "replaced" if before else "added"
                outcome = dataclasses.replace(outcome, status=status)
        self.outcomes[path] = outcome
        return outcome

    def progress(self, outcome: FileOutcome | None = None) -> Progress:
        """All shards together; no count ever falls, though one that is run again begins anew."""
        now, last = list(self._now.values()), self._shown
        every = [*now, *self._before]
        done = sum(step.files_done for step in now) + len(self.problems) * bool(now)
        self._shown = Progress(
            max(last.files_done, done),
            self.n_files,
            max(last.pages_done, sum(step.pages_done for step in now)),
            sum(step.chunks_embedded for step in every),
            outcome,
            max(last.pages_read, sum(step.pages_read for step in every)),
            max(last.pages_done, sum(step.pages_total for step in now)),
        )
        return self._shown

    def raise_faults(self, n: int) -> None:
        if not self.faults:
            return
        number, reason = min(self.faults.items())
        more = f" (and {len(self.faults) - 1} more shards)" if len(self.faults) > 1 else ""
        raise ClusterError(
            f"shard {number} of {n}{more} could not be written: {reason}; all else is done and "
            "kept: see to it and run the same again"
        )

    def report(self, moved: set[Path]) -> Report:
        """moved: files that another shard held before."""
        files = [
            dataclasses.replace(outcome, status="replaced")
            if outcome.path in moved and outcome.status == "added"
            else outcome
            for _, outcome in sorted(self.outcomes.items())
        ]
        # Of what broke off, pages that were read but not embedded are read again.
        return Report(
            tuple(files),
            sum(r.pages_read for r in self._reports) + sum(p.pages_done for p in self._before),
            sum(r.chunks_embedded for r in self._reports)
            + sum(p.chunks_embedded for p in self._before),
            time.monotonic() - self._started,
        )
