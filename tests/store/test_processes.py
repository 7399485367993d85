"""What must hold between processes: readers never wait, one indexer, nothing half written."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ragformer.errors import StoreBusyError, StoreError, StoreReadOnlyError
from ragformer.store.files import DATABASE
from ragformer.store.migrations import MIGRATIONS
from ragformer.store.rows import KnownFile
from ragformer.store.store import Store

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such file modes")

HEADER = """
import os, sys
from pathlib import Path
import numpy as np
from ragformer.errors import StoreError, StoreReadOnlyError
from ragformer.store.store import Store
from ragformer.types import Chunk, Document, Page, Span
from datetime import datetime, UTC
folder = Path(sys.argv[1])
"""

LIST = HEADER + "print([d.title for d in Store.open(folder).documents()])"

HOLD_LOCK = HEADER + 'with Store.open(folder).indexing(): print("held", flush=True); input()'

# Documents of 60 pages, one after the other, until killed.
ADD_FOREVER = (
    HEADER
    + """
store = Store.open(folder)
texts = [f"page {n} " + "some words to index " * 50 for n in range(60)]
pages = [Page(n, str(n), text) for n, text in enumerate(texts, start=1)]
chunks = [Chunk(n, (), text, (Span(n + 1, 0, len(text)),), 9) for n, text in enumerate(texts)]
for number in range(10_000):
    key = f"{os.getpid()}-{number}"
    document = Document(key, key, (Path("/docs") / key,), 60, datetime.now(UTC))
    store.add_document(document, pages, chunks, np.ones((60, 384), np.float32), "e")
    print(number, flush=True)
"""
)

AS_ORDINARY_USER = (
    HEADER
    + """
if os.geteuid() == 0:
    os.setegid(65534)
    os.seteuid(65534)
try:
    with Store.open(folder) as store:
        print([d.title for d in store.documents()], store.readonly, store.check())
        try:
            store.remove_document(store.documents()[0].id)
        except StoreReadOnlyError as error:
            print("refused")
except StoreError as error:
    print(error)
"""
)


def run(script: str, folder: Path) -> str:
    command = [sys.executable, "-c", script, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def start(script: str, folder: Path) -> subprocess.Popen[str]:
    """Start the script and wait for its first line."""
    command = [sys.executable, "-c", script, str(folder)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline()
    return child


def kill(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.communicate(timeout=60)


def test_another_process_reads_while_this_one_writes(store, make_document):
    make_document("first.pdf", ["Some text."]).add_to(store)
    store.connection.execute("BEGIN IMMEDIATE")
    store.connection.execute("UPDATE documents SET title = 'changed'")
    assert run(LIST, store.folder) == "['first.pdf']"
    store.connection.execute("COMMIT")
    assert run(LIST, store.folder) == "['changed']"


def test_threads_share_a_store(store, make_document):
    made = [make_document(f"{n}.pdf", [f"text {n}"] * 20) for n in range(20)]

    def read() -> None:  # pytest turns what a thread raises into a failure
        while any(thread.is_alive() for thread in writers):
            for document in store.documents():
                assert len(document.paths) == 1
                assert len(store.chunks(document.id)) == 20

    writers = [
        threading.Thread(target=lambda part=part: [one.add_to(store) for one in part])
        for part in (made[::2], made[1::2])
    ]
    readers = [threading.Thread(target=read) for _ in range(2)]
    for thread in writers + readers:
        thread.start()
    for thread in writers + readers:
        thread.join(timeout=60)
    assert len(store.documents()) == 20
    assert store.check() == []


def test_a_second_indexer_is_told_who_is_first(store, make_document):
    make_document("a.pdf", ["text"]).add_to(store)
    child = start(HOLD_LOCK, store.folder)
    try:
        with pytest.raises(StoreBusyError, match=f"process {child.pid} "), store.indexing():
            pytest.fail("two indexers at once")
        assert len(store.documents()) == 1
    finally:
        kill(child)
    with store.indexing():
        pass  # a killed indexer leaves no lock behind


def test_the_lock_holds_within_one_process_too(store):
    with store.indexing(), pytest.raises(StoreBusyError), store.indexing():
        pytest.fail("two indexers at once")


@pytest.mark.parametrize("delay", [0.0, 0.005, 0.02, 0.05, 0.11])
def test_a_killed_writer_leaves_documents_whole_or_absent(store, delay):
    child = start(ADD_FOREVER, store.folder)
    time.sleep(delay)
    kill(child)
    with Store.open(store.folder) as again:
        assert again.check() == []
        assert again.documents()
        assert {len(again.chunks(d.id)) for d in again.documents()} == {60}


def test_processes_that_create_at_once_agree(tmp_path):
    script = HEADER + "Store.open(folder, create=True).close(); print('made')"
    command = [sys.executable, "-c", script, str(tmp_path / "new")]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [child.communicate(timeout=60)[0].strip() for child in children] == ["made"] * 3
    with Store.open(tmp_path / "new") as store:
        assert store.check() == []


@posix
def test_folder_and_files_are_the_users_alone(store, make_document):
    make_document("a.pdf", ["text"]).add_to(store)
    with store.indexing():
        modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in store.folder.iterdir()}
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
    assert set(modes) >= {DATABASE, f"{DATABASE}-wal", "indexer.lock"}
    assert set(modes.values()) == {0o600}


@pytest.fixture
def owned() -> Iterator[Path]:
    """A folder below one that everybody may enter (pytest's own is closed to other users)."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name) / "collection"


def make_read_only(folder: Path) -> None:
    """Give it to the user that the child process becomes, without the right to write."""
    for path in (*folder.iterdir(), folder):
        if os.geteuid() == 0:
            os.chown(path, 65534, 65534)
        path.chmod(0o500 if path.is_dir() else 0o400)


def make_writable(folder: Path) -> None:
    folder.chmod(0o700)


@posix
def test_a_read_only_folder_can_be_asked_but_not_changed(owned, make_document):
    with Store.open(owned, create=True) as store:
        make_document("a.pdf", ["text"]).add_to(store)
    make_read_only(owned)
    assert run(AS_ORDINARY_USER, owned) == "['a.pdf'] True []\nrefused"
    assert {path.name for path in owned.iterdir()} == {DATABASE}
    make_writable(owned)


@posix
def test_a_read_only_folder_shows_what_a_killed_or_running_writer_committed(owned, make_document):
    store = Store.open(owned, create=True)
    make_document("a.pdf", ["text"]).add_to(store)
    assert (owned / f"{DATABASE}-wal").stat().st_size > 0
    make_read_only(owned)
    assert run(AS_ORDINARY_USER, owned) == "['a.pdf'] True []\nrefused"
    make_writable(owned)
    store.close()


@posix
def test_another_users_folder_is_refused_in_words(owned, make_document):
    if os.geteuid() != 0:
        pytest.skip("only root can make a folder that belongs to another user")
    with Store.open(owned, create=True) as store:
        make_document("a.pdf", ["text"]).add_to(store)
    assert "check who owns it" in run(AS_ORDINARY_USER, owned)


@posix
def test_a_log_that_cannot_be_applied_is_an_error_not_an_old_answer(owned, make_document):
    store = Store.open(owned, create=True)
    make_document("a.pdf", ["text"]).add_to(store)
    (owned / f"{DATABASE}-shm").unlink()
    make_read_only(owned)
    assert "was not closed cleanly" in run(AS_ORDINARY_USER, owned)
    make_writable(owned)
    store.close()


def test_reading_only_is_a_choice(store, make_document):
    document = make_document("a.pdf", ["text"]).add_to(store)
    with Store.open(store.folder, readonly=True) as reader:
        assert reader.documents() == [document]
        for write in (
            lambda: reader.remove_document(document.id),
            lambda: reader.record_failure(KnownFile(Path("/x"), 1, 2, None, "why")),
            reader.checkpoint,
            reader.indexing,
        ):
            with pytest.raises(StoreReadOnlyError):
                write()


def test_a_held_write_lock_is_busy_not_broken(store):
    with Store.open(store.folder) as other:
        other.connection.execute("BEGIN IMMEDIATE")
        store.connection.execute("PRAGMA busy_timeout = 10")
        with pytest.raises(StoreBusyError, match="another process"):
            store.checkpoint()
        other.connection.execute("ROLLBACK")
    assert store.checkpoint()


def test_a_damaged_file_is_named_with_the_way_out(tmp_path, make_document):
    with Store.open(tmp_path, create=True) as store:
        document = make_document("a.pdf", ["text"] * 50).add_to(store)
        (root,) = store.query("SELECT rootpage FROM sqlite_schema WHERE name = 'pages'")[0]
        (size,) = store.query("PRAGMA page_size")[0]
    database = tmp_path / DATABASE
    with database.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\x5a" * size)
    with Store.open(tmp_path) as store:
        assert any("damaged" in fault for fault in store.check())
        with pytest.raises(StoreError, match="move that folder away and index the files again"):
            store.page(document.id, 1)
    database.write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError, match="move that folder away and index the files again"):
        Store.open(tmp_path)


def test_a_newer_collection_is_refused_with_both_versions(store):
    store.connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    for readonly in (False, True):
        with pytest.raises(StoreError, match=f"format {len(MIGRATIONS) + 1}"):
            Store.open(store.folder, readonly=readonly)


def test_a_collection_that_was_cut_off_while_it_was_made_is_no_old_format(tmp_path):
    (tmp_path / DATABASE).touch()
    with pytest.raises(
        StoreError, match="was cut off and cannot go on now; see that there is space"
    ):
        Store.open(tmp_path, readonly=True)
    with Store.open(tmp_path) as store:
        assert store.check() == []


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "file").write_text("here first")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StoreReadOnlyError, match="RAGFORMER_HOME"):
            Store.open(folder, create=True)
