"""Laws of a collection: what indexing leaves behind, and what may be asked of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragformer.errors import (
    EncoderMismatchError,
    InputError,
    NotFoundError,
    StoreBusyError,
    StoreFullError,
)
from ragformer.library import MAX_QUESTION, Library, check_question, collections, open_library
from ragformer.nn.checkpoint import save_weights
from ragformer.retrieve.embed import load_encoder
from ragformer.store.store import Store
from ragformer.types import Progress, Report

WritePdf = Callable[..., Path]
CATS = "The cat sleeps eighteen hours a day and hunts at night near the river."
TAX = "Annual tax returns are due on 31 October at the district office."
BEES = "Bees dance to tell each other where the flowers are."


@pytest.fixture
def library(home: Path) -> Iterator[Library]:
    with open_library() as opened:
        yield opened


def index(library: Library, *paths: Path, **options: object) -> Report:
    """Index and return the Report, after checking the stream's own laws."""
    *steps, report = library.index(paths, **options)  # type: ignore[arg-type]
    assert isinstance(report, Report)
    counts = []
    for step in steps:
        assert isinstance(step, Progress)
        counts.append((step.files_done, step.pages_done, step.chunks_embedded))
        assert step.files_done <= step.files_total
    assert counts == sorted(counts)
    return report


def statuses(report: Report) -> dict[str, str]:
    return {outcome.path.name: outcome.status for outcome in report.files}


def snapshot(library: Library) -> object:
    """All that a collection holds, but for row ids and times."""
    store = library.store
    return (
        [(d.id, d.title, d.paths, d.n_pages, store.chunks(d.id)) for d in store.documents()],
        store.failures(),
        store.encoders(),
    )


def test_a_second_run_reads_and_embeds_nothing(library: Library, write_pdf: WritePdf) -> None:
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


def test_touching_a_file_costs_a_hash_and_no_more(library: Library, write_pdf: WritePdf) -> None:
    path = write_pdf("a.pdf", CATS)
    index(library, path)
    os.utime(path, ns=(1, 1))
    report = index(library, path)
    assert (statuses(report), report.pages_read) == ({"a.pdf": "unchanged"}, 0)
    known = library.store.known_file(path)
    assert known is not None
    assert known.mtime_ns == 1


def test_the_same_bytes_twice_are_one_document(library: Library, write_pdf: WritePdf) -> None:
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


def test_a_changed_file_replaces_what_it_held(library: Library, write_pdf: WritePdf) -> None:
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
    library: Library, write_pdf: WritePdf
) -> None:
    path = write_pdf("a.pdf", CATS)
    whole = path.read_bytes()
    path.write_bytes(whole[:60])
    assert statuses(index(library, path)) == {"a.pdf": "failed"}
    assert [outcome.path for outcome in library.store.failures()] == [path]
    path.write_bytes(whole)
    assert statuses(index(library, path)) == {"a.pdf": "added"}
    assert library.store.failures() == []


def test_a_password_opens_what_failed_without(library: Library, write_pdf: WritePdf) -> None:
    path = write_pdf("secret.pdf", CATS, password="tiger")
    assert "needs a password" in index(library, path).files[0].reason
    assert "does not open" in index(library, path, passwords=["lion"]).files[0].reason
    assert statuses(index(library, path, passwords=["lion", "tiger"])) == {"secret.pdf": "added"}
    assert statuses(index(library, path)) == {"secret.pdf": "unchanged"}


def test_prune_forgets_what_is_gone_below_the_paths_only(
    library: Library, write_pdf: WritePdf
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


def test_nothing_of_a_removed_document_is_left_in_the_home(
    library: Library, write_pdf: WritePdf, home: Path
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


def test_rechunk_and_reembed_end_where_they_began(library: Library, write_pdf: WritePdf) -> None:
    folder = write_pdf("a.pdf", CATS, TAX).parent
    index(library, folder)
    before, n_chunks = snapshot(library), len(library.store.chunk_ids())
    again = index(library, rechunk=True)
    assert (again.pages_read, again.chunks_embedded) == (0, n_chunks)
    assert index(library, reembed=True).chunks_embedded == n_chunks
    assert snapshot(library) == before
    elsewhere = write_pdf("b/b.pdf", BEES)
    index(library, elsewhere)
    assert index(library, elsewhere.parent, rechunk=True).chunks_embedded == 1


def other_models(models: Path, folder: Path) -> Path:
    """A copy of a models folder with another encoder."""
    shutil.copytree(models, folder)
    encoder = load_encoder(folder / "encoder")
    encoder.model.token_weight.weight.data += 0.25
    save_weights(encoder.model, folder / "encoder")
    return folder


def test_another_encoder_is_refused_until_reembedded(
    library: Library,
    write_pdf: WritePdf,
    tiny_models: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = write_pdf("a.pdf", CATS)
    index(library, path)
    first = library.encoder.id
    monkeypatch.setenv("RAGFORMER_MODELS", str(other_models(tiny_models, tmp_path / "others")))
    with open_library() as other:
        assert other.encoder.id != first
        for act in (lambda: other.search("cat"), lambda: index(other, path)):
            with pytest.raises(EncoderMismatchError) as caught:
                act()
            said = str(caught.value)
            assert f"embedded by encoder {first}, not {other.encoder.id}" in said
            assert "`ragformer index --reembed`" in said
        index(other, reembed=True)
        assert set(other.store.encoders()) == {other.encoder.id}
        assert len(other.search("cat")) == 1


def test_stopping_at_any_step_keeps_what_is_done_and_the_next_run_does_the_rest(
    library: Library, write_pdf: WritePdf
) -> None:
    for n, text in enumerate((CATS, TAX, BEES)):
        folder = write_pdf(f"{n}.pdf", text).parent
    for done in range(1, 4):
        steps = library.index([folder], workers=1)
        for step in steps:
            assert isinstance(step, Progress)
            if step.outcome and step.outcome.status == "added":
                break
        steps.close()  # type: ignore[attr-defined]
        assert len(library.store.documents()) == done
    assert index(library, folder).pages_read == 0


def test_two_indexers_at_once_are_refused_by_name(library: Library, write_pdf: WritePdf) -> None:
    path = write_pdf("a.pdf", CATS)
    index(library, path)
    with library.store.indexing(), open_library() as second:
        with pytest.raises(StoreBusyError, match=str(os.getpid())):
            index(second, path)
        assert len(second.search("cat")) == 1  # reading never waits


def test_a_full_disk_loses_nothing_that_was_there(
    library: Library, write_pdf: WritePdf, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = write_pdf("small.pdf", CATS)
    index(library, small)
    opened = Store.open

    def on_a_full_disk(folder: Path, *, create: bool = False, readonly: bool = False) -> Store:
        store = opened(folder, create=create, readonly=readonly)
        pages = store.query("PRAGMA page_count")[0][0]
        store.query(f"PRAGMA max_page_count = {pages + 2}")
        return store

    large = write_pdf("large.pdf", *[f"{TAX} {BEES} {n} {CATS}" for n in range(40)])
    monkeypatch.setattr(Store, "open", on_a_full_disk)
    with pytest.raises(StoreFullError, match="no space is left"):
        index(library, large)
    monkeypatch.undo()
    library.close()
    with Store.open(library.folder) as store:
        assert [document.path for document in store.documents()] == [small]
        assert store.check() == []


def test_nothing_is_made_until_something_is_indexed(
    library: Library, home: Path, tmp_path: Path
) -> None:
    assert library.search("anything") == []
    assert library.store.documents() == []
    assert collections() == []
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="there is no PDF in"):
        index(library, tmp_path / "empty")
    with pytest.raises(InputError, match="nothing to index"):
        index(library)
    with pytest.raises(NotFoundError, match="there is no collection notes"):
        _ = open_library("notes").store
    assert not home.exists()


def test_the_home_is_the_users_alone(library: Library, write_pdf: WritePdf, home: Path) -> None:
    index(library, write_pdf("a.pdf", CATS))
    assert home.stat().st_mode & 0o777 == 0o700
    files = [file for file in library.folder.rglob("*") if file.is_file()]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_collections_are_apart_and_counted(home: Path, write_pdf: WritePdf) -> None:
    with open_library("cats") as cats, open_library("tax") as tax:
        index(cats, write_pdf("cats.pdf", CATS))
        index(tax, write_pdf("tax.pdf", TAX, BEES))
        assert {p.document.title for p in cats.search("tax returns")} == {"cats"}
    found = [(c.name, c.documents, c.failed, c.pages, c.fault) for c in collections()]
    assert found == [("cats", 1, 0, 1, ""), ("tax", 1, 0, 2, "")]
    (home / "collections" / "tax" / "store.db").write_bytes(b"not a database" * 100)
    assert [bool(c.fault) for c in collections()] == [False, True]


def test_within_limits_the_search_and_names_the_path_shown(
    library: Library, write_pdf: WritePdf
) -> None:
    cats, tax = write_pdf("z/cats.pdf", CATS), write_pdf("z/tax.pdf", TAX)
    twin = cats.parents[1] / "a.pdf"
    shutil.copy(cats, twin)
    index(library, cats.parents[1])
    assert {p.document.path for p in library.search("cat tax")} == {twin, tax}
    assert {p.document.path for p in library.search("cat tax", within=["z/*.pdf"])} == {cats, tax}
    for name in (cats, "docs/z/cats.pdf", "docs/z/../z/cats.pdf"):
        assert {p.document.path for p in library.search("tax", within=[name])} == {cats}
    with pytest.raises(NotFoundError, match=r"matches thesis\.pfd"):
        library.search("cat", within=["thesis.pfd"])


def test_the_vector_index_follows_the_collection(library: Library, write_pdf: WritePdf) -> None:
    index(library, write_pdf("a.pdf", CATS))
    assert len(library.search("cat")) == 1
    with open_library() as other:
        index(other, write_pdf("b.pdf", BEES))
    assert len(library.search("cat")) == 2


def test_a_document_is_named_by_path_name_or_id(library: Library, write_pdf: WritePdf) -> None:
    one, two = write_pdf("x/report.pdf", CATS), write_pdf("y/report.pdf", TAX)
    index(library, one, two)
    document = library.document(str(one))
    assert document.path == one
    assert library.document("x/report.pdf") == document
    assert library.document(document.id[:8]) == document
    assert library.document("docs/x/report.pdf") == document  # from the working directory
    with pytest.raises(InputError, match="may mean 2 documents") as caught:
        library.document("report.pdf")
    assert str(one) in str(caught.value)
    assert str(two) in str(caught.value)
    for name in ("nothing.pdf", "ffffffff", ""):
        with pytest.raises(NotFoundError, match="there is no document"):
            library.document(name)


@given(st.text())
def test_a_question_is_refused_or_kept_in_full(question: str) -> None:
    try:
        kept = check_question(question)
    except InputError:
        assert not question.replace("\0", " ").strip() or len(question) > MAX_QUESTION
    else:
        assert kept == question.replace("\0", " ").strip()


def test_the_limits_of_a_question_are_told(library: Library) -> None:
    with pytest.raises(InputError, match="100,000 characters and at most 2,000"):
        library.search("x" * 100_000)
    with pytest.raises(InputError, match="k is 0"):
        library.search("x", k=0)
    assert check_question("caf\udce9") == "caf?"
    assert len(check_question("x" * MAX_QUESTION)) == MAX_QUESTION


def test_repair_makes_good_what_the_stored_text_allows(
    library: Library, write_pdf: WritePdf
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
