"""Power cuts and readers beside a writer: nobody ever sees a part of a document."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_documents import make

from ragformer.store.files import DATABASE
from ragformer.store.store import Store

READERS = 8
# The file /docs/a.pdf edited again and again: each time another document takes its place.
EDIT = """
import sys
from pathlib import Path
from made_documents import make
from ragformer.store.store import Store
with Store.open(Path(sys.argv[1])) as store:
    for number in range(40):
        with store.indexing():
            make("a.pdf", [f"Edition {number}, page {n}." for n in range(30)]).add_to(store)
            if number % 10 == 9:
                store.checkpoint()
"""


def test_eight_readers_beside_a_writer_see_one_whole_document_each_time(store: Store) -> None:
    make("a.pdf", [f"First edition, page {n}." for n in range(30)]).add_to(store)
    writer = subprocess.Popen(
        [sys.executable, "-c", EDIT, str(store.folder)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )
    looks = [0] * READERS
    editions = [set[str]() for _ in range(READERS)]

    def read(reader: int) -> None:  # pytest turns what a thread raises into a failure
        with Store.open(store.folder) as own:
            while writer.poll() is None or not looks[reader]:
                look(own, editions[reader])
                looks[reader] += 1

    threads = [threading.Thread(target=read, args=(reader,)) for reader in range(READERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert writer.wait() == 0
    assert min(looks) > 0
    assert len(set().union(*editions)) > 1
    assert store.check() == []


def look(store: Store, editions: set[str]) -> None:
    """What a reader may see at any moment: one document with thirty of everything."""
    counts = ", ".join(f"(SELECT count(*) FROM {t})" for t in ("pages", "chunks", "vectors"))
    assert store.query(f"SELECT (SELECT count(*) FROM documents), {counts}") == [(1, 30, 30, 30)]
    (document,) = store.documents()
    assert (document.n_pages, document.status_counts) == (30, {"text": 30})
    assert len(store.chunks(document.id)) in {30, 0}  # none if it was replaced meanwhile
    ids, vectors_ND = store.vectors("test-encoder")
    assert vectors_ND.shape == (30, 4)
    passages = store.passages([(key, 0.0) for key in ids.tolist()])
    assert len(passages) in {30, 0}
    assert len({passage.document.id for passage in passages}) <= 1
    editions.add(document.id)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collection of five documents, the later ones in its log alone."""
    folder, copy = tmp_path_factory.mktemp("log"), tmp_path_factory.mktemp("copy")
    with Store.open(folder, create=True) as store:
        for number in range(5):
            make(f"{number}.pdf", [f"Page {n} of {number}." for n in range(3)]).add_to(store)
        for name in (DATABASE, f"{DATABASE}-wal"):
            shutil.copy(folder / name, copy / name)
    return copy


@given(st.floats(0, 1), st.sampled_from([b"", b"\0" * 5000, b"\xa5" * 5000]))
def test_a_log_torn_by_a_power_cut_loses_only_the_last_transactions(
    tmp_path_factory: pytest.TempPathFactory, log: Path, share: float, rest: bytes
) -> None:
    folder = tmp_path_factory.mktemp("torn")
    shutil.copy(log / DATABASE, folder / DATABASE)
    whole = (log / f"{DATABASE}-wal").read_bytes()
    (folder / f"{DATABASE}-wal").write_bytes(whole[: int(share * len(whole))] + rest)
    with Store.open(folder, create=True) as store:
        titles = [document.title for document in store.documents()]
        assert titles == [f"{number}.pdf" for number in range(len(titles))]
        assert store.check() == []
        make("later.pdf", ["It goes on."]).add_to(store)
        assert store.check() == []


@pytest.mark.skipif(os.name != "posix", reason="Windows has no call for it")
def test_a_new_collection_and_each_commit_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = set()
    sync = os.fsync

    def note(handle: int) -> None:
        synced.add(os.fstat(handle).st_ino)
        sync(handle)

    monkeypatch.setattr(os, "fsync", note)
    folder = tmp_path / "home" / "collections" / "default"
    with Store.open(folder, create=True) as store, Store.open(folder) as again:
        names = {place.stat().st_ino for place in (folder, *folder.parents[:3])}
        assert names <= synced
        for opened in (store, again):
            assert opened.query("PRAGMA journal_mode") == [("wal",)]
            assert opened.query("PRAGMA synchronous") == [(2,)]  # FULL: COMMIT waits for the log
