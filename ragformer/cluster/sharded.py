"""All shards of a collection as one Store: what reads one store reads this unchanged.

    query -+-> every shard's rows, at once -> one list; counts summed
           +-> bm25: counts of every shard -> summed -> the best of each by them -> the best of all

A chunk of shard s is known outside it by its own id times the number of shards, plus s. So every
whole number in a column called id or rowid goes out so, and lists of ids come back in the same way.
ORDER BY and LIMIT hold within a shard only, but for search by words.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ragformer.cluster.layout import count_shards, shard_folder
from ragformer.cluster.shard import Fault, Shard
from ragformer.errors import StoreError, StoreReadOnlyError
from ragformer.retrieve.fuse import best
from ragformer.store.by_words import Within
from ragformer.store.read_vectors import Ids, Vectors
from ragformer.store.store import Store
from ragformer.types import Document

_IDS = frozenset({"id", "rowid"})


class Asker(Protocol):
    """Asks shards by their numbers, all at once; see `Shard.call`."""

    def ask(self, calls: Mapping[int, tuple[Any, ...]]) -> dict[int, Any]: ...

    def close(self) -> None: ...


class Threads:
    """Shards opened in this process, asked by a thread each."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._shards = [Shard(folder) for folder in folders]
        self._threads = ThreadPoolExecutor(min(len(folders), 32))

    def ask(self, calls: Mapping[int, tuple[Any, ...]]) -> dict[int, Any]:
        waiting = {
            number: self._threads.submit(self._shards[number].call, *call)
            for number, call in calls.items()
        }
        return {number: answer.result() for number, answer in waiting.items()}

    def close(self) -> None:
        self._threads.shutdown()
        for shard in self._shards:
            shard.close()


class ShardedStore(Store):
    """For reading only: shards are written by `index --engine ray`."""

    def __init__(self, folder: Path, start: Callable[[Sequence[Path]], Asker] = Threads) -> None:
        """start: makes what asks the shards in these folders."""
        self.folder = folder
        self.readonly = True
        self._n = count_shards(folder)
        self._faults: dict[int, str] = {}
        self._generation: tuple[int, object] = 0, None
        self._documents: tuple[int, list[Document]] | None = None
        self._asker = start([shard_folder(folder, number) for number in range(self._n)])

    def close(self) -> None:
        self._asker.close()

    @property
    def missing(self) -> tuple[str, ...]:
        """The shards that could not be asked when last tried, a sentence each."""
        return tuple(
            f"shard {number} of the {self._n} of this collection was not searched: {reason}; see "
            f"to it, or index the files again with `ragformer index --engine ray -c "
            f"{self.folder.name}`"
            for number, reason in sorted(self._faults.items())
        )

    @property
    def generation(self) -> int:
        """A number that grows with every change of what can be asked; looks for lost shards."""
        calls = dict.fromkeys(range(self._n), ("generation",))
        now = self._asked(calls, {}), self._faults
        if now != self._generation[1]:
            self._generation = self._generation[0] + 1, now
        return self._generation[0]

    def named_rows(self, sql: str, *values: Any) -> tuple[list[str], list[tuple[Any, ...]]]:
        local = self._local(values)
        answers = self._each("rows", lambda number: (sql, local[number]))
        names: list[str] = next(iter(answers.values()))[0]
        # max(id) is asked for how many rows there are at most: that, too, adds up.
        if len(names) == 1 and names[0].startswith(("count(", "max(")):
            numbers = [rows[0][0] for _, rows in answers.values()]
            return names, [(sum(number for number in numbers if number is not None),)]
        marked = [place for place, name in enumerate(names) if name in _IDS]
        return names, [
            self._outside(row, marked, number) if marked else row
            for number, (_, rows) in answers.items()
            for row in rows
        ]

    def documents(self, within: Sequence[str] = ()) -> list[Document]:
        if within:
            return super().documents(within)
        generation = self.generation
        if self._documents is None or self._documents[0] != generation:
            self._documents = generation, super().documents()
        return list(self._documents[1])

    def best_by_words(
        self, table: str, phrases: Sequence[str], k: int, within: Within | None = None
    ) -> list[tuple[int, float]]:
        """With what is rare in the whole collection."""
        own: list[Within | None] = [None] * self._n
        if within is not None:
            values = self._local([within.value])
            own = [dataclasses.replace(within, value=value) for (value,) in values]
        counts = self._each("counts", lambda _: (table, phrases))
        shared = reduce(add, counts.values())
        found = self._each(
            "ranked", lambda s: (table, phrases, k, own[s], counts.get(s, shared), shared)
        )
        return self._best(found, k)

    def encoders(self) -> dict[str, int]:
        counts: Counter[str] = Counter()
        for encoder_id, n in self.query("SELECT encoder_id, count(*) FROM vectors GROUP BY 1"):
            counts[encoder_id] += n
        return dict(sorted(counts.items()))

    def vectors(self, encoder_id: str) -> tuple[Ids, Vectors]:
        parts = self._each("vectors", lambda _: (encoder_id,))
        full = [(ids * self._n + number, rows) for number, (ids, rows) in parts.items() if len(ids)]
        if not full:
            return np.zeros(0, np.int64), np.zeros((0, 0), np.float32)
        ids_N = np.concatenate([ids for ids, _ in full])
        order = np.argsort(ids_N)
        return ids_N[order], np.concatenate([rows for _, rows in full])[order]

    def near(
        self, encoder_id: str, vector_D: Vectors, k: int, allowed: Ids | None
    ) -> list[tuple[int, float]]:
        """The k best (chunk id, inner product) of all shards, best first; ties: lower id first."""
        own = [None if allowed is None else self._own(allowed, s) for s in range(self._n)]
        found = self._each("near", lambda number: (encoder_id, vector_D, k, own[number]))
        return self._best(found, k)

    def n_vectors(self, encoder_id: str) -> int:
        return sum(self._each("n_vectors", lambda _: (encoder_id,)).values())

    @contextmanager
    def writing(self, changes: int = 1) -> Iterator[sqlite3.Connection]:
        raise self._written_elsewhere()
        yield

    def indexing(self) -> AbstractContextManager[None]:
        raise self._written_elsewhere()

    def check(self) -> list[str]:
        """The faults of every shard, and the shards that cannot be asked."""
        self.generation  # noqa: B018 (looks for lost shards)
        found = self._each("faults")
        told = [f"shard {number}: {fault}" for number, faults in found.items() for fault in faults]
        return [*self.missing, *told]

    def _written_elsewhere(self) -> StoreReadOnlyError:
        return StoreReadOnlyError(
            f"collection {self.folder.name} is kept in {self._n} shards, which only "
            f"`ragformer index --engine ray -c {self.folder.name} PATH` writes: it adds what is "
            "new, and with --prune forgets files that were deleted"
        )

    def _each(
        self, method: str, values: Callable[[int], tuple[Any, ...]] = lambda _: ()
    ) -> dict[int, Any]:
        """What every shard answers, by its number; one that cannot is noted and left out.

        Raises StoreError where none can.
        """
        calls = {s: (method, *values(s)) for s in range(self._n) if s not in self._faults}
        return self._asked(calls, self._faults)

    def _asked(
        self, calls: Mapping[int, tuple[Any, ...]], faults: Mapping[int, str]
    ) -> dict[int, Any]:
        """What these shards answer; those that cannot are noted with the faults known already."""
        answers = self._asker.ask(calls)
        lost = {s: answer.reason for s, answer in answers.items() if isinstance(answer, Fault)}
        self._faults = {**faults, **lost}  # in one step: other threads read it
        given = {s: a for s, a in sorted(answers.items()) if not isinstance(a, Fault)}
        if not given:
            raise StoreError(
                f"none of the {self._n} shards of collection {self.folder.name} can be asked: "
                f"{self._faults[min(self._faults)]}"
            )
        return given

    def _best(
        self, found: Mapping[int, Sequence[tuple[int, float]]], k: int
    ) -> list[tuple[int, float]]:
        return best({key * self._n + s: v for s, hits in found.items() for key, v in hits}, k)

    def _outside(self, row: tuple[Any, ...], marked: Collection[int], s: int) -> tuple[Any, ...]:
        """A row of shard s with its ids as they are known outside."""
        values = list(row)
        for place in marked:
            if isinstance(values[place], int):
                values[place] = values[place] * self._n + s
        return tuple(values)

    def _local(self, values: Sequence[Any]) -> list[list[Any]]:
        """The values as each shard takes them: lists of ids cut down to its own."""
        parts = [_ids(value) for value in values]
        return [
            [
                value if ids is None else json.dumps(self._own(ids, number).tolist())
                for value, ids in zip(values, parts, strict=True)
            ]
            for number in range(self._n)
        ]

    def _own(self, ids: Collection[int] | Ids, number: int) -> Ids:
        """The own ids of those of these chunks that lie in a shard."""
        known = ids if isinstance(ids, np.ndarray) else np.fromiter(ids, np.int64, len(ids))
        return np.asarray(known[known % self._n == number] // self._n, dtype=np.int64)


class ShardedIndex:
    """Every vector of one encoder in all shards; searches as `VectorIndex` does."""

    def __init__(self, store: ShardedStore, encoder_id: str) -> None:
        self._store, self._encoder_id = store, encoder_id
        self._n_vectors = store.n_vectors(encoder_id)

    def __len__(self) -> int:
        return self._n_vectors

    def search(
        self, vector_D: Vectors, k: int, allowed_ids: Collection[int] | Ids | None = None
    ) -> list[tuple[int, float]]:
        if allowed_ids is not None and not isinstance(allowed_ids, np.ndarray):
            allowed_ids = np.fromiter(allowed_ids, np.int64, len(allowed_ids))
        return self._store.near(self._encoder_id, vector_D, k, allowed_ids)


def _ids(value: Any) -> Ids | None:
    """The ids in a JSON list of whole numbers; None for anything else."""
    if not (isinstance(value, str) and value.startswith("[") and len(value) > 2):
        return None
    try:
        listed = json.loads(value)
    except ValueError:
        return None
    if not all(type(item) is int for item in listed):
        return None
    return np.array(listed, dtype=np.int64)
