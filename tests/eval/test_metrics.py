"""Metrics: the official answers' rules, bounds and orders, and the slow definition beside ours."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ragformer.eval.metrics import (
    Metric,
    auc,
    best_threshold,
    exact_match,
    expected_calibration_error,
    hit_at,
    mean_metric,
    metric_of,
    mrr_at,
    ndcg_at,
    normalize_answer,
    paired_metric,
    recall_at,
    refusal_at,
    risk_coverage,
    token_f1,
    usable_golds,
)

words = st.text("abc the.,'", max_size=12)
golds = st.lists(words, max_size=3)
ranking = st.lists(st.integers(0, 9), unique=True, max_size=10)
gold_keys = st.sets(st.integers(0, 12), min_size=1, max_size=5)
cutoff = st.integers(1, 12)
confidences = st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0]), min_size=1, max_size=12)

# Answers


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The  Denver Broncos.", "denver broncos"),
        ("A-b's", "abs"),  # punctuation goes without leaving a space
        ("an anthem", "anthem"),
        ("the", ""),
        ("24–10", "24–10"),  # only ASCII punctuation
    ],
)
def test_normalisation_is_the_official_one(text, normal):
    assert normalize_answer(text) == normal


def test_scores_are_the_official_ones():
    assert exact_match("the Broncos", ["Denver", "Broncos!"]) == 1
    assert exact_match("Broncos", ["Denver Broncos"]) == 0
    assert token_f1("Denver Broncos won", ["Broncos"]) == pytest.approx(0.5)
    assert token_f1("b b c", ["b b d"]) == pytest.approx(2 / 3)  # words count as often as they come
    assert token_f1("Denver", ["x", "Denver"]) == 1  # the gold that fits best
    assert token_f1("", []) == exact_match("", []) == 1  # rightly refused
    assert token_f1("x", []) == exact_match("x", []) == 0
    assert token_f1("", ["x"]) == 0
    assert usable_golds(["the", "x"]) == ["x"]  # 2.0 drops golds of articles alone


@given(words, golds)
def test_answer_scores_lie_in_bounds_and_f1_is_the_kinder(prediction, answers):
    em, f1 = exact_match(prediction, answers), token_f1(prediction, answers)
    assert em in {0.0, 1.0}
    assert em <= f1 <= 1
    assert f1 == token_f1(prediction, answers[::-1])
    if usable_golds(answers) != [""]:
        assert token_f1(prediction, [*answers, prediction]) >= f1  # one more gold never hurts


@given(words, words)
def test_f1_is_symmetric(one, other):
    assume(normalize_answer(one) and normalize_answer(other))
    assert token_f1(one, [other]) == token_f1(other, [one])


# Rankings


@given(ranking, gold_keys, cutoff)
def test_rankings_lie_in_bounds_and_grow_with_the_cutoff(ranked, gold, k):
    assert recall_at(ranked, gold, k) <= recall_at(ranked, gold, k + 1) <= 1
    assert mrr_at(ranked, gold, k) <= mrr_at(ranked, gold, k + 1) <= 1
    assert hit_at(ranked, gold, k) <= hit_at(ranked, gold, k + 1)
    assert hit_at(ranked, gold, k) == (recall_at(ranked, gold, k) > 0)
    assert (mrr_at(ranked, gold, k) > 0) == (recall_at(ranked, gold, k) > 0)


@given(
    ranking, st.dictionaries(st.integers(0, 12), st.integers(1, 3), min_size=1, max_size=4), cutoff
)
def test_ndcg_is_the_gain_over_that_of_the_best_of_all_orders(ranked, grades, k):
    def gain(order):
        return sum(grades.get(key, 0) / math.log2(i + 2) for i, key in enumerate(order[:k]))

    best = max(gain(order) for order in itertools.permutations(grades))
    assert ndcg_at(ranked, grades, k) == pytest.approx(gain(ranked) / best)
    assert 0 <= ndcg_at(ranked, grades, k) <= 1 + 1e-12


@given(ranking, gold_keys, cutoff)
def test_gold_moved_to_the_front_is_never_worse(ranked, gold, k):
    sorted_first = sorted(ranked, key=lambda key: key not in gold)
    grades = dict.fromkeys(gold, 1)
    for metric in (recall_at, mrr_at, hit_at):
        assert metric(sorted_first, gold, k) >= metric(ranked, gold, k)
    assert ndcg_at(sorted_first, grades, k) >= ndcg_at(ranked, grades, k) - 1e-12


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 3)), max_size=12), cutoff)
def test_pages_count_once_in_the_order_of_their_best_passage(pairs, k):
    gold = {("a", 1), ("b", 3)}
    seen: list[tuple[str, int]] = []
    for pair in pairs:  # by hand, one at a time
        if pair not in seen and len(seen) < k:
            seen.append(pair)
    assert hit_at(pairs, gold, k) == float(any(pair in gold for pair in seen))


# Confidences


@given(confidences, st.data())
def test_risk_and_coverage_are_those_of_each_threshold(confidence, data):
    right = data.draw(st.lists(st.booleans(), min_size=len(confidence), max_size=len(confidence)))
    thresholds, coverage, risk = risk_coverage(np.array(confidence), np.array(right))
    assert list(thresholds) == sorted(set(confidence), reverse=True)
    for threshold, covered, wrong in zip(thresholds, coverage, risk, strict=True):
        answered = [ok for value, ok in zip(confidence, right, strict=True) if value >= threshold]
        assert covered == pytest.approx(len(answered) / len(confidence))
        assert wrong == pytest.approx(answered.count(False) / len(answered))


@given(confidences, confidences)
def test_refusal_is_measured_where_enough_are_answered(answerable, others):
    value = refusal_at(
        np.array(answerable + others), np.array([True] * len(answerable) + [False] * len(others))
    )
    best = max(  # over every threshold that answers 80 %
        sum(other < threshold for other in others) / len(others)
        for threshold in answerable
        if sum(one >= threshold for one in answerable) >= 0.8 * len(answerable)
    )
    assert value == pytest.approx(best)


@given(confidences, st.data())
def test_calibration_error_is_the_mean_gap_of_the_bins(confidence, data):
    right = data.draw(st.lists(st.booleans(), min_size=len(confidence), max_size=len(confidence)))
    bins: dict[int, list[tuple[float, bool]]] = {}
    for pair in zip(confidence, right, strict=True):
        bins.setdefault(min(int(pair[0] * 10), 9), []).append(pair)
    slow = sum(
        abs(sum(value for value, _ in rows) - sum(ok for _, ok in rows)) for rows in bins.values()
    ) / len(confidence)
    assert expected_calibration_error(np.array(confidence), np.array(right)) == pytest.approx(slow)


def test_a_confidence_that_says_the_truth_has_no_error():
    right = np.array([True] * 3 + [False])
    assert expected_calibration_error(np.full(4, 0.75), right) == 0
    assert expected_calibration_error(np.ones(4), ~right) == 0.75


@given(confidences, st.data())
def test_no_threshold_is_better_than_the_best(confidence, data):
    scores = st.lists(
        st.sampled_from([0.0, 0.5, 1.0]), min_size=len(confidence), max_size=len(confidence)
    )
    answered, refused = np.array(data.draw(scores)), np.array(data.draw(scores))
    values = np.array(confidence)

    def mean(threshold):
        return np.where(values >= threshold, answered, refused).mean()

    found = best_threshold(values, answered, refused)
    assert mean(found) == pytest.approx(max(mean(t) for t in [*confidence, math.inf]))


# Intervals


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.integers(0, 5))
def test_the_interval_holds_the_mean_and_does_not_change(values, seed):
    metric = mean_metric(values, seed, samples=200)
    assert metric == mean_metric(values, seed, samples=200)
    assert min(values) - 1e-9 <= metric.low <= metric.high <= max(values) + 1e-9
    if len(set(values)) == 1:
        assert metric.low == pytest.approx(metric.high)


def test_the_interval_is_as_wide_as_theory_says():
    values = np.arange(1000) % 2
    metric = mean_metric(values)
    half = 1.96 * 0.5 / math.sqrt(1000)
    assert metric.value == 0.5
    assert metric.low == pytest.approx(0.5 - half, abs=0.004)
    assert metric.high == pytest.approx(0.5 + half, abs=0.004)


def test_a_paired_difference_is_surer_than_the_two_apart():
    rng = np.random.default_rng(0)
    hardness = rng.uniform(0, 0.5, 400)  # of the items, which both ways share
    one, other = hardness + rng.uniform(0, 0.2, 400), hardness + rng.uniform(0, 0.15, 400)
    found = paired_metric(one, other)
    assert found.value == pytest.approx(one.mean() - other.mean())
    assert found.low > 0  # though the intervals of the two overlap
    assert mean_metric(one).low < mean_metric(other).high
    back = paired_metric(other, one)
    assert (back.low, back.high) == pytest.approx((-found.high, -found.low))


def test_any_statistic_has_an_interval_and_what_is_no_number_counts_for_nothing():
    values = np.arange(100) / 100
    assert metric_of(lambda rows: values[rows].mean(), 100, 1).value == pytest.approx(0.495)
    two = np.array([0.0, 1.0])
    ratio = metric_of(lambda rows: math.nan if two[rows].sum() == 0 else 1.0, 2)
    assert ratio == Metric(1.0, 1.0, 1.0)


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.2, 0.7, 1.0]), st.booleans()), max_size=12))
def test_auc_is_the_share_of_pairs_in_the_right_order(rows):
    confidence_N = np.array([confidence for confidence, _ in rows])
    right_N = np.array([right for _, right in rows], dtype=bool)
    pairs = [(a > b) + (a == b) / 2 for a in confidence_N[right_N] for b in confidence_N[~right_N]]
    found = auc(confidence_N, right_N)
    assert found == pytest.approx(sum(pairs) / len(pairs)) if pairs else math.isnan(found)
