"""Laws of retrieval: fused order, each way's own score, and a search within the chosen files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragformer.retrieve.embed import Encoder, load_encoder
from ragformer.retrieve.retrieve import CANDIDATES, PREFERENCE, fuse_rankings, rank, retrieve
from ragformer.store.store import Store
from ragformer.store.vectors import VectorIndex
from ragformer.types import Chunk, Document, Page, Passage, Span

QUESTION = "Which ferry leaves Holmvik at noon?"
FERRIES = [f"Ferry {n} leaves Holmvik at noon." for n in range(CANDIDATES + 20)]
OTHERS = ["Bees dance to tell where flowers are.", "Cats sleep by day.", "The harbour of Holmvik."]


@pytest.fixture(scope="module")
def encoder(tiny_models: Path) -> Encoder:
    return load_encoder(tiny_models / "encoder")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, encoder: Encoder) -> Iterator[Store]:
    """Two documents: 120 chunks that all fit the question, and three that hardly do."""
    folder = tmp_path_factory.mktemp("retrieve")
    with Store.open(folder / "collection", create=True) as opened:
        for name, texts in (("ferries", FERRIES), ("others", OTHERS)):
            pages = [Page(n, str(n), text) for n, text in enumerate(texts, start=1)]
            chunks = [
                Chunk(n, (), page.text, (Span(page.number, 0, len(page.text)),), 8)
                for n, page in enumerate(pages)
            ]
            key = hashlib.sha256(name.encode()).hexdigest()
            path = Path("/docs") / f"{name}.pdf"
            added = datetime(2026, 1, 2, tzinfo=UTC)
            document = Document(key, name, (path,), len(pages), added)
            opened.add_document(document, pages, chunks, encoder.encode(texts), encoder.id)
        yield opened


@pytest.fixture(scope="module")
def index(store: Store, encoder: Encoder) -> VectorIndex:
    return VectorIndex.build(*store.vectors(encoder.id))


def key_of(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def test_passages_come_in_fused_order_with_each_ways_score(
    store: Store, index: VectorIndex, encoder: Encoder
) -> None:
    rankings = rank(store, index, encoder.encode_query(QUESTION), QUESTION)
    for k in (1, 5, 100):
        passages = retrieve(store, index, encoder, QUESTION, k)
        assert [(p.chunk_id, p.score) for p in passages] == fuse_rankings(rankings, k)
        assert len(passages) == k
        for passage in passages:
            assert passage.found_by
            for name, score in passage.found_by.items():
                assert dict(rankings[name])[passage.chunk_id] == score
            for name in rankings.keys() - passage.found_by.keys():
                assert passage.chunk_id not in dict(rankings[name])
    assert {p.document.id for p in retrieve(store, index, encoder, QUESTION, 5)} == {
        key_of("ferries")
    }


def test_the_chosen_files_are_chosen_before_the_search(
    store: Store, index: VectorIndex, encoder: Encoder
) -> None:
    """Of 120 better chunks elsewhere, none may take a candidate's place."""

    def found(*names: str) -> list[Passage]:
        return retrieve(store, index, encoder, QUESTION, 8, [key_of(name) for name in names])

    assert {p.text for p in found("others")} == set(OTHERS)
    best = found("others")[0]
    assert (best.text, set(best.found_by)) == (OTHERS[2], {"words", "vectors", "pages"})
    assert {p.document.title for p in found("ferries")} == {"ferries"}
    assert found("ferries", "others") == retrieve(store, index, encoder, QUESTION, 8)
    assert found() == found("nothing") == []


def test_the_chosen_chunks_are_chosen_before_the_search(
    store: Store, index: VectorIndex, encoder: Encoder
) -> None:
    harbour, *ferries = [int(key) for key in (*store.chunk_ids([key_of("others")])[-1:], 3, 70)]
    chosen = [harbour, *ferries]
    found = retrieve(store, index, encoder, QUESTION, 8, chunks=chosen)
    assert {p.chunk_id for p in found} == set(chosen)
    assert all(set(p.found_by) == {"words", "vectors", "pages"} for p in found)
    assert retrieve(store, index, encoder, QUESTION, 8, chunks=[]) == []


def test_a_preferred_chunk_rises_a_little(
    store: Store, index: VectorIndex, encoder: Encoder
) -> None:
    plain = retrieve(store, index, encoder, QUESTION, 100)
    scores = {p.chunk_id: p.score for p in plain}
    second, last = plain[1], plain[-1]
    raised = retrieve(
        store, index, encoder, QUESTION, 100, preferred=[second.chunk_id, last.chunk_id]
    )
    assert {p.chunk_id: p.score for p in raised} == {
        key: score + PREFERENCE * (key in (second.chunk_id, last.chunk_id))
        for key, score in scores.items()
    }
    assert [p.score for p in raised] == sorted((p.score for p in raised), reverse=True)


def test_a_question_without_a_known_word_is_still_answered_by_meaning(
    store: Store, index: VectorIndex, encoder: Encoder
) -> None:
    for question in ("?!", "zyxw", "日本語", "😀"):
        passages = retrieve(store, index, encoder, question, 4)
        assert [set(p.found_by) for p in passages] == [{"vectors"}] * 4


def test_the_same_question_finds_the_same(
    store: Store, index: VectorIndex, encoder: Encoder
) -> None:
    runs = [retrieve(store, index, encoder, QUESTION, 8) for _ in range(5)]
    assert all(run == runs[0] for run in runs)


SCORED = st.dictionaries(st.integers(1, 30), st.floats(-5, 5), max_size=12).map(
    lambda scores: sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))
)


@given(SCORED, SCORED, st.integers(1, 10))
def test_all_the_weight_on_one_ranking_gives_that_ranking(
    words: list[tuple[int, float]], vectors: list[tuple[int, float]], k: int
) -> None:
    rankings = {"words": words, "vectors": vectors}
    for name, weight in (("words", 1.0), ("vectors", 0.0)):
        fused = [key for key, _ in fuse_rankings(rankings, 60, weight)]
        own = dict(rankings[name])
        # Those at the bottom tie with what only the other ranking holds.
        low = min(own.values(), default=0.0)
        top = [key for key, score in rankings[name] if score > low]
        stretched = {key: (own[key] - low) / (max(own.values()) - low) for key in top}
        assert sorted(fused[: len(top)]) == sorted(top)
        scores = [stretched[key] for key in fused[: len(top)]]
        assert scores == sorted(scores, reverse=True)
    fused_k = fuse_rankings(rankings, k)
    assert fused_k == fuse_rankings(rankings, 60)[:k]
    assert {key for key, _ in fused_k} <= dict(words).keys() | dict(vectors).keys()
