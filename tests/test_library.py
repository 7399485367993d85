"""Laws of a collection: what may be asked of it, and by which names."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_documents import BEES, CATS, TAX, Index, WritePdf

from ragformer.answer.confidence import FEATURES, OWN_CONFIDENCE, Confidence
from ragformer.cluster import opening
from ragformer.config import Settings
from ragformer.errors import (
    EncoderMismatchError,
    InputError,
    NotFoundError,
    WeightsError,
)
from ragformer.library import Library, collections, open_library
from ragformer.retrieve.embed import Encoder
from ragformer.store.store import Store
from ragformer.text.normalize import MAX_QUESTION, check_question


def test_nothing_is_made_until_something_is_indexed(
    library: Library,
    home: Path,
    tmp_path: Path,
    index: Index,
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


def test_a_collection_made_while_it_is_opened_is_seen(
    library: Library, write_pdf: WritePdf, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_collection = opening.open_collection

    def then_made(settings: Settings) -> Store:
        monkeypatch.setattr(opening, "open_collection", open_collection)
        opened = open_collection(settings)
        with open_library() as other:
            index(other, write_pdf("a.pdf", CATS))
        return opened

    monkeypatch.setattr(opening, "open_collection", then_made)
    assert library.store.documents() == []
    assert len(library.store.documents()) == 1


def test_the_home_is_the_users_alone(
    library: Library, write_pdf: WritePdf, home: Path, index: Index
) -> None:
    index(library, write_pdf("a.pdf", CATS))
    assert home.stat().st_mode & 0o777 == 0o700
    files = [file for file in library.folder.rglob("*") if file.is_file()]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_collections_are_apart_and_counted(home: Path, write_pdf: WritePdf, index: Index) -> None:
    with open_library("cats") as cats, open_library("tax") as tax:
        index(cats, write_pdf("cats.pdf", CATS))
        index(tax, write_pdf("tax.pdf", TAX, BEES))
        assert {p.document.title for p in cats.search("tax returns")} == {"cats"}
    found = [(c.name, c.documents, c.failed, c.pages, c.fault) for c in collections()]
    assert found == [("cats", 1, 0, 1, ""), ("tax", 1, 0, 2, "")]
    (home / "collections" / "tax" / "store.db").write_bytes(b"not a database" * 100)
    assert [bool(c.fault) for c in collections()] == [False, True]


def test_within_limits_the_search_and_names_the_path_shown(
    library: Library,
    write_pdf: WritePdf,
    index: Index,
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


def test_the_vector_index_follows_the_collection(
    library: Library, write_pdf: WritePdf, index: Index
) -> None:
    index(library, write_pdf("a.pdf", CATS))
    assert len(library.search("cat")) == 1
    with open_library() as other:
        index(other, write_pdf("b.pdf", BEES))
    assert len(library.search("cat")) == 2


def test_an_encoder_switched_under_a_question_is_loaded_anew(
    library: Library, write_pdf: WritePdf, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    index(library, write_pdf("a.pdf", CATS))
    wanted = [passage.chunk_id for passage in library.search("cats")]
    new = library.encoder
    old = copy.copy(new)
    old.id = "0" * 12

    def seen(_: Library) -> Encoder:
        """The one from before the switch, then the one from after."""
        return loaded.pop(0) if len(loaded) > 1 else loaded[0]

    monkeypatch.setattr(Library, "encoder", property(seen))
    with open_library() as other:
        loaded = [old, new]
        assert [passage.chunk_id for passage in other.search("cats")] == wanted
    with open_library() as other:
        loaded = [old]  # no switch: it is just the wrong one
        with pytest.raises(EncoderMismatchError, match="not 000000000000"):
            other.search("cats")


def test_the_confidence_in_use_is_the_one_calibrated_last(
    library: Library, write_pdf: WritePdf, index: Index
) -> None:
    index(library, write_pdf("a.pdf", CATS))
    reader, in_the_box = library.reader, library.reader.confidence
    path = library.folder / OWN_CONFIDENCE
    for threshold in (0.9, 0.1):
        fitted = Confidence(0.0, (0.0,) * len(FEATURES), threshold)
        aside = path.with_suffix(".aside")  # as `calibrate` does: another file of that name
        aside.write_text(json.dumps(json.loads(fitted.to_json()) | {"decoder": reader.id}))
        aside.replace(path)
        assert library.ask("What do cats do?").abstained == (threshold == 0.9)
        assert library.reader is reader
        assert reader.confidence == fitted
    path.write_text("{}")
    with pytest.raises(WeightsError, match="calibrate"):
        library.ask("What do cats do?")
    path.unlink()
    assert library.reader.confidence == in_the_box


def test_a_document_is_named_by_path_name_or_id(
    library: Library, write_pdf: WritePdf, index: Index
) -> None:
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
