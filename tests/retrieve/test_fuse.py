"""Fusion: order of the rankings does not matter, agreement does, ties go to the lower id."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragformer.retrieve.fuse import weighted_sum

score = st.integers(-1000, 1000).map(float)


def as_ranking(score_of: dict[int, float]) -> list[tuple[int, float]]:
    return sorted(score_of.items(), key=lambda pair: (-pair[1], pair[0]))


ranking = st.dictionaries(st.integers(0, 30), score, max_size=12).map(as_ranking)
rankings = st.lists(ranking, max_size=4)


def is_sorted(result: list[tuple[int, float]]) -> bool:
    return result == as_ranking(dict(result))


@given(rankings, st.integers(0, 40))
def test_every_candidate_once_best_first_at_most_k(lists, k):
    union = {key for one in lists for key, _ in one}
    result = weighted_sum(lists, [1.0] * len(lists), k)
    assert {key for key, _ in result} <= union
    assert len(result) == len({key for key, _ in result}) == min(k, len(union))
    assert is_sorted(result)


@given(ranking)
def test_one_ranking_keeps_its_order(one):
    order = [key for key, _ in one]
    assert [key for key, _ in weighted_sum([one], [1.0], 99)] == order


@given(ranking, ranking)
def test_the_order_of_the_rankings_does_not_matter(a, b):
    assert weighted_sum([a, b], [0.25, 0.75], 99) == weighted_sum([b, a], [0.75, 0.25], 99)


@given(ranking, ranking, st.sampled_from([0.5, 2.0, 16.0]))
def test_a_weighted_sum_forgets_each_rankings_scale(a, b, scale):
    scaled = [(key, value * scale) for key, value in a]
    assert weighted_sum([a, b], [1, 1], 99) == weighted_sum([scaled, b], [1, 1], 99)


def test_known_values():
    a, b = [(1, 9.0), (2, 5.0), (3, 1.0)], [(3, 0.9), (4, 0.1)]
    assert weighted_sum([a, b], [0.5, 1.0], 9) == [(3, 1.0), (1, 0.5), (2, 0.25), (4, 0.0)]
    assert weighted_sum([[(7, 3.0)], a], [1.0, 0.5], 1) == [(7, 1.0)]


def test_a_weight_for_each_ranking():
    with pytest.raises(ValueError, match="shorter"):
        weighted_sum([[(1, 1.0)], [(2, 1.0)]], [1.0], 5)
