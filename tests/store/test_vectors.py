"""Vector search is exact: the same ids as sorting every inner product."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragformer.store.vectors import VectorIndex

# Small whole numbers: inner products are exact, and ties are common.
number = st.integers(-3, 3)
row = st.lists(number, min_size=4, max_size=4)


@given(
    st.lists(row, max_size=30),
    row,
    st.integers(-1, 40),
    st.none() | st.sets(st.integers(0, 90), max_size=30),
)
def test_search_is_the_sorted_list_of_inner_products(rows, query, k, allowed):
    ids_N = np.arange(len(rows), dtype=np.int64)[::-1] * 3
    vectors_ND = np.array(rows, dtype=np.float32).reshape(len(rows), 4)
    query_D = np.array(query, dtype=np.float32)
    scores = zip(ids_N.tolist(), (vectors_ND @ query_D).tolist(), strict=True)
    wanted = sorted(
        (pair for pair in scores if allowed is None or pair[0] in allowed),
        key=lambda pair: (-pair[1], pair[0]),
    )
    index = VectorIndex.build(ids_N, vectors_ND)
    assert index.search(query_D, k, allowed) == wanted[: max(k, 0)]
    assert len(index) == len(rows)


@pytest.mark.parametrize("k", [1, 5, 50, 150])
def test_among_many_equal_scores_the_lowest_ids_are_kept(k):
    random = np.random.default_rng(k)
    vectors_ND = random.integers(-2, 3, (7000, 4)).astype(np.float32)
    query_D = np.array([1, -1, 2, 0], np.float32)
    wanted = np.lexsort((np.arange(7000), -(vectors_ND @ query_D)))[:k]
    index = VectorIndex.build(np.arange(7000), vectors_ND)
    assert [key for key, _ in index.search(query_D, k)] == wanted.tolist()


def test_an_empty_store_has_an_empty_index(store):
    ids_N, vectors_ND = store.vectors("none")
    assert VectorIndex.build(ids_N, vectors_ND).search(np.ones(3, np.float32), 5) == []


def test_rows_and_ids_must_match():
    with pytest.raises(ValueError, match="2 ids but 1 vectors"):
        VectorIndex.build(np.arange(2), np.ones((1, 4), np.float32))
