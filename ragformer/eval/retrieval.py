"""Does search find the right passage? Words, vectors, both fused, and those reranked.

    corpus -> a store of its own, thrown away -> rankings of every question -> metrics

Each item of the corpus is one chunk, its title where a heading would stand, so what is measured
is what the product does. A way of ranking is a name in `Ranked.rankings`; all else follows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ragformer.answer.reader import Reader, load_decoder
from ragformer.answer.rerank import rerank
from ragformer.errors import InputError
from ragformer.eval.cases import CorpusItem, RetrievalCase, RetrievalSet, sample
from ragformer.eval.metrics import Metric, mean_metric, mrr_at, ndcg_at, paired_metric, recall_at
from ragformer.eval.result import make_result
from ragformer.retrieve.checkpoints import load_peer
from ragformer.retrieve.embed import Encoder, Vectors, load_encoder, passage_text
from ragformer.retrieve.retrieve import CANDIDATES, RankedBy, add_pages, fuse_rankings, rank
from ragformer.store.store import Store
from ragformer.store.vectors import VectorIndex
from ragformer.types import Chunk, Document, Page, Span

RECALL_AT = (1, 5, 10, 20, 100)
COMPARED = ("ndcg@10", "recall@1", "recall@5")
PEER_WAYS = {"vectors": "peer", "fused": "peer-fused"}

Values = dict[str, list[float]]
"""By metric, its value for each question."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A question and its rankings by each way, as (position in the corpus, score)."""

    case: RetrievalCase
    rankings: RankedBy


def run(
    found: RetrievalSet,
    limit: int | None = None,
    seed: int = 0,
    encoder: Path | None = None,
    peer: Path | None = None,
    dims: int | None = None,
    decoder: Path | None = None,
    reread: bool = True,
) -> dict[str, Any]:
    """Measure search: every way of ranking, and how much better one is than another.

    limit, seed: how many questions, and which; the corpus is always whole. encoder: its folder,
    None for the one in the box. peer: a sentence-transformers folder to measure beside it. dims:
    measure the first so many dimensions of the encoder's vectors too. decoder: the folder of what
    reranks, None for the one in the box. reread: rerank too, nearly all of the time it takes.
    """
    loaded, reader = load_encoder(encoder), load_decoder(decoder) if reread else None
    models = {"encoder": loaded.id} | ({"decoder": reader.id} if reader else {})
    values = ranking_values(*rank_set(found, limit, seed, loaded, dims, reader))
    if peer is not None:
        other = load_peer(peer)
        models["peer"] = other.id
        theirs = ranking_values(*rank_set(found, limit, seed, other))
        values |= {label: theirs[way] for way, label in PEER_WAYS.items()}
    metrics = {
        f"{way}/{name}": mean_metric(column, seed)
        for way, columns in values.items()
        for name, column in columns.items()
    }
    n = len(values["words"]["ndcg@10"])
    return make_result("retrieval", n, metrics | differences(values, seed), models)


def rank_set(
    found: RetrievalSet,
    limit: int | None,
    seed: int,
    encoder: Encoder,
    dims: int | None = None,
    reader: Reader | None = None,
) -> tuple[Sequence[CorpusItem], list[Ranked]]:
    """The corpus, and the rankings of every sampled question over it; reranked if by a reader."""
    if dims is not None and not 0 < dims <= encoder.dim:
        raise InputError(f"vectors of {encoder.dim} dimensions have no first {dims}")
    cases = sample(found.cases, limit, seed)
    with (
        TemporaryDirectory(prefix="ragformer-eval-") as folder,
        Store.open(Path(folder), create=True) as store,
    ):
        items = fill(store, found.corpus, encoder)
        return items, list(_rank_all(store, encoder, cases, dims, reader))


def fill(
    store: Store, corpus: Sequence[CorpusItem], encoder: Encoder | None = None
) -> list[CorpusItem]:
    """Store the corpus, item i as the chunk with the i-th id; empty items can't be found and go.

    Without an encoder only words find them.
    """
    items = [item for item in corpus if item.text.strip() or item.title.strip()]
    texts = [item.text if item.text.strip() else item.title for item in items]
    lines = [passage_text("", [item.title], text) for item, text in zip(items, texts, strict=True)]
    vectors_ND = encoder.encode(lines) if encoder else np.zeros((len(lines), 1), np.float32)
    # The corpus is no document whose first page names it: that one is empty.
    pages = [Page(number, "", text) for number, text in enumerate(["", *texts], start=1)]
    chunks = [
        Chunk(n, (item.title,), text, (Span(n + 2, 0, len(text)),), len(text.split()))
        for n, (item, text) in enumerate(zip(items, texts, strict=True))
    ]
    document = Document("corpus", "", (Path("corpus"),), len(pages), datetime.now(UTC))
    store.add_document(document, pages, chunks, vectors_ND, encoder.id if encoder else "none")
    return items


def _rank_all(
    store: Store,
    encoder: Encoder,
    cases: Sequence[RetrievalCase],
    dims: int | None,
    reader: Reader | None,
) -> Iterator[Ranked]:
    ids_N, vectors_ND = store.vectors(encoder.id)
    index = VectorIndex.build(ids_N, vectors_ND)
    short_index = VectorIndex.build(ids_N, first_dims(vectors_ND, dims)) if dims else None
    place_of = {int(key): place for place, key in enumerate(np.sort(ids_N))}
    questions_QD = encoder.encode_queries([case.question for case in cases])
    for case, vector_D in zip(cases, questions_QD, strict=True):
        found = rank(store, index, vector_D, case.question)
        ways = {way: found[way] for way in ("words", "vectors")}
        ways["fused"] = fuse_rankings(found, CANDIDATES)
        if short_index is not None:
            nearest = short_index.search(first_dims(vector_D[None], dims)[0], CANDIDATES)
            ways[f"vectors-{dims}"] = nearest
            short = add_pages(store, case.question, {"words": found["words"], "vectors": nearest})
            ways[f"fused-{dims}"] = fuse_rankings(short, CANDIDATES)
        if reader is not None:
            passages = store.passages(ways["fused"])
            reranked = rerank(reader, case.question, passages)
            ways["reranked"] = [(passage.chunk_id, passage.score) for passage in reranked]
        yield Ranked(
            case,
            {way: [(place_of[key], score) for key, score in hits] for way, hits in ways.items()},
        )


def first_dims(vectors_ND: Vectors, dims: int | None) -> Vectors:
    """The first `dims` dimensions of each vector, scaled to length 1 again; zeros stay zeros.

    Source: Kusupati et al. 2022, "Matryoshka representation learning", arXiv:2205.13147.
    """
    cut_ND = vectors_ND[:, :dims]
    length_N1 = np.linalg.norm(cut_ND, axis=1, keepdims=True)
    scaled_ND: Vectors = cut_ND / np.maximum(length_N1, np.finfo(np.float32).tiny)
    return scaled_ND


def ranking_values(items: Sequence[CorpusItem], ranked: Sequence[Ranked]) -> dict[str, Values]:
    """By way, ndcg@10, recall@k and mrr@10 of every question."""
    return {way: _values(items, ranked, way) for way in ranked[0].rankings}


def _values(items: Sequence[CorpusItem], ranked: Sequence[Ranked], way: str) -> Values:
    rows = [([items[p].id for p, _ in one.rankings[way]], one.case.grades) for one in ranked]
    return {
        "ndcg@10": [ndcg_at(keys, grades, 10) for keys, grades in rows],
        **{f"recall@{k}": [recall_at(keys, g, k) for keys, g in rows] for k in RECALL_AT},
        "mrr@10": [mrr_at(keys, grades, 10) for keys, grades in rows],
    }


def differences(values: dict[str, Values], seed: int) -> dict[str, Metric]:
    """How much higher fused is than others: mean differences, with paired bootstrap intervals.

    fused-better: than the better of words and vectors by that metric. fused-peer-fused: than the
    peer's fused. reranked-fused: how much higher the reranked are than the fused.
    """
    metrics = {}
    for name in COMPARED:
        fused = values["fused"][name]
        better = max(values["words"][name], values["vectors"][name], key=sum)
        metrics[f"fused-better/{name}"] = paired_metric(fused, better, seed)
        if "reranked" in values:
            metrics[f"reranked-fused/{name}"] = paired_metric(values["reranked"][name], fused, seed)
        if "peer-fused" in values:
            theirs = values["peer-fused"][name]
            metrics[f"fused-peer-fused/{name}"] = paired_metric(fused, theirs, seed)
    return metrics
