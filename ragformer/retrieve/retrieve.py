"""Question to passages: by words and document names, by vectors, fused; the best by whole pages."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

from ragformer.retrieve.embed import Encoder, Vectors
from ragformer.retrieve.fuse import Ranking, best, weighted_sum
from ragformer.retrieve.names import credited, credits, named
from ragformer.retrieve.page_words import page_shares
from ragformer.retrieve.words import search_words
from ragformer.store.saved_vectors import AnyIndex
from ragformer.store.store import Ids, Store
from ragformer.types import Passage

CANDIDATES = 100
"""How many of each ranking are fused: a passage below that in both is never wanted."""
WORDS_WEIGHT = 0.8
"""Of the words' score in the fused one, the vectors' being the rest."""
PAGED = 20
"""So many of the best by words and vectors are weighed by their pages; the others stay behind."""
PAGES_WEIGHT = 0.5
"""Of the share of the question that stands on a passage's page, words and vectors together being 1.

By hand: for 132 questions to real PDFs the right page is in the first 1 / 5 / 10 with 0 for 0.538 /
0.856 / 0.932, with 0.4 for 0.583 / 0.886 / 0.924, with 0.6 for 0.606 / 0.886 / 0.924; with 0.5 the
right one of 2,067 SQuAD dev paragraphs is first for 0.819 of 1,500 questions, with 0 for 0.800."""
PREFERENCE = 0.1
"""Added to the fused score (0 to 1) of a chunk that the last turn of a chat has quoted."""

RankedBy = dict[str, list[tuple[int, float]]]


def retrieve(
    store: Store,
    index: AnyIndex,
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
    index: AnyIndex,
    vector_D: Vectors,
    question: str,
    documents: Collection[str] | None = None,
    chunks: Collection[int] | None = None,
) -> RankedBy:
    """The candidates by "words" and by "vectors", what "names" add to words, and the best of all by
    "pages", each best first.

    `chunks` goes before `documents`.
    """
    allowed: Collection[int] | Ids | None = chunks
    if chunks is None and documents is not None:
        allowed = store.chunk_ids(documents)
    by_words = search_words(store, question, CANDIDATES, documents, chunks)
    by_vectors = index.search(vector_D, CANDIDATES, allowed)
    return add_pages(store, question, {"words": by_words, "vectors": by_vectors})


def add_pages(store: Store, question: str, rankings: RankedBy) -> RankedBy:
    """The rankings by words and vectors, what the candidates gain by their documents' names, and
    the best of all fused by what their pages hold."""
    keys = dict.fromkeys(key for ranking in rankings.values() for key, _ in ranking)
    names = named(store, question, list(keys))
    rankings = {**rankings, "names": credits(store, names)}
    chunks = [key for key, _ in fuse_rankings(rankings, PAGED)]
    return {**rankings, "pages": page_shares(store, question, chunks, names)}


def fuse_rankings(
    rankings: RankedBy, k: int, words_weight: float = WORDS_WEIGHT
) -> list[tuple[int, float]]:
    """One ranking, scores from 0 to 1: a weighted sum of words' and vectors' stretched scores,
    to which the share of the question on the page is added where it is known. What a chunk gained
    by its document's name is part of its score by words."""
    by_words = credited(rankings["words"], rankings.get("names", ()))
    ordered: list[Ranking] = [by_words, rankings["vectors"]]
    fused = dict(weighted_sum(ordered, [words_weight, 1 - words_weight], 2 * CANDIDATES))
    shares = dict(rankings.get("pages", ()))
    scale = 1 + PAGES_WEIGHT
    return best(
        {key: (fused[key] + PAGES_WEIGHT * shares.get(key, 0.0)) / scale for key in fused}, k
    )
