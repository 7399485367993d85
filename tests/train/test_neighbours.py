"""Like rows come side by side, and a batch is runs of them."""

from __future__ import annotations

import itertools
import random

import numpy as np

from ragformer.train.neighbours import NEIGHBOURS, draw_rows, near_order


def test_neighbours_in_the_order_are_alike_and_every_row_stays():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(16, 8)).repeat(64, axis=0)
    vectors = (centres + 0.1 * rng.normal(size=centres.shape)).astype(np.float32)
    shuffled = rng.permutation(len(vectors))
    order = near_order(vectors[shuffled], seed=0)
    assert sorted(order) == list(range(len(vectors)))
    cluster = shuffled[order] // 64
    assert np.mean(cluster[1:] == cluster[:-1]) > 0.9
    assert order == near_order(vectors[shuffled], seed=0)


def test_equal_rows_have_an_order_too():
    assert sorted(near_order(np.ones((100, 4), np.float32), seed=1)) == list(range(100))


def test_a_draw_is_runs_of_different_rows():
    rows = draw_rows(1000, 4 * NEIGHBOURS, random.Random(0))
    assert len(rows) == len(set(rows)) <= 4 * NEIGHBOURS
    assert sum(b == (a + 1) % 1000 for a, b in itertools.pairwise(rows)) > 2 * NEIGHBOURS
    assert sorted(draw_rows(5, 64, random.Random(0))) == list(range(5))
