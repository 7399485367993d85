"""Laws of an indexing run as a whole: made anew, cut off, watched, two at once."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_documents import BEES, CATS, TAX, Index, WritePdf, snapshot, statuses

from ragformer import indexing
from ragformer.errors import (
    EncoderMismatchError,
    StoreBusyError,
    StoreFullError,
)
from ragformer.library import Library, open_library
from ragformer.nn.checkpoint import save_weights
from ragformer.pdf import read
from ragformer.retrieve import embed_chunks
from ragformer.retrieve.embed import load_encoder
from ragformer.store.store import Store
from ragformer.types import Chunk, Progress, Report


def test_rechunk_and_reembed_end_where_they_began(
    library: Library, write_pdf: WritePdf, index: Index
) -> None:
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


def test_a_collection_can_be_searched_while_it_is_embedded_anew(
    library: Library,
    write_pdf: WritePdf,
    monkeypatch: pytest.MonkeyPatch,
    index: Index,
) -> None:
    index(library, write_pdf("a.pdf", CATS, TAX, BEES))
    monkeypatch.setattr(embed_chunks, "EMBED_AT_ONCE", 1)
    ids, before_ND = library.store.vectors(library.encoder.id)
    library.store.set_vectors(library.encoder.id, ids, -before_ND)
    steps = 0
    with open_library() as other:
        for _ in library.index([], reembed=True):
            assert len(other.search("cat river")) == len(ids)
            steps += 1
    assert steps > len(ids)
    after_ND = library.store.vectors(library.encoder.id)[1]
    assert abs(after_ND - before_ND).max() < 0.05  # made anew, in other batches


def test_eight_readers_search_while_a_file_is_edited_again_and_again(
    library: Library, write_pdf: WritePdf, index: Index
) -> None:
    path, done = write_pdf("a.pdf", CATS), threading.Event()
    index(library, path)
    assert library.reader is not None  # loaded now
    encoder, reader = library._encoder, library._reader
    editions = [f"{CATS} Edition {n}." for n in range(5)]
    found: list[set[str]] = [set() for _ in range(8)]

    def search(said: set[str]) -> None:  # pytest turns what a thread raises into a failure
        with open_library() as own:
            own._encoder, own._reader = encoder, reader  # the models can be shared
            while not done.is_set() or not said:
                said |= {" ".join(passage.text.split()) for passage in own.search("cat river")}

    threads = [threading.Thread(target=search, args=(said,)) for said in found]
    for thread in threads:
        thread.start()
    try:
        for edition in editions:
            write_pdf("a.pdf", edition)
            assert statuses(index(library, path)) == {"a.pdf": "replaced"}
    finally:
        done.set()
        for thread in threads:
            thread.join(timeout=120)
    assert all(said <= {CATS, *editions} for said in found)
    assert library.store.check() == []


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
    index: Index,
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
            assert "`ragformer index --reembed`, or wait if it is running" in said
        index(other, reembed=True)
        assert set(other.store.encoders()) == {other.encoder.id}
        assert len(other.search("cat")) == 1


def test_stopping_at_any_step_keeps_what_is_done_and_the_next_run_does_the_rest(
    library: Library,
    write_pdf: WritePdf,
    index: Index,
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


def test_a_long_file_goes_on_where_it_was_cut_off(
    library: Library, write_pdf: WritePdf, monkeypatch: pytest.MonkeyPatch, index: Index
) -> None:
    for module in (indexing, read):
        monkeypatch.setattr(module, "RANGE", 4)
    monkeypatch.setattr(embed_chunks, "EMBED_AT_ONCE", 2)
    path = write_pdf("long.pdf", *[f"{CATS} {n}" for n in range(11)])
    for step in library.index([path]):
        assert isinstance(step, Progress)
        if step.chunks_embedded >= 4:
            break
    assert library.store.documents() == library.search("cat") == []
    assert library.store.query("SELECT count(*) FROM draft_pages") == [(8,)]
    report = index(library, path)
    assert (report.pages_read, report.chunks_embedded) == (3, 7)
    assert library.store.query("SELECT * FROM draft_pages, draft_vectors") == []
    after = snapshot(library)
    library.remove(library.store.documents()[0].id)
    report = index(library, path)
    assert (report.pages_read, report.chunks_embedded) == (11, 11)
    assert snapshot(library) == after


def test_what_was_begun_of_a_file_that_is_no_more_leaves_no_trace(
    library: Library, write_pdf: WritePdf, monkeypatch: pytest.MonkeyPatch, index: Index
) -> None:
    for module in (indexing, read):
        monkeypatch.setattr(module, "RANGE", 4)
    path = write_pdf("long.pdf", *[f"{CATS} {n}" for n in range(6)])
    for step in library.index([path]):
        if isinstance(step, Progress) and step.chunks_embedded:
            break
    said = b"eighteen hours"
    assert any(said in file.read_bytes() for file in library.folder.glob("store.db*"))
    write_pdf("long.pdf", TAX)
    assert index(library, path).pages_read == 1
    assert not any(said in file.read_bytes() for file in library.folder.glob("store.db*"))


def test_two_indexers_at_once_are_refused_by_name(
    library: Library, write_pdf: WritePdf, index: Index
) -> None:
    path = write_pdf("a.pdf", CATS)
    index(library, path)
    with library.store.indexing(), open_library() as second:
        with pytest.raises(StoreBusyError, match=str(os.getpid())):
            index(second, path)
        assert len(second.search("cat")) == 1  # reading never waits


def test_a_full_disk_loses_nothing_that_was_there(
    library: Library,
    write_pdf: WritePdf,
    monkeypatch: pytest.MonkeyPatch,
    index: Index,
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


def test_progress_comes_at_the_start_and_within_a_long_file(
    library: Library, write_pdf: WritePdf
) -> None:
    n = 130
    long, short = write_pdf("long.pdf", *[f"{CATS} {i}" for i in range(n)]), write_pdf("s.pdf", TAX)
    *steps, report = library.index([long, short], workers=1)
    assert isinstance(report, Report)
    assert (steps[0].files_done, steps[0].files_total, steps[0].pages_done) == (0, 2, 0)  # type: ignore[union-attr]
    within = [step for step in steps if isinstance(step, Progress) and step.files_done == 0]
    assert len({step.pages_read for step in within}) >= n // 50
    assert len({step.pages_done for step in within}) >= 2
    assert any(0 < step.pages_done < n for step in within)
    last = steps[-1]
    assert isinstance(last, Progress)
    assert (last.pages_done, last.pages_read, last.pages_total) == (n + 1, n + 1, n + 1)
    rechunked = [step for step in library.index([], rechunk=True) if isinstance(step, Progress)]
    assert any(0 < step.pages_done < n for step in rechunked)
    assert (rechunked[-1].pages_done, rechunked[-1].pages_total) == (n + 1, n + 1)
    embedded = [step for step in library.index([], reembed=True) if isinstance(step, Progress)]
    assert (embedded[-1].pages_done, embedded[-1].pages_total) == (n + 1, n + 1)


def test_an_outcome_says_in_which_language_its_document_is(
    library: Library,
    write_pdf: WritePdf,
    index: Index,
) -> None:
    german = "der Hund und die Katze sind nicht in dem Haus, und das ist auch für den Mann"
    path = write_pdf("hund.pdf", german)
    for status in ("added", "unchanged"):
        (outcome,) = index(library, path).files
        assert (outcome.status, outcome.language) == (status, "de")


def test_a_newer_reader_reads_again_what_an_older_one_read(
    library: Library,
    write_pdf: WritePdf,
    monkeypatch: pytest.MonkeyPatch,
    index: Index,
) -> None:
    path = write_pdf("a.pdf", CATS, TAX)
    twin = path.with_name("twin.pdf")
    shutil.copy(path, twin)
    index(library, path, twin)
    before = snapshot(library)
    (document,) = library.store.documents()
    store = library.store
    store.query("UPDATE pages SET text = 'as an older reader read it'")
    assert index(library, path).pages_read == 0
    monkeypatch.setattr(indexing, "READ_VERSION", indexing.READ_VERSION + 1)
    report = index(library, path)
    assert (statuses(report), report.pages_read) == ({"a.pdf": "unchanged"}, 2)
    assert snapshot(library) == before
    assert library.store.stages(document.id).read == indexing.READ_VERSION
    assert library.store.check() == []
    assert index(library, path, twin).pages_read == 0


def test_a_document_is_cut_while_the_one_before_is_embedded(
    library: Library, write_pdf: WritePdf, monkeypatch: pytest.MonkeyPatch, index: Index
) -> None:
    cut, embed = indexing.split_pages, embed_chunks.embed
    n_cut, both_are_cut = 0, threading.Event()

    def counted(*arguments: Any) -> list[Chunk]:
        nonlocal n_cut
        n_cut += 1
        if n_cut == 2:
            both_are_cut.set()
        return cut(*arguments)

    def patient(*arguments: Any) -> Any:
        assert both_are_cut.wait(timeout=60)
        return embed(*arguments)

    monkeypatch.setattr(indexing, "split_pages", counted)
    monkeypatch.setattr(embed_chunks, "embed", patient)
    report = index(library, write_pdf("a.pdf", CATS), write_pdf("b.pdf", TAX))
    assert statuses(report) == {"a.pdf": "added", "b.pdf": "added"}
    assert library.store.check() == []


def test_a_document_is_stored_while_the_reader_is_busy_with_the_next(
    library: Library, write_pdf: WritePdf, monkeypatch: pytest.MonkeyPatch, index: Index
) -> None:
    def slowly(paths: list[Path], *_: Any, **__: Any) -> Iterator[Any]:
        yield paths[0], read.read_pdf(paths[0])
        waited = time.monotonic()
        while not library.store.documents():
            assert time.monotonic() - waited < 60
            time.sleep(0.01)
            yield None
        yield paths[1], read.read_pdf(paths[1])

    monkeypatch.setattr(indexing, "follow_pdfs", slowly)
    report = index(library, write_pdf("a.pdf", CATS), write_pdf("b.pdf", TAX))
    assert statuses(report) == {"a.pdf": "added", "b.pdf": "added"}
