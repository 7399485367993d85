"""What indexing does with each file that a walk found."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_documents import BEES, CATS, TAX, Index, WritePdf, snapshot, statuses

from ragformer import indexing
from ragformer.library import Library
from ragformer.store.rows import KnownFile
from ragformer.store.store import Store


def test_a_second_run_reads_and_embeds_nothing(
    library: Library, write_pdf: WritePdf, index: Index
) -> None:
    write_pdf("a.pdf", CATS, TAX)
    folder = write_pdf("sub/b.pdf", BEES).parents[1]
    (folder / "bad.pdf").write_bytes(b"\x89PNG\r\n")
    for path in folder.rglob("*.pdf"):
        os.utime(path, (0, 0))
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


def test_an_edit_within_one_tick_of_the_clock_is_seen(
    library: Library, write_pdf: WritePdf, index: Index
) -> None:
    path = write_pdf("a.pdf", CATS)
    stat = path.stat()
    index(library, path)
    edited = path.read_bytes().replace(b"/Title (a)", b"/Title (b)")
    assert len(edited) == stat.st_size
    path.write_bytes(edited)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert statuses(index(library, path)) == {"a.pdf": "replaced"}


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

    for name, value in {"_is_as_seen": lambda file: False, "file_hash": closed}.items():
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
        (indexing, "file_hash"),
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


@pytest.mark.parametrize("to", ["docs/b.pdf", "docs/sub/a.pdf", "elsewhere/c.pdf"])
def test_a_moved_or_renamed_file_is_known_again(
    library: Library, write_pdf: WritePdf, tmp_path: Path, index: Index, to: str
) -> None:
    old = write_pdf("a.pdf", CATS)
    other = write_pdf("other.pdf", TAX)
    index(library, old, other)
    before = library.store.find(library.document("a.pdf").id)
    assert before is not None
    new = tmp_path / to
    new.parent.mkdir(exist_ok=True)
    old.rename(new)
    report = index(library, new.parent)
    moved = {outcome.path: outcome for outcome in report.files}[new]
    assert (moved.status, moved.moved_from) == ("unchanged", old)
    assert (report.pages_read, report.chunks_embedded) == (0, 0)
    after = library.document(str(new))
    assert after == dataclasses.replace(before, paths=(new,))
    assert library.store.known_file(old) is None
    again = index(library, new.parent, prune=True)
    assert {outcome.moved_from for outcome in again.files} == {None}
    assert set(statuses(again).values()) == {"unchanged"}


def test_moving_one_of_two_copies_leaves_the_other_where_it_is(
    library: Library, write_pdf: WritePdf, index: Index
) -> None:
    one = write_pdf("one.pdf", CATS)
    two, three = one.with_name("two.pdf"), one.with_name("sub") / "two.pdf"
    shutil.copy(one, two)
    index(library, one.parent)
    three.parent.mkdir()
    two.rename(three)
    report = index(library, one.parent)
    assert {o.path: o.moved_from for o in report.files} == {one: None, three: two}
    (document,) = library.store.documents()
    assert document.paths == (one, three)


def test_a_file_moved_over_another_replaces_it(
    library: Library, write_pdf: WritePdf, index: Index
) -> None:
    cats, tax = write_pdf("cats.pdf", CATS), write_pdf("tax.pdf", TAX)
    index(library, cats.parent)
    cats.rename(tax)
    (outcome,) = index(library, cats.parent).files
    assert (outcome.path, outcome.status, outcome.moved_from) == (tax, "replaced", cats)
    (document,) = library.store.documents()
    assert document.paths == (tax,)
    assert library.store.check() == []


def test_prune_forgets_what_is_ignored_by_now_and_nothing_it_could_not_look_at(
    library: Library,
    write_pdf: WritePdf,
    monkeypatch: pytest.MonkeyPatch,
    index: Index,
) -> None:
    kept, draft = write_pdf("kept.pdf", CATS), write_pdf("drafts/a.pdf", TAX)
    locked = write_pdf("locked/b.pdf", BEES)
    docs = kept.parent
    index(library, docs)
    (docs / ".ragformerignore").write_text("drafts/\n")
    stat = Path.stat

    def refused(path: Path, **how: Any) -> Any:
        follows = how.get("follow_symlinks", True)
        if follows and path.is_relative_to(locked.parent):  # as for one who may not enter it
            raise PermissionError(13, "Permission denied")
        return stat(path, **how)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", refused)
        report = index(library, docs, prune=True)
    assert statuses(report) == {"a.pdf": "removed", "kept.pdf": "unchanged", "locked": "failed"}
    assert [d.path for d in library.store.documents()] == [kept, locked]
    (docs / ".ragformerignore").write_bytes(b"!\n")  # no pattern
    report = index(library, docs, prune=True)
    assert statuses(report) == {"docs": "failed"}
    assert f"{docs / '.ragformerignore'} has a line that is no pattern" in report.files[0].reason
    assert [d.path for d in library.store.documents()] == [kept, locked]
    assert index(library, draft).files[0].status == "added"  # a file that is named is meant


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
