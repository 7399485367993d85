"""Does search find the right passage? Words, vectors and both fused, on the same questions.

    corpus -> a store of its own, thrown away -> rankings of every question -> metrics

Each item of the corpus is one chunk, its title where a heading would stand, so what is measured
is what the product does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ragformer.eval.cases import (
    CorpusItem,
    RetrievalCase,
    RetrievalSet,
    read_retrieval,
    sample,
)
from ragformer.eval.metrics import Metric, mean_metric, mrr_at, ndcg_at, recall_at
from ragformer.eval.result import make_result
from ragformer.retrieve.checkpoints import load_peer
from ragformer.retrieve.embed import Encoder, load_encoder, passage_text
from ragformer.retrieve.retrieve import CANDIDATES, RankedBy, fuse_rankings, rank
from ragformer.store.store import Store
from ragformer.store.vectors import VectorIndex
from ragformer.types import Chunk, Document, Page, Span

RECALL_AT = (1, 5, 20, 100)
# What is measured of each encoder, and the name it is reported under.
WAYS = {
    "encoder": {"words": "words", "vectors": "vectors", "fused": "fused"},
    "peer": {"vectors": "peer", "fused": "peer-fused"},
}


@dataclass(frozen=True, slots=True)
class Ranked:
    """A question and its rankings by words and by vectors, as (position in the corpus, score)."""

    case: RetrievalCase
    rankings: RankedBy


def run(
    path: Path,
    corpus: Path | None = None,
    limit: int | None = None,
    seed: int = 0,
    encoder: Path | None = None,
    peer: Path | None = None,
) -> dict[str, Any]:
    """Measure search on a retrieval folder, a reading file, or a ReQA file and its corpus.

    limit, seed: how many questions, and which; the corpus is always whole. encoder: its folder,
    None for the one in the box. peer: a sentence-transformers folder to measure beside it.
    """
    encoders = {"encoder": load_encoder(encoder)}
    if peer is not None:
        encoders["peer"] = load_peer(peer)
    found = read_retrieval(path, corpus)
    metrics: dict[str, Metric] = {}
    for name, loaded in encoders.items():
        items, ranked = rank_set(found, limit, seed, loaded)
        for way, label in WAYS[name].items():
            rows = [(_keys(one, way, items), one.case.grades) for one in ranked]
            metrics |= {f"{label}/{k}": value for k, value in ranking_metrics(rows, seed).items()}
    models = {name: loaded.id for name, loaded in encoders.items()}
    return make_result("retrieval", len(ranked), metrics, models)


def rank_cases(
    path: Path, corpus: Path | None, limit: int | None, seed: int, encoder: Encoder
) -> tuple[Sequence[CorpusItem], list[Ranked]]:
    """The corpus, and both rankings of every sampled question over it."""
    return rank_set(read_retrieval(path, corpus), limit, seed, encoder)


def rank_set(
    found: RetrievalSet, limit: int | None, seed: int, encoder: Encoder
) -> tuple[Sequence[CorpusItem], list[Ranked]]:
    """As `rank_cases`, for a set that has been read."""
    cases = sample(found.cases, limit, seed)
    with (
        TemporaryDirectory(prefix="ragformer-eval-") as folder,
        Store.open(Path(folder), create=True) as store,
    ):
        items = fill(store, found.corpus, encoder)
        return items, list(_rank_all(store, encoder, cases))


def fill(store: Store, corpus: Sequence[CorpusItem], encoder: Encoder) -> list[CorpusItem]:
    """Store the corpus, item i as the chunk with the i-th id; empty items can't be found and go."""
    items = [item for item in corpus if item.text.strip() or item.title.strip()]
    texts = [item.text if item.text.strip() else item.title for item in items]
    vectors_ND = encoder.encode(
        [passage_text("", [item.title], text) for item, text in zip(items, texts, strict=True)]
    )
    pages = [Page(number, "", text) for number, text in enumerate(texts, start=1)]
    chunks = [
        Chunk(n, (item.title,), text, (Span(n + 1, 0, len(text)),), encoder.tokenizer.count(text))
        for n, (item, text) in enumerate(zip(items, texts, strict=True))
    ]
    document = Document("corpus", "", (Path("corpus"),), len(pages), datetime.now(UTC))
    store.add_document(document, pages, chunks, vectors_ND, encoder.id)
    return items


def _rank_all(store: Store, encoder: Encoder, cases: Sequence[RetrievalCase]) -> Iterator[Ranked]:
    ids_N, vectors_ND = store.vectors(encoder.id)
    index = VectorIndex.build(ids_N, vectors_ND)
    place_of = {int(key): place for place, key in enumerate(np.sort(ids_N))}
    questions_QD = encoder.encode_queries([case.question for case in cases])
    for case, vector_D in zip(cases, questions_QD, strict=True):
        by_way = rank(store, index, vector_D, case.question)
        yield Ranked(
            case,
            {way: [(place_of[key], score) for key, score in hits] for way, hits in by_way.items()},
        )


def _keys(one: Ranked, way: str, corpus: Sequence[CorpusItem]) -> list[str]:
    """Corpus ids, best first, by one way; "fused" is made of the others as the product does."""
    hits = fuse_rankings(one.rankings, CANDIDATES) if way == "fused" else one.rankings[way]
    return [corpus[place].id for place, _ in hits]


def ranking_metrics(
    rows: Sequence[tuple[Sequence[str], dict[str, int]]], seed: int
) -> dict[str, Metric]:
    """ndcg@10, recall@k and mrr@10 over (ranked keys, grades) of each question."""
    values = {
        "ndcg@10": [ndcg_at(keys, grades, 10) for keys, grades in rows],
        **{f"recall@{k}": [recall_at(keys, g, k) for keys, g in rows] for k in RECALL_AT},
        "mrr@10": [mrr_at(keys, grades, 10) for keys, grades in rows],
    }
    return {name: mean_metric(column, seed) for name, column in values.items()}


def sweep_weights(
    path: Path,
    corpus: Path | None = None,
    limit: int | None = 1000,
    seed: int = 0,
    encoder: Path | None = None,
) -> list[tuple[float, dict[str, float]]]:
    """(weight of words, its metrics) from 0 to 1 in twentieths, highest ndcg@10 first.

    This is how WORDS_WEIGHT in `ragformer.retrieve.retrieve` was chosen: by hand, on development
    data.
    """
    corpus_items, ranked = rank_cases(path, corpus, limit, seed, load_encoder(encoder))
    table = []
    for weight in [step / 20 for step in range(21)]:
        fused = [(fuse_rankings(one.rankings, CANDIDATES, weight), one) for one in ranked]
        rows = [([corpus_items[p].id for p, _ in hits], one.case.grades) for hits, one in fused]
        metrics = {name: metric.value for name, metric in ranking_metrics(rows, seed).items()}
        table.append((weight, metrics))
    return sorted(table, key=lambda row: -row[1]["ndcg@10"])
