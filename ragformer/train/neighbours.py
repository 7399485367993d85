"""Batches whose passages are alike: negatives that are hard to tell.

a vector of each row -> an order with like rows side by side -> runs of it from random places
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]

NEIGHBOURS = 16
"""Rows drawn together."""


def draw_rows(n: int, batch: int, rng: random.Random) -> list[int]:
    """At most `batch` different rows, in runs of NEIGHBOURS from random places."""
    starts = [rng.randrange(n) for _ in range(-(-batch // NEIGHBOURS))]
    runs = ((start + i) % n for start in starts for i in range(NEIGHBOURS))
    return list(dict.fromkeys(runs))[:batch]


def near_order(vectors_ND: Vectors, seed: int) -> list[int]:
    """The rows so that those side by side are alike: halved again and again along the line
    through two of them (a random-pair variant of Bentley's k-d tree, 1975)."""
    rng = np.random.default_rng(seed)

    def halved(rows: Rows) -> Iterator[int]:
        if len(rows) <= NEIGHBOURS:
            yield from rows.tolist()
            return
        a, b = vectors_ND[rng.choice(rows, 2, replace=False)]
        rows = rows[np.argsort(vectors_ND[rows] @ (a - b), kind="stable")]
        for half in np.array_split(rows, 2):
            yield from halved(half)

    return list(halved(np.arange(len(vectors_ND))))
