"""Search by words: FTS5 ranked by bm25, with its traps walked round.

Every word is quoted (bare punctuation is syntax to FTS5), stop words go, and only the rarest 32
are asked for, joined by OR. Scripts without spaces go to the table of three-character grams.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable

from ragformer.retrieve.fuse import best
from ragformer.store.by_words import Within
from ragformer.store.rows import DENSE_RUN
from ragformer.store.store import Store
from ragformer.text.words import STOP_WORDS, question_words

MAX_WORDS = 32
MAX_COUNTED = 1000  # a pasted page has no more distinct words; each one counted costs a look-up


def search_words(
    store: Store,
    question: str,
    k: int,
    documents: Collection[str] | None = None,
    chunks: Collection[int] | None = None,
) -> list[tuple[int, float]]:
    """The k best (chunk id, score above 0), best first; ties: lower id first.

    `documents` limits the search itself to these document ids, or `chunks` to these chunk ids.
    Any string is a question; one without a letter or digit finds nothing.
    """
    if k < 1:
        return []
    within = None
    if chunks is not None:
        within = Within.chunks(chunks)
    elif documents is not None:
        within = Within.documents(documents)
    runs = list(dict.fromkeys(DENSE_RUN.findall(question)))
    spaced = question_words(DENSE_RUN.sub(" ", question))
    if runs:
        spaced = [word for word in spaced if word not in STOP_WORDS]
    spelled = [spelling for word in spaced for spelling in _spellings(word)]
    score_of = dict(_match(store, "chunk_words", spelled, k, within))
    if runs:
        for key, score in _search_runs(store, runs, spaced, k, within):
            score_of[key] = score_of.get(key, 0.0) + score
    return best(score_of, k)


def idf(n_with: int, n: int) -> float:
    """The inverse document frequency of what n_with of n texts have, as bm25 weighs it; above 0.

    Source: Robertson & Spaerck Jones 1976, "Relevance weighting of search terms".
    """
    return math.log(1 + (n - n_with + 0.5) / (n_with + 0.5))


def _spellings(word: str) -> Iterable[str]:
    """The word, with ss for ß and ß for ss: FTS5 folds accents, but not this letter."""
    return dict.fromkeys((word, word.replace("ß", "ss"), word.replace("ss", "ß")))


def _search_runs(
    store: Store, runs: list[str], spaced: list[str], k: int, within: Within | None
) -> Iterable[tuple[int, float]]:
    """Runs of dense script: their grams; runs too short for one, or grams not found, as pairs."""
    grams = [run[i : i + 3] for run in runs for i in range(len(run) - 2)]
    found = dict(_match(store, "chunk_grams", grams + [w for w in spaced if len(w) > 2], k, within))
    short = [run for run in runs if len(run) < 3]
    pairs = [run[i : i + 2] for run in runs for i in range(max(len(run) - 1, 1))]
    for key, score in _contain(store, short if found else pairs, within):
        found[key] = found.get(key, 0.0) + score
    return found.items()


def _match(
    store: Store, table: str, terms: Iterable[str], k: int, within: Within | None
) -> list[tuple[int, float]]:
    """The k best of one FTS5 table for any of the terms."""
    quoted = _rarest(store, table, [f'"{term}"' for term in dict.fromkeys(terms)])
    return store.best_by_words(table, quoted, k, within) if quoted else []


def _rarest(store: Store, table: str, quoted: list[str]) -> list[str]:
    """At most MAX_WORDS terms, those in the fewest chunks; a term in none is of no use."""
    if len(quoted) <= MAX_WORDS:
        return quoted
    count = f"SELECT count(*) FROM {table} WHERE {table} MATCH ?"
    n_chunks = {term: store.query(count, term)[0][0] for term in quoted[:MAX_COUNTED]}
    known = [term for term in n_chunks if n_chunks[term]]
    return sorted(known, key=lambda term: n_chunks[term])[:MAX_WORDS]


def _contain(
    store: Store, pieces: Iterable[str], within: Within | None
) -> Iterable[tuple[int, float]]:
    """Chunks of dense script that contain the pieces, a rare piece weighing more. Scans them."""
    score_of: dict[int, float] = {}
    limit = "" if within is None else f"AND id IN ({within.ids})"
    sql = f"SELECT id FROM chunks WHERE dense AND instr(context || ' ' || text, ?) {limit}"
    n_dense = store.query("SELECT count(*) FROM chunks WHERE dense")[0][0]
    for piece in list(dict.fromkeys(pieces))[:MAX_WORDS]:
        ids = store.query(sql, piece, *(() if within is None else (within.value,)))
        for (key,) in ids:
            score_of[key] = score_of.get(key, 0.0) + math.log(1 + n_dense / len(ids))
    return score_of.items()
