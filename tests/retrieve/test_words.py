"""Word search finds what was asked for, in any script, and no question whatever breaks it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ragformer.retrieve import words
from ragformer.retrieve.words import search_words
from ragformer.store.store import Store
from ragformer.types import Chunk, Document, Page, Span

# A word in half of all chunks weighs nothing to bm25, so there are enough others.
COMMON = [f"common{n}" for n in range(40)]
FILLER = [
    f"Filler {n} about gardens, rivers and roads number {n}: {' '.join(COMMON[n % 4 :: 4])}."
    for n in range(40)
]
FACTS = [
    "The café sells a well-known 2.5mm plug for 10,000 forints.",
    "Warranty claims are answered within thirty days.",
    "東京の人口密度は高い。京都は静かだ。",
    "使用USB接口连接电脑。",
    "ราคาสินค้ารวมภาษีแล้ว",
    "The who and the what of it.",
    "Cataloguing the NEAR misses; AND OR NOT.",
    "Die Straße zum Schloss.",
]


def add(store: Store, title: str, texts: list[str]) -> str:
    key = hashlib.sha256(title.encode()).hexdigest()
    pages = [Page(n, "", text) for n, text in enumerate(texts, start=1)]
    chunks = [Chunk(n, (), t, (Span(n + 1, 0, len(t)),), 9) for n, t in enumerate(texts)]
    document = Document(key, title, (Path("/d") / title,), len(texts), datetime.now(UTC))
    store.add_document(document, pages, chunks, np.ones((len(texts), 2), np.float32), "e")
    return key


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store.open(tmp_path_factory.mktemp("words"), create=True) as opened:
        add(opened, "Facts", FACTS)
        add(opened, "Filler", FILLER)
        yield opened


def found(store: Store, question: str, **options: object) -> list[str]:
    return [p.text for p in store.passages(search_words(store, question, 5, **options))]


@pytest.mark.parametrize(
    ("question", "fact"),
    [
        ("Which cafe is it?", 0),
        ("well-known", 0),
        ("a 2.5mm plug", 0),
        ("10,000", 0),
        ("How long for a warrantied claim?", 1),  # stems
        ("人口密度は？", 2),
        ("京都", 2),  # shorter than three characters
        ("静", 2),
        ("京都的人口", 2),  # no gram of three is there: pairs are
        ("電脑接口连接", 3),
        ("usb接口", 3),
        ("ภาษี", 4),
        ('"NEAR(misses" AND (', 6),
        ("cataloguing*", 6),
        ("strasse", 7),
        ("STRAẞE", 7),
        ("schloß", 7),
    ],
)
def test_the_fact_comes_first(store, question, fact):
    assert found(store, question)[0] == FACTS[fact]


def test_stop_words_count_only_when_there_is_nothing_else(store):
    assert found(store, "who what") == [FACTS[5]]
    assert found(store, "what plug") == [FACTS[0]]
    assert found(store, "京都 and the") == [FACTS[2]]


def test_the_title_is_searched(store):
    assert set(found(store, "facts")) <= set(FACTS)
    assert found(store, "facts")


def test_scores_are_positive_and_falling_and_ties_go_to_the_lower_id(store):
    hits = search_words(store, "gardens rivers plug", 100)
    assert all(score > 0 for _, score in hits)
    assert hits == sorted(hits, key=lambda hit: (-hit[1], hit[0]))
    assert len({score for _, score in hits}) < len(hits)


def test_documents_limit_the_search_and_not_its_result(store):
    filler = next(d.id for d in store.documents() if d.title == "Filler")
    facts = next(d.id for d in store.documents() if d.title == "Facts")
    # "number" is in every filler chunk: were the filter to come after, none of 2 would be left.
    assert len(search_words(store, "number warranty 東京 京都", 2, [filler])) == 2
    allowed = set(store.chunk_ids([facts]).tolist())
    hits = search_words(store, "number warranty 人口密度 静", 9, [facts])
    assert {key for key, _ in hits} <= allowed
    assert len(hits) == 2
    assert search_words(store, "number", 5, []) == []
    assert search_words(store, "number", 0) == []


def test_the_rarest_words_are_the_ones_kept(store):
    hits = search_words(store, f"{' '.join(COMMON)} warranty plug", 100)
    assert {p.text for p in store.passages(hits)} >= {FACTS[0], FACTS[1]}
    absent = " ".join(f"absent{n}" for n in range(2 * words.MAX_WORDS))
    assert found(store, f"{absent} plug") == [FACTS[0]]


ANY_CHARACTER = st.characters(codec=None, exclude_categories=())  # lone surrogates too
SYNTAX = st.sampled_from(['"', "'", "*", "^", "(", ")", "{", "}", ":", "+", "-", " NEAR(", " AND "])


@given(st.lists(SYNTAX | ANY_CHARACTER | st.sampled_from(["plug", "東京", "ราคา"])).map("".join))
@example("\0")
@example("plug\0plug")
@example("_")
@example("🦊")
@example("\ud800")
@example('""""')
@example("x" * 100_000)
@example("東" * 100_000)
@example("東京都 " * 25_000)
@example('"' * 100_000)
@example(" ".join(str(n) for n in range(20_000))[:100_000])
def test_any_string_is_a_question(store, question):
    for key, score in search_words(store, question, 3):
        assert key in store.chunk_ids()
        assert score > 0


@given(st.sampled_from(FACTS + FILLER), st.data())
def test_any_three_characters_of_dense_text_or_whole_sentence_finds_its_chunk(store, text, data):
    assert text in found(store, text)
    runs = [run for run in words.DENSE_RUN.findall(text) if len(run) >= 3]
    if runs:
        run = data.draw(st.sampled_from(runs))
        start = data.draw(st.integers(0, len(run) - 3))
        assert text in found(store, run[start : start + 3])
