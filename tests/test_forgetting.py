"""What a collection no longer holds leaves no trace, however it went."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from small_documents import CATS, TAX, Index, WritePdf, statuses

from ragformer.forms import hit_forms
from ragformer.library import Library
from ragformer.store import keep_vectors
from ragformer.store.rows import KnownFile
from ragformer.store.store import Store
from ragformer.store.uploads import UPLOADS
from ragformer.store.vector_file import VECTOR_FILE, load
from ragformer.types import Answer


def test_nothing_of_a_removed_document_is_left_in_the_home(
    library: Library,
    write_pdf: WritePdf,
    home: Path,
    index: Index,
) -> None:
    cats, tax = write_pdf("cats.pdf", CATS), write_pdf("tax.pdf", TAX)
    index(library, cats, tax)
    (document,) = library.store.documents([str(cats)])
    library.remove(document.id)
    library.close()
    left = b"".join(file.read_bytes() for file in home.rglob("*") if file.is_file())
    assert b"eighteen" not in left
    assert b"October" in left
    assert cats.exists()


def test_what_is_removed_after_it_was_found_is_no_hit(
    library: Library, write_pdf: WritePdf, index: Index
) -> None:
    index(library, write_pdf("cats.pdf", CATS), write_pdf("tax.pdf", TAX))
    first, second = library.search("How long does the cat sleep?")
    library.remove(first.document.id)
    [hit] = hit_forms(library.store, [first, second])
    assert (hit["rank"], hit["document_id"]) == (2, second.document.id)


def test_a_copy_that_came_through_the_browser_goes_with_its_document(
    library: Library, write_pdf: WritePdf, index: Index
) -> None:
    theirs = write_pdf("cats.pdf", CATS)
    uploads = library.folder / UPLOADS
    uploads.mkdir(parents=True)
    ours, spoiled = uploads / "cats.pdf", uploads / "spoiled.pdf"
    shutil.copy(theirs, ours)
    spoiled.write_bytes(b"no PDF")
    index(library, theirs, uploads)
    (document,) = library.store.documents()
    library.remove(document.id)
    assert (theirs.exists(), ours.exists(), spoiled.exists()) == (True, False, True)
    library.forget_failure(spoiled)
    assert not spoiled.exists()


def left_of(home: Path, trace: bytes) -> list[Path]:
    return [file for file in home.rglob("*") if file.is_file() and trace in file.read_bytes()]


def replace(library: Library, path: Path, index: Index) -> None:
    shutil.copy(path.with_name("tax.pdf"), path)
    assert statuses(index(library, path)) == {path.name: "replaced"}


def spoil(library: Library, path: Path, index: Index) -> None:
    path.write_bytes(b"no longer a PDF")
    assert statuses(index(library, path)) == {path.name: "failed"}


def spoil_unseen(library: Library, path: Path, _: Index) -> None:
    """As when the run that found it spoiled was killed before its end."""
    library.store.record_failure(KnownFile(path, 1, 2, reason="no longer a PDF"))
    library.forget_failure(path)


def damage(library: Library, path: Path, _: Index) -> None:
    (document,) = library.store.documents([str(path)])
    library.store.query("DELETE FROM pages WHERE document_id = ?", document.id)
    assert any("removed" in line for line in library.repair())


def prune(library: Library, path: Path, index: Index) -> None:
    path.unlink()
    index(library, path.parent, prune=True)


@pytest.mark.parametrize("lose", [replace, spoil, spoil_unseen, damage, prune])
def test_what_is_no_longer_held_leaves_no_trace_in_words_or_chats(
    library: Library,
    write_pdf: WritePdf,
    home: Path,
    lose: Callable[..., None],
    index: Index,
) -> None:
    cats, tax = write_pdf("cats.pdf", CATS), write_pdf("tax.pdf", TAX)
    index(library, cats, tax)
    for name, said in {"cats.pdf": "eighteen hours", "tax.pdf": "on 31 October"}.items():
        passages = tuple(library.search(said, within=[name]))
        answer = Answer("How?", said, (), passages, 0.9, False, None, "local", "m")
        library.chats.add(answer)
    assert len(left_of(home, b"eighteen")) > 1
    # Another process holds the collection open, so that closing ours does not clean up for us.
    with Store.open(library.folder):
        lose(library, cats, index)
        assert left_of(home, b"eighteen") == []
    assert library.chats.turns(1) == []
    assert [turn.answer for turn in library.chats.turns(2)] == ["on 31 October"]
    assert library.store.check() == []


@pytest.mark.parametrize("lose", [replace, spoil, spoil_unseen, damage, prune])
def test_what_is_no_longer_held_is_not_in_the_file_of_vectors(
    library: Library,
    write_pdf: WritePdf,
    lose: Callable[..., None],
    index: Index,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keep_vectors, "FLAT_VALUES", 0)
    cats, tax = write_pdf("cats.pdf", CATS), write_pdf("tax.pdf", TAX)
    index(library, cats, tax)
    before = codes_of(library)
    (document,) = library.store.documents([str(cats)])
    gone = set(library.store.chunk_ids([document.id]).tolist())
    assert gone < before.keys() == set(library.store.chunk_ids().tolist())
    lose(library, cats, index)
    assert codes_of(library).keys() == before.keys() - gone
    left = (library.folder / VECTOR_FILE).read_bytes()
    assert not any(before[key] in left for key in gone)
    assert library.store.check() == []


def codes_of(library: Library) -> dict[int, bytes]:
    """By chunk id, in order, what the file of vectors keeps of its vector."""
    found = load(library.folder)
    assert found is not None
    lists, view = found[1], keep_vectors.faiss_module().rev_swig_ptr
    codes = {}
    for i in range(lists.nlist):
        n, size = lists.invlists.list_size(i), lists.code_size
        if n:
            packed = view(lists.invlists.get_codes(i), n * size).tobytes()
            ids = view(lists.invlists.get_ids(i), n).tolist()
            codes |= {key: packed[j * size : (j + 1) * size] for j, key in enumerate(ids)}
    return dict(sorted(codes.items()))


def test_a_removal_that_was_cut_off_is_finished_by_the_next_run(
    library: Library,
    write_pdf: WritePdf,
    home: Path,
    index: Index,
) -> None:
    cats, tax = write_pdf("cats.pdf", CATS), write_pdf("tax.pdf", TAX)
    index(library, cats, tax)
    (document,) = library.store.documents([str(cats)])
    library.store.remove_document(document.id)
    library.close()
    assert left_of(home, b"eighteen") != []
    assert statuses(index(library, tax)) == {"tax.pdf": "unchanged"}
    assert left_of(home, b"eighteen") == []


def test_repair_makes_good_what_the_stored_text_allows(
    library: Library,
    write_pdf: WritePdf,
    index: Index,
) -> None:
    whole, broken = write_pdf("whole.pdf", CATS), write_pdf("broken.pdf", TAX)
    index(library, whole, broken)
    (document,) = library.store.documents([str(broken)])
    library.store.query("UPDATE chunks SET text = 'x' WHERE document_id = ?", document.id)
    library.store.query("DELETE FROM vectors")
    library.store.query("INSERT INTO chunk_words (chunk_words) VALUES ('delete-all')")
    assert library.store.check() != []
    done = library.repair()
    assert any("broken.pdf" in line for line in done)
    assert library.store.check() == []
    assert [p.document.path for p in library.search("cat river")] == [whole]
    assert statuses(index(library, whole, broken)) == {
        "whole.pdf": "unchanged",
        "broken.pdf": "added",
    }
