"""Shards answer as the one store does: the same passages, the same scores, whatever is asked."""

from __future__ import annotations

import dataclasses
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from shards_here import index_in_shards

from ragformer.cluster.layout import LABEL, make_shards, refuse_shards, shard_folder, shard_of
from ragformer.cluster.opening import list_collections, open_index
from ragformer.errors import InputError, StoreError, StoreReadOnlyError
from ragformer.library import Library, open_library
from ragformer.retrieve.question import understand
from ragformer.retrieve.retrieve import retrieve
from ragformer.retrieve.words import search_words
from ragformer.train import adapt
from ragformer.types import Answer, Passage
from ragformer.watch import watch

WORDS = ["boiler", "valve", "ferry", "harbour", "glove", "notice", "rent", "deposit", "tide"]
SUBJECTS = ["Boiler manual", "Ferry report", "Lease", "Cookery", "Safety rules"]


def made_text(seed: int) -> str:
    """Sentences of few words, so that some stand in half the chunks and some in one."""
    chosen = random.Random(seed)
    said = [" ".join(chosen.choices(WORDS, k=9)).capitalize() + "." for _ in range(40)]
    return " ".join([*said[:20], f"The code of part {seed} is X{seed * 37}.", *said[20:]])


@pytest.fixture(scope="module")
def both(
    tmp_path_factory: pytest.TempPathFactory, tiny_models: Path
) -> Iterator[tuple[Library, Library]]:
    """The same eight documents as one store and as three shards."""
    from reportlab.pdfgen import canvas

    folder = tmp_path_factory.mktemp("both")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAGFORMER_HOME", str(folder / "home"))
        patch.setenv("RAGFORMER_MODELS", str(tiny_models))
        docs = folder / "docs"
        docs.mkdir()
        for n in range(8):
            drawing = canvas.Canvas(str(docs / f"d{n}.pdf"), pagesize=(600, 800), invariant=1)
            drawing.setTitle(f"{SUBJECTS[n % 5]} {n}")
            for page in range(2):
                words = made_text(2 * n + page).split()
                for line in range(0, len(words), 11):
                    drawing.drawString(50, 760 - line, " ".join(words[line : line + 11]))
                drawing.showPage()
            drawing.save()
        with open_library("one") as one, open_library("many") as many:
            list(one.index([docs]))
            index_in_shards(many, [docs], 3)
            yield one, many


def hits(passages: list[Passage]) -> list[tuple[str, tuple[object, ...], float]]:
    """In an order that does not depend on ids, which decide between equal scores."""
    found = [(p.document.id, p.spans, round(p.score, 9)) for p in passages]
    return sorted(found, key=lambda hit: (-hit[2], hit[0], str(hit[1])))


def test_every_shard_has_its_share(both: tuple[Library, Library]) -> None:
    one, many = both
    assert {d.id for d in many.store.documents()} == {d.id for d in one.store.documents()}
    assert all((shard_folder(many.folder, n) / "store.db").exists() for n in range(3))
    assert len({shard_of(d.id, 3) for d in many.store.documents()}) == 3


def questions() -> list[str]:
    chosen = random.Random(7)
    made = [" ".join(chosen.choices(WORDS, k=1 + n % 6)) for n in range(18)]
    made += [f"What is the code of part {n}?" for n in (3, 8, 15)]
    made += ["boiler boilers boiling", "nothing of the kind", "the", "?", "on page 2, which valve?"]
    made += ["What does the ferry report say of the tide?", " ".join(f"w{n}" for n in range(50))]
    return [question for question in made if question.strip("?")]


def retrieved(library: Library, question: str) -> list[Passage]:
    """What search finds before the decoder rereads it, limits of the question included."""
    store = library.store
    asked = understand(question, store, store.documents())
    index = open_index(store, library.encoder_id)
    return retrieve(store, index, library.encoder, asked.text, 30, None, asked.chunks)


def assert_alike(ours: list[Passage], theirs: list[Passage], question: str) -> None:
    assert len(ours) == len(theirs)
    for mine, other in zip(hits(ours), hits(theirs), strict=True):
        assert mine[:2] == other[:2], question
        assert mine[2] == pytest.approx(other[2], abs=1e-5)


def test_the_same_passages_and_scores(both: tuple[Library, Library]) -> None:
    one, many = both
    for question in questions():
        assert_alike(retrieved(many, question), retrieved(one, question), question)
    for question in questions()[18:20]:  # reread by the decoder
        assert_alike(many.search(question, 5), one.search(question, 5), question)


def test_words_alone_score_as_in_one_store(both: tuple[Library, Library]) -> None:
    one, many = both
    scored = 0
    for question in questions():
        ours = sorted(score for _, score in search_words(many.store, question, 25))
        theirs = sorted(score for _, score in search_words(one.store, question, 25))
        assert ours == pytest.approx(theirs, abs=1e-9), question
        scored += len(ours)
    assert scored > 200


def test_a_limit_to_some_documents_holds(both: tuple[Library, Library]) -> None:
    one, many = both
    for within in (["d3.pdf"], ["d*.pdf"], ["d1.pdf", "d7.pdf"]):
        ours, theirs = (hits(lib.search("boiler valve", 10, within)) for lib in (many, one))
        assert ours
        assert [hit[:2] for hit in ours] == [hit[:2] for hit in theirs]


def test_the_same_answer_with_its_quote(both: tuple[Library, Library]) -> None:
    one, many = both
    for question in ("What is the code of part 8?", "How many pages does d3.pdf have?"):
        ours, theirs = many.ask(question), one.ask(question)
        assert (ours.text, ours.abstained, ours.note) == (
            theirs.text,
            theirs.abstained,
            theirs.note,
        )
        keys = ("document_id", "page", "span", "quote", "verified")
        for mine, other in zip(ours.citations, theirs.citations, strict=True):
            assert [getattr(mine, k) for k in keys] == [getattr(other, k) for k in keys]


def test_vectors_come_from_every_shard(both: tuple[Library, Library]) -> None:
    one, many = both
    ids, vectors = many.store.vectors(many.encoder_id)
    assert ids.tolist() == many.store.chunk_ids().tolist() == sorted(set(ids.tolist()))
    _, theirs = one.store.vectors(one.encoder_id)
    assert np.sort(vectors.sum(1)) == pytest.approx(np.sort(theirs.sum(1)), abs=1e-5)
    assert len(open_index(many.store, many.encoder_id)) == len(theirs)
    assert many.store.encoders() == {many.encoder_id: len(theirs)}


@pytest.fixture
def spoiled(
    both: tuple[Library, Library],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tiny_models: Path,
) -> Callable[[], Library]:
    """A copy of the shards, to be spoiled."""
    _, many = both
    shutil.copytree(many.folder, tmp_path / "home" / "collections" / "many")
    monkeypatch.setenv("RAGFORMER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RAGFORMER_MODELS", str(tiny_models))
    return lambda: open_library("many")


def test_a_missing_shard_is_named_and_the_others_answer(spoiled: Callable[[], Library]) -> None:
    with spoiled() as library:
        before = library.search("boiler valve", 30)
        lost = {d.id for d in library.store.documents() if shard_of(d.id, 3) == 1}
        shutil.rmtree(shard_folder(library.folder, 1))
        found = library.search("boiler valve", 30)
        assert lost
        assert {p.document.id for p in found} == {p.document.id for p in before} - lost
        answer = library.ask("What is the code of part 8?")
        assert "shard 1 of the 3 of this collection was not searched" in answer.note
        assert "index the files again" in answer.note


def test_a_damaged_shard_is_named_from_the_start(spoiled: Callable[[], Library]) -> None:
    with spoiled() as library:
        folder = shard_folder(library.folder, 2)
    (folder / "store.db").write_bytes(b"no database" * 1000)
    with spoiled() as library:
        assert library.search("boiler", 5)
        assert "shard 2" in library.ask("Which boiler?").note
        assert any("damaged" in fault for fault in library.store.check())


def test_a_shard_without_a_byte_is_named(spoiled: Callable[[], Library]) -> None:
    with spoiled() as library:
        (shard_folder(library.folder, 2) / "store.db").write_bytes(b"")
    for _ in range(2):  # opening it must not make it one that is whole
        [counts] = list_collections(library.folder.parent)
        assert "shard 2" in counts.fault
    with spoiled() as library:
        assert library.search("boiler", 5)
        assert "store.db in" in library.ask("Which boiler?").note
        assert any("(0 bytes)" in fault for fault in library.store.check())


def test_shards_without_their_label_are_no_other_collection(spoiled: Callable[[], Library]) -> None:
    with spoiled() as library:
        (library.folder / LABEL).unlink()
    [counts] = list_collections(library.folder.parent)
    assert (counts.name, LABEL in counts.fault) == ("many", True)
    with spoiled() as library:
        with pytest.raises(StoreError, match=f"{LABEL} does not say how many"):
            library.search("boiler")
        with pytest.raises(StoreError, match=f"{LABEL} does not say how many"):
            make_shards(library.folder, None, 5)
        with pytest.raises(InputError, match="kept in shards"):
            refuse_shards(library.folder)


def test_with_no_shard_left_there_is_an_error(spoiled: Callable[[], Library]) -> None:
    with spoiled() as library:
        shutil.rmtree(library.folder / "shards")
        with pytest.raises(StoreError, match="none of the 3 shards"):
            library.search("boiler")


def test_a_shard_that_came_back_is_asked_again(spoiled: Callable[[], Library]) -> None:
    with spoiled() as library:
        before = hits(library.search("boiler valve", 9))
        place = shard_folder(library.folder, 0)
        place.rename(place.with_name("away"))
        library.search("boiler valve", 9)
        assert {shard_of(d.id, 3) for d in library.store.documents()} == {1, 2}
        place.with_name("away").rename(place)
        assert hits(library.search("boiler valve", 9)) == before
        answer: Answer = library.ask("Which boiler?")
        assert "shard" not in answer.note


def test_shards_are_written_by_index_only(spoiled: Callable[[], Library], tmp_path: Path) -> None:
    with spoiled() as library:
        document = library.store.documents()[0]
        with pytest.raises(StoreReadOnlyError, match="--engine ray"):
            library.remove(document.id)
        with pytest.raises(InputError, match="--engine ray"):
            list(library.index([document.path]))
        with pytest.raises(InputError, match="--engine ray"):
            list(watch(library, [document.path.parent]))
        with pytest.raises(InputError, match="only one store can be taught"):
            list(adapt.main(adapt.Config("many")))
        assert dataclasses.replace(document) in library.store.documents()
