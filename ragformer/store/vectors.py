"""FAISS over one encoder's stored vectors: a view, discard at will.

Flat search is exact and, up to some 200,000 vectors, as quick to build from the store as to load
from a file, so no file is kept; for more see saved_vectors.py.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt


class VectorIndex:
    """Every vector it was built from, searchable by inner product (cosine, for unit rows)."""

    def __init__(self, ids_N: npt.NDArray[np.int64], flat: Any) -> None:
        self._ids_N = ids_N
        self._flat = flat

    @classmethod
    def build(
        cls, ids_N: npt.NDArray[np.int64], vectors_ND: npt.NDArray[np.float32]
    ) -> VectorIndex:
        """`ids_N`: distinct chunk ids, row i of float32 `vectors_ND` being the vector of ids_N[i].

        Raises ValueError when they differ in number.
        """
        if len(ids_N) != len(vectors_ND):
            raise ValueError(f"{len(ids_N)} ids but {len(vectors_ND)} vectors")
        order = np.argsort(ids_N, kind="stable")
        in_order = bool((np.diff(ids_N) >= 0).all())
        rows = vectors_ND if in_order else vectors_ND[order]
        flat = faiss_module().IndexFlatIP(vectors_ND.shape[1])
        if len(rows):
            flat.add(np.ascontiguousarray(rows, dtype=np.float32))
        return cls(np.asarray(ids_N, dtype=np.int64)[order], flat)

    def __len__(self) -> int:
        return len(self._ids_N)

    def search(
        self,
        vector_D: npt.NDArray[np.float32],
        k: int,
        allowed_ids: Collection[int] | npt.NDArray[np.int64] | None = None,
    ) -> list[tuple[int, float]]:
        """The k best (chunk id, inner product), best first; ties: lower id first.

        `allowed_ids` limits the search itself, so that k of them are found if there are k.
        """
        allowed = None if allowed_ids is None else np.isin(self._ids_N, list(allowed_ids))
        n = len(self) if allowed is None else int(allowed.sum())
        k = min(k, n)
        if k < 1:
            return []
        query_1D = np.ascontiguousarray(vector_D, dtype=np.float32).reshape(1, -1)
        options = None
        if allowed is not None:
            bits = np.packbits(allowed, bitorder="little")
            faiss = faiss_module()
            options = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bits))
        reach = min(k + 1, n)
        while True:
            scores, rows = self._flat.search(query_1D, reach, params=options)
            # FAISS keeps any of those that tie for the last place: reach past them, then choose.
            if reach == n or scores[0, -1] < scores[0, k - 1]:
                break
            reach = min(2 * reach, n)
        found = zip(self._ids_N[rows[0]].tolist(), scores[0].tolist(), strict=True)
        return sorted(found, key=lambda pair: (-pair[1], pair[0]))[:k]


def faiss_module() -> Any:
    """FAISS, loaded when first needed; Any, as its stubs lack what its Python side adds."""
    import faiss

    return faiss
