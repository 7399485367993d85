"""A folder that is followed: what happens in it happens to the collection."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from small_documents import BEES, CATS, TAX, WritePdf
from watchfiles import Change

from ragformer import watch as watching
from ragformer.errors import InputError, StoreBusyError
from ragformer.library import Library
from ragformer.store.store import Store
from ragformer.types import FileOutcome, Progress, Report
from ragformer.walk import IGNORE_FILE
from ragformer.watch import watch

Steps = Iterator[Progress | Report | FileOutcome]


@pytest.fixture
def stop(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """What ends a watch; looks come quickly."""
    monkeypatch.setattr(watching, "QUIET_MS", 60)
    monkeypatch.setattr(watching, "TICK_MS", 60)
    return threading.Event()


def first_report(steps: Steps) -> Report:
    return next(step for step in steps if isinstance(step, Report))


def next_change(steps: Steps, root: Path) -> tuple[str, str]:
    """(status, path) of the next outcome; "moved" for one that was."""
    outcome = next(steps)
    assert isinstance(outcome, FileOutcome)
    status = "moved" if outcome.moved_from else outcome.status
    return status, outcome.path.relative_to(root).as_posix()


def test_every_change_of_a_file_is_followed_once(
    library: Library, write_pdf: WritePdf, stop: threading.Event
) -> None:
    path = write_pdf("a.pdf", CATS)
    docs = path.parent
    bad = docs / "bad.pdf"
    bad.write_bytes(b"no PDF")
    steps = watch(library, [docs], workers=1, stop=stop)
    assert [o.status for o in first_report(steps).files] == ["added", "failed"]

    def happens(act: Callable[[], object]) -> tuple[str, str]:
        act()
        return next_change(steps, docs)

    aside = docs.parent / "aside"
    assert happens(lambda: write_pdf("b.pdf", TAX)) == ("added", "b.pdf")
    assert happens(lambda: write_pdf("a.pdf", BEES)) == ("replaced", "a.pdf")
    assert happens(lambda: path.rename(docs / "c.pdf")) == ("moved", "c.pdf")
    bad.write_bytes(b"still no PDF, which is no news")
    assert happens(lambda: write_pdf("sub/d.pdf", CATS)) == ("added", "sub/d.pdf")
    assert happens(lambda: write_pdf("bad.pdf", TAX, BEES)) == ("added", "bad.pdf")
    assert happens(bad.unlink) == ("removed", "bad.pdf")
    assert happens(lambda: (docs / "sub").rename(aside)) == ("removed", "sub/d.pdf")
    assert happens(lambda: (docs / "link").symlink_to(aside)) == ("added", "link/d.pdf")
    assert happens(lambda: (aside / "d.pdf").unlink()) == ("removed", "link/d.pdf")
    assert happens(lambda: (docs / IGNORE_FILE).write_text("b.pdf\n")) == ("removed", "b.pdf")
    stop.set()
    assert list(steps) == []
    assert [d.path.name for d in library.store.documents()] == ["c.pdf"]
    assert library.store.check() == []


def test_what_was_gone_before_stays_unless_pruned(
    library: Library, write_pdf: WritePdf, stop: threading.Event
) -> None:
    gone, kept = write_pdf("gone.pdf", CATS), write_pdf("kept.pdf", TAX)
    list(library.index([gone, kept]))
    gone.unlink()
    steps = watch(library, [kept.parent], stop=stop)
    assert [o.status for o in first_report(steps).files] == ["unchanged"]
    write_pdf("new.pdf", BEES)
    assert next_change(steps, kept.parent) == ("added", "new.pdf")
    steps.close()  # type: ignore[attr-defined]
    assert len(library.store.documents()) == 3
    report = first_report(watch(library, [kept.parent], prune=True, stop=stop))
    assert [o.status for o in report.files] == ["removed", "unchanged", "unchanged"]


def test_changes_wait_while_another_process_indexes(
    library: Library, write_pdf: WritePdf, stop: threading.Event
) -> None:
    docs = write_pdf("a.pdf", CATS).parent
    with Store.open(library.folder, create=True) as other:
        with other.indexing(), pytest.raises(StoreBusyError):
            first_report(watch(library, [docs], stop=stop))
        steps = watch(library, [docs], stop=stop)
        first_report(steps)
        held = other.indexing()
        held.__enter__()
        later = threading.Timer(0.5, held.__exit__, (None, None, None))
        write_pdf("b.pdf", TAX)
        later.start()
        assert next_change(steps, docs) == ("added", "b.pdf")
        later.join()


def test_only_folders_that_are_there_can_be_followed(
    library: Library, write_pdf: WritePdf, tmp_path: Path, stop: threading.Event
) -> None:
    path = write_pdf("docs/a.pdf", CATS)
    with pytest.raises(InputError, match="watch the folder it lies in"):
        next(watch(library, [path], stop=stop))
    with pytest.raises(InputError, match="there is no file or folder"):
        next(watch(library, [tmp_path / "missing"], stop=stop))
    steps = watch(library, [path.parent], stop=stop)
    first_report(steps)
    path.parent.rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="there is no file or folder"):
        next(steps)
    assert len(library.store.documents()) == 1  # a disk that was taken out loses nothing


@pytest.mark.parametrize(
    ("change", "name", "wanted"),
    [
        (Change.added, "a.PDF", True),
        (Change.modified, "sub/a.pdf", True),
        (Change.modified, "sub/a.txt", False),
        (Change.added, "sub", True),
        (Change.modified, "sub", False),
        (Change.deleted, "any thing", True),
        (Change.modified, f"sub/{IGNORE_FILE}", True),
        (Change.added, ".git/a.pdf", False),
        (Change.deleted, ".git/index.lock", False),
        (Change.deleted, "home/collections/default/store.db-wal", False),
    ],
)
def test_which_changes_are_worth_a_look(
    tmp_path: Path, change: Change, name: str, wanted: bool
) -> None:
    root = tmp_path / ".cache" / "docs"  # that the folder itself is hidden changes nothing
    (root / "sub").mkdir(parents=True)
    matters = watching._matters([root], root / "home")
    assert matters(change, str(root / name)) is wanted
