"""Follow folders: index them, then again after every change below them.

    changes -> walk -> index -> an outcome for each file that is new, other, moved, bad or gone

A change only says that it is time to look; what there is to do the walk and the index find out.
So nothing is lost where a system tells of too few changes, or of none while a folder was moved.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from watchfiles import Change
from watchfiles import watch as system_changes

from ragformer.errors import InputError, StoreBusyError
from ragformer.indexing import Options
from ragformer.library import Library
from ragformer.pdf.ocr import find_tesseract
from ragformer.types import FileOutcome, Progress, Report
from ragformer.walk import IGNORE_FILE, Found, find_files

QUIET_MS = 500  # no further change for so long: a file that is being written is most likely whole
LONGEST_MS = 5000  # changes that do not end are looked at even so
TICK_MS = 500  # between two looks at `stop`, or at a store that was busy


def watch(
    library: Library,
    paths: Iterable[Path | str],
    *,
    prune: bool = False,
    workers: int = 0,
    passwords: Sequence[str] = (),
    ocr: str | None = None,
    stop: threading.Event | None = None,
) -> Iterator[Progress | Report | FileOutcome]:
    """Index folders, then follow them until `stop` is set.

    Yields what `Library.index` yields, up to its Report; from then on a FileOutcome for each
    change. A file that goes or is ignored while we watch is forgotten; one that was gone before
    only if `prune`. While another process indexes, changes wait. ocr: as for `Library.index`.
    Raises InputError for a path that is no folder or is one no longer.
    """
    stop = stop or threading.Event()
    tesseract = None if ocr is None else find_tesseract(ocr)
    roots = tuple(Path(path) for path in paths)
    found, known = _find(roots), _Known()
    while not stop.is_set():
        places = (*found.roots, *found.folders)
        waiting = True  # for the first look, which comes once the system tells of changes
        for changed in _changes(places, library.settings.home, stop):
            if not (changed or waiting):
                continue
            before, found = found, _find(roots)
            gone = tuple(set(before.files) - set(found.files))
            options = Options(
                prune, workers=workers, passwords=passwords, gone=gone, tesseract=tesseract
            )
            try:
                yield from known.news(library.index_found(found, options))
                waiting = False
            except StoreBusyError:
                if not known.started:
                    raise
                found, waiting = before, True
            if (*found.roots, *found.folders) != places:
                break  # a link to a folder came or went: watch that too


def _find(roots: Sequence[Path]) -> Found:
    for root in roots:
        if root.exists() and not root.is_dir():
            raise InputError(f"{root} is no folder; watch the folder it lies in")
    return find_files(roots)


class _Known:
    """What was said so far: each run names every file, those that failed before included."""

    def __init__(self) -> None:
        self.started = False
        self._reasons: dict[Path, str] = {}

    def news(self, steps: Iterator[Progress | Report]) -> Iterator[Progress | Report | FileOutcome]:
        """The steps of the first run as they are; of another, the outcomes that are new."""
        for step in steps:
            if isinstance(step, Report):
                if not self.started:
                    yield step
                self.started = True
                self._reasons = {o.path: o.reason for o in step.files if o.status == "failed"}
            elif not self.started:
                yield step
            elif step.outcome is not None and self._is_new(step.outcome):
                yield step.outcome

    def _is_new(self, outcome: FileOutcome) -> bool:
        if outcome.status == "failed":
            return self._reasons.get(outcome.path) != outcome.reason
        return outcome.status != "unchanged" or outcome.moved_from is not None


def _changes(places: Sequence[Path], home: Path, stop: threading.Event) -> Iterator[bool]:
    """Whether there was a change that matters, at every tick; from before the first one on,
    whatever happens is told of."""
    ticks = system_changes(
        *places,
        watch_filter=_matters(places, home),
        debounce=LONGEST_MS,
        step=QUIET_MS,
        stop_event=stop,
        rust_timeout=TICK_MS,
        yield_on_timeout=True,
        raise_interrupt=True,
    )
    return (bool(changes) for changes in ticks)


def _matters(places: Sequence[Path], home: Path) -> Callable[[Change, str], bool]:
    """Whether a change may concern us. What we write ourselves in `home` does not: looking would
    write again. Of what was deleted nobody can say whether it was a folder."""

    def matters(change: Change, name: str) -> bool:
        path = Path(name)
        if path.name == IGNORE_FILE:
            return True
        below = next((path.relative_to(p) for p in places if path.is_relative_to(p)), path)
        if path.is_relative_to(home) or any(part.startswith(".") for part in below.parts):
            return False
        if path.suffix.lower() == ".pdf" or change is Change.deleted:
            return True
        return change is Change.added and path.is_dir()

    return matters
