"""One shard of a collection, and what it answers on its own.

Rows of any statement; the nearest vectors; and the best by words, weighed by what is rare in the
whole collection. FTS5's bm25 knows its own table only, so a phrase's score is taken apart and put
together again: with f the phrase's count in a row and K what its length makes of it,

    score = idf * f (k1 + 1) / (f + K),    K = k1 (1 - b + b * length / mean length)

idf and the mean length are the shard's, known, and go; those of the collection take their places.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ragformer.errors import NotFoundError, RagformerError
from ragformer.store.by_words import Within, ranked_by_words
from ragformer.store.files import DATABASE
from ragformer.store.read_vectors import Ids, Vectors
from ragformer.store.saved_vectors import AnyIndex, open_index
from ragformer.store.store import Store

_K1, _B = 1.2, 0.75  # fixed in FTS5 (fts5_aux.c, fts5Bm25Function), as is the floor of its idf
_LEAST_IDF = 1e-6


@dataclass(frozen=True, slots=True)
class Counts:
    """Of a word table: its rows, its tokens, and how many rows have each of some phrases."""

    n_rows: int
    n_tokens: int
    n_with: tuple[int, ...]

    def __add__(self, other: Counts) -> Counts:
        both = zip(self.n_with, other.n_with, strict=True)
        return Counts(
            self.n_rows + other.n_rows, self.n_tokens + other.n_tokens, tuple(map(sum, both))
        )

    def idf(self, phrase: int) -> float:
        """As FTS5 weighs the phrase of this number."""
        n_with = self.n_with[phrase]
        idf = math.log((self.n_rows - n_with + 0.5) / (n_with + 0.5))
        return idf if idf > 0 else _LEAST_IDF

    def length_weight(self, n_tokens: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """K of rows of so many tokens."""
        return _K1 * (1 - _B + _B * n_tokens * self.n_rows / self.n_tokens)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a shard cannot be asked, or not be written: a sentence."""

    reason: str


class Shard:
    """The store in `folder`, opened when first asked; `call` is the way in from elsewhere."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._store: Store | None = None
        self._file: tuple[int, int] | None = None
        self._vectors: tuple[int, str, AnyIndex] | None = None

    def call(self, method: str, *values: Any) -> Any:
        """The method's answer, or a Fault where this shard cannot give one."""
        try:
            return getattr(self, method)(*values)
        except (RagformerError, OSError) as error:
            return Fault(str(error))

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = self._vectors = self._file = None

    @property
    def store(self) -> Store:
        if self._store is None:
            self._find()
            self._store = Store.open(self.folder)
        return self._store

    def generation(self) -> int:
        """Of the store, and a look whether its file is still the one that was opened."""
        found = self._find()
        if self._file not in (None, found):
            self.close()
        self._file = found
        return self.store.generation

    def _find(self) -> tuple[int, int]:
        """Which file it is; one without a byte would open as a store with nothing in it."""
        try:
            stat = (self.folder / DATABASE).stat()
        except FileNotFoundError as error:
            self.close()
            raise NotFoundError(f"there is no {DATABASE} in {self.folder}") from error
        if not stat.st_size:
            self.close()
            raise NotFoundError(f"{DATABASE} in {self.folder} is empty (0 bytes)")
        return stat.st_dev, stat.st_ino

    def rows(self, sql: str, values: Sequence[Any]) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Names of the columns, and the rows."""
        return self.store.named_rows(sql, *values)

    def counts(self, table: str, phrases: Sequence[str]) -> Counts:
        """Of one FTS5 table; phrases: as MATCH takes them."""
        [(block,)] = self.store.query(f"SELECT block FROM {table}_data WHERE id = 1")
        n_rows, *n_tokens = _varints(block) or [0]  # "the averages record" of fts5_index.c
        count = f"SELECT count(*) FROM {table} WHERE {table} MATCH ?"
        n_with = tuple(int(self.store.query(count, phrase)[0][0]) for phrase in phrases)
        return Counts(n_rows, sum(n_tokens), n_with)

    def ranked(
        self,
        table: str,
        phrases: Sequence[str],
        k: int,
        within: Within | None,
        ours: Counts,
        shared: Counts,
    ) -> list[tuple[int, float]]:
        """The best rows by bm25 in a collection with the `shared` counts, best first.

        table, phrases, within: as for `Store.best_by_words`. ours: the counts of this table alone.
        """
        limits = () if within is None else (within.value,)
        alone = ranked_by_words(table, within)
        lengths = f"SELECT found.rowid, score, sz FROM ({alone}) AS found"
        lengths += f" JOIN {table}_docsize AS size ON size.id = found.rowid"
        ids, scores = np.zeros(0, np.int64), np.zeros(0)
        for n, phrase in enumerate(phrases):
            rows = self.store.query(lengths, phrase, *limits, -1) if ours.n_with[n] else []
            if not rows:
                continue
            n_tokens = np.array([_tokens(row[2]) for row in rows], dtype=float)
            score = np.array([row[1] for row in rows])
            rest = (_K1 + 1) * ours.idf(n) / score - 1  # K / f
            rest *= shared.length_weight(n_tokens) / ours.length_weight(n_tokens)
            ids = np.append(ids, [row[0] for row in rows])
            scores = np.append(scores, shared.idf(n) * (_K1 + 1) / (1 + rest))
        keys, place = np.unique(ids, return_inverse=True)
        totals = np.bincount(place, scores, len(keys))
        order = np.lexsort((keys, -totals))[:k]
        return list(zip(keys[order].tolist(), totals[order].tolist(), strict=True))

    def near(
        self, encoder_id: str, vector_D: Vectors, k: int, allowed: Ids | None
    ) -> list[tuple[int, float]]:
        """The k best by vectors, best first."""
        return self._index(encoder_id).search(vector_D, k, allowed)

    def vectors(self, encoder_id: str) -> tuple[Ids, Vectors]:
        return self.store.vectors(encoder_id)

    def n_vectors(self, encoder_id: str) -> int:
        """How many vectors `near` searches; raises EncoderMismatchError unless all are there."""
        return len(self._index(encoder_id))

    def faults(self) -> list[str]:
        return self.store.check()

    def _index(self, encoder_id: str) -> AnyIndex:
        now = self.store.generation, encoder_id
        if self._vectors is None or self._vectors[:2] != now:
            self._vectors = *now, open_index(self.store, encoder_id)
        return self._vectors[2]


def _tokens(sizes: bytes) -> int:
    """Of a row: the sum over its columns, mostly two of a byte each."""
    return sizes[0] + sizes[1] if len(sizes) == 2 else sum(_varints(sizes))


def _varints(block: bytes) -> list[int]:
    """SQLite's numbers of up to nine bytes, seven bits in each, the highest first."""
    numbers, value = [], 0
    for byte in block:
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            numbers.append(value)
            value = 0
    return numbers
