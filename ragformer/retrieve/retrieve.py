"""Question to passages: by words, by vectors, fused."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

from ragformer.retrieve.embed import Encoder, Vectors
from ragformer.retrieve.fuse import Ranking, best, weighted_sum
from ragformer.retrieve.words import search_words
from ragformer.store.store import Ids, Store
from ragformer.store.vectors import VectorIndex
from ragformer.types import Passage

CANDIDATES = 100
"""How many of each ranking are fused: a passage below that in both is never wanted."""
WORDS_WEIGHT = 0.8
"""Of the words' score in the fused one, the vectors' being the rest."""
PREFERENCE = 0.1
"""Added to the fused score (0 to 1) of a chunk that the last turn of a chat has quoted."""

RankedBy = dict[str, list[tuple[int, float]]]


def retrieve(
    store: Store,
    index: VectorIndex,
    encoder: Encoder,
    question: str,
    k: int,
    documents: Collection[str] | None = None,
    chunks: Collection[int] | None = None,
    preferred: Collection[int] = (),
) -> list[Passage]:
    """The k best passages for the question, best first, each with its score in either ranking.

    documents, chunks: ids to search in; None for all. preferred: ids of chunks to rank a little
    higher.
    """
    rankings = rank(store, index, encoder.encode_query(question), question, documents, chunks)
    fused = fuse_rankings(rankings, 2 * CANDIDATES if preferred else k)
    if preferred:
        raised = {key: score + PREFERENCE * (key in preferred) for key, score in fused}
        fused = best(raised, k)
    passages = store.passages(fused)
    scores = {name: dict(ranking) for name, ranking in rankings.items()}
    return [
        dataclasses.replace(
            passage,
            found_by={
                name: by_id[passage.chunk_id]
                for name, by_id in scores.items()
                if passage.chunk_id in by_id
            },
        )
        for passage in passages
    ]


def rank(
    store: Store,
    index: VectorIndex,
    vector_D: Vectors,
    question: str,
    documents: Collection[str] | None = None,
    chunks: Collection[int] | None = None,
) -> RankedBy:
    """The candidates by words and by vectors, each best first. `chunks` goes before `documents`."""
    allowed: Collection[int] | Ids | None = chunks
    if chunks is None and documents is not None:
        allowed = store.chunk_ids(documents)
    return {
        "words": search_words(store, question, CANDIDATES, documents, chunks),
        "vectors": index.search(vector_D, CANDIDATES, allowed),
    }


def fuse_rankings(
    rankings: RankedBy, k: int, words_weight: float = WORDS_WEIGHT
) -> list[tuple[int, float]]:
    """One ranking of both by a weighted sum of their stretched scores."""
    ordered: list[Ranking] = [rankings["words"], rankings["vectors"]]
    return weighted_sum(ordered, [words_weight, 1 - words_weight], k)
