"""FAISS over one encoder's stored vectors: a view, discard at will.

    question -> every vector in 16 bits -> a few more candidates than wanted -> exact scores -> best

Search is exact. To compare with every vector costs what it takes to fetch them, so halves take a
third of the time; those that come out best are weighed by their whole numbers. Up to some 200,000
that is as quick to build from the store as to load from a file, so no file is kept; for more see
saved_vectors.py.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

REACH = 1.5
"""Candidates for each one wanted: the next ones are too near to be passed over by their halves."""
_ROUNDING = 2.0**-11
"""Of a number held in 16 bits, in parts of it."""


class VectorIndex:
    """Every vector it was built from, searchable by inner product (cosine, for unit rows)."""

    def __init__(
        self, ids_N: npt.NDArray[np.int64], vectors_ND: npt.NDArray[np.float32], halves: Any
    ) -> None:
        """halves: a FAISS index of the vectors, rounded, in the same order."""
        self._ids_N, self._vectors_ND, self._halves = ids_N, vectors_ND, halves
        self._longest = float(np.sqrt(np.einsum("nd,nd->n", vectors_ND, vectors_ND).max(initial=0)))

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
        rows_ND = np.ascontiguousarray(vectors_ND if in_order else vectors_ND[order], np.float32)
        faiss = faiss_module()
        half, product = faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
        halves = faiss.IndexScalarQuantizer(rows_ND.shape[1], half, product)
        if len(rows_ND):
            halves.add(rows_ND)
        return cls(np.asarray(ids_N, dtype=np.int64)[order], rows_ND, halves)

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
        slack = 2 * _ROUNDING * self._longest * float(np.linalg.norm(query_1D))
        reach = min(int(REACH * k) + 1, n)
        while True:
            rounded, rows = self._halves.search(query_1D, reach, params=options)
            scores_R = inner_products(self._vectors_ND[rows[0]], query_1D[0])
            # On until none that was passed over can be, or tie with, one of the best.
            if reach == n or rounded[0, -1] + slack < np.partition(scores_R, -k)[-k]:
                break
            reach = min(2 * reach, n)
        found = zip(self._ids_N[rows[0]].tolist(), scores_R.tolist(), strict=True)
        return sorted(found, key=lambda pair: (-pair[1], pair[0]))[:k]


def inner_products(
    vectors_ND: npt.NDArray[np.float32], vector_D: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Of each row, [N]; the same for equal rows, which @ may add up in different orders."""
    products_N: npt.NDArray[np.float32] = np.einsum("nd,d->n", vectors_ND, vector_D)
    return products_N


def faiss_module() -> Any:
    """FAISS, loaded when first needed; Any, as its stubs lack what its Python side adds."""
    import faiss

    return faiss
