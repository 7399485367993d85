"""A word that names a document counts, in part, for its passages that do not say it."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragformer.retrieve.names import CREDIT, HEAD, Named, credited, credits, named
from ragformer.retrieve.retrieve import add_pages, fuse_rankings
from ragformer.retrieve.words import search_words
from ragformer.store.store import Store
from ragformer.types import Chunk, Document, Page, Span

FILES = {
    "solar-panel.pdf": ("Datasheet", "Trina DE08M module", "The module weighs 20 kg."),
    "letter.pdf": ("", "Dear Sir,", "It weighs on me that Trina does not write."),
}
TITLE_PAGE, WEIGHT, DEAR, LETTER = 1, 2, 3, 4  # chunk ids


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Two documents of two pages, a chunk each."""
    with Store.open(tmp_path_factory.mktemp("names") / "collection", create=True) as opened:
        for name, (title, *texts) in FILES.items():
            key, added = hashlib.sha256(name.encode()).hexdigest(), datetime(2026, 1, 2, tzinfo=UTC)
            document = Document(key, title, (Path("/docs") / name,), len(texts), added)
            pages = [Page(n, str(n), text) for n, text in enumerate(texts, start=1)]
            chunks = [
                Chunk(n, (), text, (Span(n + 1, 0, len(text)),), 5) for n, text in enumerate(texts)
            ]
            opened.add_document(document, pages, chunks, np.zeros((2, 2), np.float32), "none")
        yield opened


def names_in(store: Store, question: str) -> dict[str, set[str]]:
    found = named(store, question, [TITLE_PAGE, WEIGHT, DEAR, LETTER])
    name_of = {d.id: d.paths[0].name for d in store.documents()}
    return {word: {name_of[key] for key in keys} for word, keys in found.by.items()}


def test_title_file_name_and_head_of_the_first_page_are_a_name(store: Store) -> None:
    solar = {"solar-panel.pdf"}
    question = "Do panels in the datasheet of Trina's modules weigh less than a letter?"
    assert names_in(store, question) == {
        "panels": solar,
        "datasheet": solar,
        "trina": solar,
        "modules": solar,
        "letter": {"letter.pdf"},
    }
    assert names_in(store, "weigh, write: on me?") == {}


def test_only_what_lacks_the_word_gains_and_by_its_rarity(store: Store) -> None:
    found = named(store, "Trina module", [TITLE_PAGE, WEIGHT, DEAR, LETTER])
    # Both stand in two of four chunks; the chunk with the weight says "module" itself.
    assert credits(store, found) == [(WEIGHT, pytest.approx(CREDIT * math.log(2)))]
    assert credits(store, Named()) == []


def test_the_page_that_answers_passes_the_title_page(store: Store) -> None:
    question = "How much does the Trina DE08M weigh?"
    by_words = search_words(store, question, 10)
    assert by_words[0][0] == TITLE_PAGE
    found = add_pages(store, question, {"words": by_words, "vectors": []})
    assert found["words"] == by_words
    assert fuse_rankings(found, 10)[0][0] == WEIGHT


def test_only_the_head_is_a_name(tmp_path: Path) -> None:
    with Store.open(tmp_path / "collection", create=True) as store:
        text = "x " * (HEAD // 2) + "zebra"
        document = Document("0" * 64, "", (Path("/a.pdf"),), 1, datetime(2026, 1, 2, tzinfo=UTC))
        chunk = Chunk(0, (), text, (Span(1, 0, len(text)),), 5)
        store.add_document(
            document, [Page(1, "1", text)], [chunk], np.zeros((1, 2), np.float32), "none"
        )
        assert list(named(store, "x zebra", [1]).by) == ["x"]


def test_a_file_name_that_is_not_utf_8_names_too(tmp_path: Path) -> None:
    path = Path(os.fsdecode(b"/docs/caf\xe9 terms.pdf"))
    with Store.open(tmp_path / "collection", create=True) as store:
        document = Document("0" * 64, "", (path,), 1, datetime(2026, 1, 2, tzinfo=UTC))
        chunk = Chunk(0, (), "x", (Span(1, 0, 1),), 1)
        store.add_document(
            document, [Page(1, "1", "x")], [chunk], np.zeros((1, 2), np.float32), "none"
        )
        assert list(named(store, "zebra terms", [1]).by) == ["terms"]


@given(st.text())
def test_any_question_is_read(store: Store, question: str) -> None:
    gained = credits(store, named(store, question + ' Trina" OR (', [TITLE_PAGE, WEIGHT, LETTER]))
    assert all(gain > 0 for _, gain in gained)
    assert {key for key, _ in gained} <= {TITLE_PAGE, WEIGHT, LETTER}


@given(st.lists(st.tuples(st.integers(1, 9), st.floats(0, 5)), unique_by=lambda hit: hit[0]))
def test_a_gain_is_added_to_the_score_by_words(gained: list[tuple[int, float]]) -> None:
    words = [(1, 3.0), (2, 1.0)]
    total = dict(credited(words, gained))
    assert total == {
        key: dict(words).get(key, 0.0) + dict(gained).get(key, 0.0)
        for key in {1, 2} | set(dict(gained))
    }
