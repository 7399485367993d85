"""Which files a walk finds, and what indexing does with each."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_documents import BEES, CATS, TAX, Index, WritePdf, snapshot, statuses

from ragformer import indexing
from ragformer.errors import (
    InputError,
)
from ragformer.indexing import find_files
from ragformer.library import Library
from ragformer.store.rows import KnownFile
from ragformer.store.store import Store


def test_a_walk_finds_each_pdf_once_and_survives_what_lies_about(
    write_pdf: WritePdf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {write_pdf("a.PDF", CATS), write_pdf("sub/deep/b.pdf", CATS)}
    docs = tmp_path / "docs"
    write_pdf(".hidden/c.pdf", CATS)
    (docs / ".d.pdf").write_bytes(b"hidden")
    (docs / "notes.txt").write_text("no")
    (docs / "folder.pdf").mkdir()
    os.mkfifo(docs / "pipe.pdf")
    (docs / "sub" / "loop").symlink_to(docs)
    (docs / "again").symlink_to(docs / "sub")
    (docs / "nowhere.pdf").symlink_to(tmp_path / "missing")
    linked = docs / "linked.pdf"
    linked.symlink_to(docs / "a.PDF")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(docs)
        server.bind("socket.pdf")
        found = find_files([docs, docs / "sub", docs / "a.PDF"])
        assert set(found.files) == wanted | {linked}
        assert found.problems == ()
        with pytest.raises(InputError, match="neither a file nor a folder"):
            find_files([docs / "pipe.pdf"])
    with pytest.raises(InputError, match="there is no file or folder"):
        find_files([tmp_path / "missing"])


def test_a_folder_that_cannot_be_opened_is_accounted_for(
    write_pdf: WritePdf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_pdf("fine/a.pdf", CATS)
    closed = tmp_path / "docs" / "closed"
    closed.mkdir()
    listed = Path.iterdir

    def iterdir(folder: Path) -> object:
        if folder == closed:  # as for a user without the right to read it; root has every right
            raise PermissionError(13, "Permission denied")
        return listed(folder)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    found = find_files([tmp_path / "docs"])
    assert found.files == (path,)
    (problem,) = found.problems
    assert (problem.path, problem.status) == (closed, "failed")
    assert problem.reason == "the folder cannot be opened: Permission denied"


def test_a_second_run_reads_and_embeds_nothing(
    library: Library, write_pdf: WritePdf, index: Index
) -> None:
    write_pdf("a.pdf", CATS, TAX)
    folder = write_pdf("sub/b.pdf", BEES).parents[1]
    (folder / "bad.pdf").write_bytes(b"\x89PNG\r\n")
    first = index(library, folder)
    assert statuses(first) == {"a.pdf": "added", "b.pdf": "added", "bad.pdf": "failed"}
    assert (first.pages_read, first.chunks_embedded) == (3, len(library.store.chunk_ids()))
    before, generation = snapshot(library), library.store.generation
    second = index(library, folder)
    assert statuses(second) == {"a.pdf": "unchanged", "b.pdf": "unchanged", "bad.pdf": "failed"}
    assert (second.pages_read, second.chunks_embedded) == (0, 0)
    assert (snapshot(library), library.store.generation) == (before, generation)


def test_touching_a_file_costs_a_hash_and_no_more(
    library: Library, write_pdf: WritePdf, index: Index
) -> None:
    path = write_pdf("a.pdf", CATS)
    index(library, path)
    os.utime(path, ns=(1, 1))
    report = index(library, path)
    assert (statuses(report), report.pages_read) == ({"a.pdf": "unchanged"}, 0)
    known = library.store.known_file(path)
    assert known is not None
    assert known.mtime_ns == 1


def test_the_same_bytes_twice_are_one_document(
    library: Library, write_pdf: WritePdf, index: Index
) -> None:
    path = write_pdf("a.pdf", CATS)
    twin = path.with_name("twin.pdf")
    shutil.copy(path, twin)
    report = index(library, path.parent)
    assert statuses(report) == {"a.pdf": "added", "twin.pdf": "added"}
    assert report.pages_read == 1
    (document,) = library.store.documents()
    assert document.paths == (path, twin)
    shutil.copy(path, path.with_name("later.pdf"))
    assert index(library, path.parent).pages_read == 0
    assert len(library.store.documents()) == 1


def test_a_changed_file_replaces_what_it_held(
    library: Library, write_pdf: WritePdf, index: Index
) -> None:
    path = write_pdf("a.pdf", CATS)
    index(library, path)
    (old,) = library.store.documents()
    write_pdf("a.pdf", TAX)
    report = index(library, path)
    assert statuses(report) == {"a.pdf": "replaced"}
    (new,) = library.store.documents()
    assert (new.id != old.id, report.files[0].document_id) == (True, new.id)
    assert [p.document.id for p in library.search("cat river hunts")] == [new.id]


def test_a_failed_file_is_tried_again_when_it_changes(
    library: Library,
    write_pdf: WritePdf,
    index: Index,
) -> None:
    path = write_pdf("a.pdf", CATS)
    whole = path.read_bytes()
    path.write_bytes(whole[:60])
    assert statuses(index(library, path)) == {"a.pdf": "failed"}
    assert [outcome.path for outcome in library.store.failures()] == [path]
    path.write_bytes(whole)
    assert statuses(index(library, path)) == {"a.pdf": "added"}
    assert library.store.failures() == []


def test_a_file_that_could_not_be_come_to_keeps_what_it_held(
    library: Library,
    write_pdf: WritePdf,
    monkeypatch: pytest.MonkeyPatch,
    index: Index,
) -> None:
    old, new = write_pdf("old.pdf", CATS), write_pdf("new.pdf", BEES)
    index(library, old)
    (document,) = library.store.documents()
    write_pdf("old.pdf", TAX)

    def closed(path: Path) -> str:
        raise PermissionError(13, "Permission denied")

    for name, value in {"_is_as_seen": lambda file: False, "_sha256": closed}.items():
        with monkeypatch.context() as patch:
            patch.setattr(indexing, name, value)
            report = index(library, old, new)
        assert statuses(report) == {"old.pdf": "failed", "new.pdf": "failed"}
        reasons = {outcome.path: outcome.reason for outcome in report.files}
        assert "indexed before is kept" in reasons[old]
        assert "kept" not in reasons[new]
        assert library.store.documents() == [document]
        assert [failure.path for failure in library.store.failures()] == [new]
    assert statuses(index(library, old, new)) == {"old.pdf": "replaced", "new.pdf": "added"}
    assert library.store.failures() == []


def test_when_the_first_of_two_copies_changes_the_other_is_read(
    library: Library,
    write_pdf: WritePdf,
    monkeypatch: pytest.MonkeyPatch,
    index: Index,
) -> None:
    first = write_pdf("a.pdf", CATS)
    for name in ("b.pdf", "c.pdf"):
        shutil.copy(first, first.with_name(name))
    as_seen = indexing._is_as_seen
    monkeypatch.setattr(indexing, "_is_as_seen", lambda file: file.path != first and as_seen(file))
    report = index(library, *sorted(first.parent.iterdir()))
    assert statuses(report) == {"a.pdf": "failed", "b.pdf": "added", "c.pdf": "added"}
    assert report.pages_read == 1
    assert library.store.documents()[0].paths == (
        first.with_name("b.pdf"),
        first.with_name("c.pdf"),
    )


def test_each_copy_that_is_no_pdf_is_refused_by_its_own_name(
    library: Library,
    write_pdf: WritePdf,
    index: Index,
) -> None:
    for name in ("a.pdf", "b.pdf"):
        folder = write_pdf(name, CATS).parent
        (folder / name).write_bytes(b"no")
    for outcome in index(library, folder).files:
        assert outcome.reason.startswith(outcome.path.name)
        assert "not a PDF" in outcome.reason


def test_a_document_removed_while_we_index_is_read_again(
    library: Library,
    write_pdf: WritePdf,
    monkeypatch: pytest.MonkeyPatch,
    index: Index,
) -> None:
    one, two = write_pdf("one.pdf", CATS), write_pdf("two.pdf", TAX)
    index(library, one, two)
    os.utime(two, ns=(1, 1))
    # Just after each of these looked, another process removes what the file held.
    moments: list[tuple[Any, str]] = [
        (Store, "known_file"),
        (KnownFile, "of"),
        (indexing, "_sha256"),
    ]
    for place, name in moments:
        look = getattr(place, name)

        def look_then_remove(*arguments: Any, look: Callable[..., Any] = look) -> Any:
            found = look(*arguments)
            with Store.open(library.folder) as other:
                other.query("DELETE FROM documents")
            return found

        with monkeypatch.context() as patch:
            patch.setattr(place, name, look_then_remove)
            report = index(library, one, two)
        assert set(statuses(report).values()) <= {"added", "unchanged"}
        assert statuses(index(library, one, two)).keys() == {"one.pdf", "two.pdf"}
        assert [document.path for document in library.store.documents()] == [one, two]
        assert library.store.check() == []
        os.utime(two, ns=(1, 1))


def test_a_password_opens_what_failed_without(
    library: Library, write_pdf: WritePdf, index: Index
) -> None:
    path = write_pdf("secret.pdf", CATS, password="tiger")
    assert "needs a password" in index(library, path).files[0].reason
    assert "does not open" in index(library, path, passwords=["lion"]).files[0].reason
    assert statuses(index(library, path, passwords=["lion", "tiger"])) == {"secret.pdf": "added"}
    assert statuses(index(library, path)) == {"secret.pdf": "unchanged"}


def test_prune_forgets_what_is_gone_below_the_paths_only(
    library: Library,
    write_pdf: WritePdf,
    index: Index,
) -> None:
    here, there = write_pdf("here/a.pdf", CATS), write_pdf("there/b.pdf", TAX)
    bad = here.with_name("bad.pdf")
    bad.write_bytes(b"no")
    index(library, here.parent, there.parent)
    for path in (here, there, bad):
        path.unlink()
    kept = write_pdf("here/c.pdf", BEES)
    assert statuses(index(library, here.parent)) == {"c.pdf": "added"}
    assert len(library.store.documents()) == 3
    pruned = index(library, here.parent, prune=True)
    assert statuses(pruned) == {"a.pdf": "removed", "bad.pdf": "removed", "c.pdf": "unchanged"}
    assert [d.path for d in library.store.documents()] == [kept, there]
    assert library.store.failures() == []
