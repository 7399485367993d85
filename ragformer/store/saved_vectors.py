"""The vectors of a big collection, searched in the file beside the store.

    question -> the nearest lists of the file -> candidates by their codes -+-> exact scores -> best
             -> chunks added since the file was made, every one ------------+   (from the store)

A code keeps a number in one byte, so candidates come a little out of order; the stored vectors put
them right. A search among some chunks only looks into every list, and goes on until no code that is
left could still belong to a better chunk: it is exact.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from ragformer.store.read_vectors import Ids, Vectors, unpack_vectors
from ragformer.store.vector_file import Label, load
from ragformer.store.vectors import VectorIndex, faiss_module, inner_products

if TYPE_CHECKING:
    from ragformer.store.store import Store

REACH = 2
"""Candidates for each one wanted: they are weighed by their codes, and some may be gone."""
_SLACK = 1e-5  # of sums in float32


class SavedIndex:
    """Searches as `VectorIndex` does; without `allowed_ids` it may miss a few of the best."""

    def __init__(self, store: Store, label: Label, lists: Any, since: VectorIndex) -> None:
        """lists: the file's FAISS index. since: the chunks that it does not have."""
        self._store, self._label, self._lists, self._since = store, label, lists, since

    def __len__(self) -> int:
        return int(self._lists.ntotal) + len(self._since)

    def search(
        self,
        vector_D: Vectors,
        k: int,
        allowed_ids: Collection[int] | Ids | None = None,
    ) -> list[tuple[int, float]]:
        """The k best (chunk id, inner product), best first; ties: lower id first.

        Exact where `allowed_ids` limits the search.
        """
        if k < 1:
            return []
        vector_D = np.ascontiguousarray(vector_D, dtype=np.float32)
        if allowed_ids is None:
            found = self._near(vector_D, k)
        else:
            if not isinstance(allowed_ids, np.ndarray):
                allowed_ids = np.fromiter(allowed_ids, np.int64, len(allowed_ids))
            found = self._among(vector_D, k, allowed_ids[allowed_ids <= self._label.last_id])
        found += self._since.search(vector_D, k, allowed_ids)
        return sorted(found, key=lambda pair: (-pair[1], pair[0]))[:k]

    def _near(self, vector_D: Vectors, k: int) -> list[tuple[int, float]]:
        """The best of the nearest lists; of more lists where too many there are gone."""
        reach, n_probe = REACH * k, int(self._lists.nprobe)
        while True:
            ids, _ = self._candidates(vector_D, reach, n_probe)
            found = self._scored(vector_D, ids)
            if len(found) >= k or (reach >= self._lists.ntotal and n_probe >= self._lists.nlist):
                return found
            reach, n_probe = 4 * reach, 4 * n_probe

    def _among(self, vector_D: Vectors, k: int, allowed_ids: Ids) -> list[tuple[int, float]]:
        """The best of these chunks, surely: no code that was passed over can be nearer."""
        bits = np.zeros(self._label.last_id + 1, bool)
        bits[allowed_ids] = True
        within = faiss_module().IDSelectorBitmap(np.packbits(bits, bitorder="little"))
        doubt = (self._label.error + _SLACK) * float(np.linalg.norm(vector_D))
        reach = REACH * k
        while True:
            ids, scores = self._candidates(vector_D, reach, int(self._lists.nlist), within)
            found = self._scored(vector_D, ids)
            if len(ids) < reach:
                return found
            if len(found) >= k and sorted(s for _, s in found)[-k] > scores[-1] + doubt:
                return found
            reach *= 4

    def _candidates(
        self, vector_D: Vectors, n: int, n_probe: int, within: Any = None
    ) -> tuple[Ids, npt.NDArray[np.float32]]:
        """Up to n ids with their scores by code, best first."""
        how = faiss_module().SearchParametersIVF(nprobe=n_probe, sel=within)
        scores, ids = self._lists.search(vector_D[None], n, params=how)
        real = ids[0] >= 0
        return ids[0][real], scores[0][real]

    def _scored(self, vector_D: Vectors, ids: Ids) -> list[tuple[int, float]]:
        """Those of the chunks that are still there, with their exact scores."""
        ids, vectors_ND = stored_vectors(self._store, self._label.encoder_id, ids)
        if not len(ids):
            return []
        return list(zip(ids.tolist(), inner_products(vectors_ND, vector_D).tolist(), strict=True))


class AnyIndex(Protocol):
    """Every vector of one encoder, searchable: all in memory, in a file, or in shards."""

    def __len__(self) -> int: ...

    def search(
        self, vector_D: Vectors, k: int, allowed_ids: Collection[int] | Ids | None = None
    ) -> list[tuple[int, float]]:
        """The k best (chunk id, inner product), best first; ties: lower id first."""
        ...


def open_index(store: Store, encoder_id: str) -> AnyIndex:
    """Every vector of this encoder, searchable: by the file where there is one, else all at once.

    Raises EncoderMismatchError unless every chunk has one.
    """
    found = load(store.folder)
    if found is None or found[0].encoder_id != encoder_id or found[0].last_id > last_id(store):
        store.check_encoder(encoder_id)
        return VectorIndex.build(*store.vectors(encoder_id))
    label, lists = found
    if store.generation != label.generation:
        store.check_encoder(encoder_id)
    since = VectorIndex.build(*vectors_since(store, encoder_id, label.last_id))
    return SavedIndex(store, label, lists, since)


def last_id(store: Store) -> int:
    """The greatest id that any chunk ever had here: none is given twice."""
    rows = store.query("SELECT seq FROM sqlite_sequence WHERE name = 'chunks'")
    return int(rows[0][0]) if rows else 0


def stored_vectors(store: Store, encoder_id: str, ids: Ids) -> tuple[Ids, Vectors]:
    """(ids_N ascending, vectors_ND) of those of these chunks that have one."""
    sql = "SELECT chunk_id, vector FROM vectors WHERE encoder_id = ?"
    sql += " AND chunk_id IN (SELECT value FROM json_each(?))"
    return unpack_vectors(store.query(sql, encoder_id, json.dumps(ids.tolist())), encoder_id)


def vectors_since(store: Store, encoder_id: str, key: int) -> tuple[Ids, Vectors]:
    """(ids_N ascending, vectors_ND) of the chunks whose id is greater."""
    sql = "SELECT chunk_id, vector FROM vectors WHERE encoder_id = ? AND chunk_id > ?"
    return unpack_vectors(store.query(sql, encoder_id, key), encoder_id)
