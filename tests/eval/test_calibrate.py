"""A threshold does what its point in the table says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragformer.answer.reader import load_decoder
from ragformer.errors import InputError
from ragformer.eval.calibrate import choose, cross_fit, fit, sweep, thin, with_passages_found
from ragformer.eval.cases import ReadingCase
from ragformer.eval.metrics import refusal_at
from ragformer.retrieve.embed import load_encoder

row = st.tuples(st.sampled_from([0.0, 0.1, 0.4, 0.5, 0.9, 1.0]), st.booleans(), st.booleans())
rows = st.lists(row, min_size=1, max_size=15).map(lambda found: [(0.3, True, True), *found])


def points_of(found):
    confidence, right, answerable = (np.array(column) for column in zip(*found, strict=True))
    return sweep(confidence, right, answerable)


@given(rows)
def test_each_point_is_what_answering_from_there_on_does(found):
    points = points_of(found)
    assert [p.threshold for p in points] == sorted({c for c, _, _ in found}, reverse=True)
    for point in points:
        answered = [(r, a) for c, r, a in found if c >= point.threshold]
        answerable = [c for c, _, a in found if a]
        others = [c for c, _, a in found if not a]
        assert point.coverage == pytest.approx(
            sum(c >= point.threshold for c in answerable) / len(answerable)
        )
        assert point.risk == pytest.approx(sum(not (r and a) for r, a in answered) / len(answered))
        if others:
            refused = sum(c < point.threshold for c in others) / len(others)
            assert point.refusal == pytest.approx(refused)
        else:
            assert point.refusal is None


@given(rows, st.sampled_from([0.2, 0.5, 0.8, 1.0]))
def test_the_choice_covers_enough_and_no_higher_one_does(found, coverage):
    points = points_of(found)
    chosen = choose(points, coverage)
    assert chosen.coverage >= coverage - 1e-9
    assert all(p.coverage < coverage for p in points if p.threshold > chosen.threshold)
    confidence, _, answerable = (np.array(column) for column in zip(*found, strict=True))
    if not answerable.all():
        assert chosen.refusal == pytest.approx(refusal_at(confidence, answerable, coverage))


@given(rows)
def test_a_thinned_table_is_a_part_of_it_down_to_full_coverage(found):
    points = points_of(found)
    thinned = thin(points, 5)
    assert len(thinned) <= 5
    thresholds = [point.threshold for point in thinned]
    assert thresholds == sorted(thresholds, reverse=True)
    assert set(thresholds) <= {point.threshold for point in points}
    assert thinned[-1].coverage == pytest.approx(1)


def test_without_an_answerable_question_there_is_nothing_to_choose():
    with pytest.raises(InputError, match="no question is answerable"):
        points_of([(0.5, False, False)])


@given(st.integers(0, 5))
def test_the_fit_finds_the_weights_that_made_the_rows(seed):
    rng = np.random.default_rng(seed)
    features_NF = rng.uniform(-3, 3, size=(4000, 3))
    p_N = 1 / (1 + np.exp(-(0.5 + features_NF @ [1.0, -0.5, 0.0])))
    fitted = fit([tuple(row) for row in features_NF], rng.random(4000) < p_N)
    assert (fitted.bias, *fitted.weights) == pytest.approx((0.5, 1.0, -0.5, 0.0), abs=0.2)


@given(st.integers(0, 7))
def test_what_a_document_says_is_not_learned_for_itself(flipped):
    rng = np.random.default_rng(flipped)
    groups = [f"document {n % 8}" for n in range(80)]
    features = [tuple(row) for row in rng.normal(size=(80, 2))]
    right_N = rng.random(80) < 0.5
    own_N = np.array([group == f"document {flipped}" for group in groups])
    before, after = (
        cross_fit(features, labels, groups) for labels in (right_N, np.where(own_N, True, right_N))
    )
    assert (before[own_N] == after[own_N]).all()
    assert (before[~own_N] != after[~own_N]).any()


def test_too_few_documents_cannot_be_held_out():
    with pytest.raises(InputError, match="2 documents cannot be held out in 5 parts"):
        cross_fit([(1.0,)] * 6, np.ones(6, dtype=bool), ["a", "b"] * 3)


def test_the_fit_ends_where_rows_are_separable_or_all_alike():
    features = [(float(n), 0.0, 1.0) for n in range(-5, 5)]
    separable = fit(features, np.array([n >= 0 for n in range(-5, 5)]))
    assert [separable(row) > 0.5 for row in features] == [n >= 0 for n in range(-5, 5)]
    assert fit(features, np.ones(10, dtype=bool))(features[0]) > 0.9


def test_questions_are_read_with_what_search_finds(tiny_models):
    animals = ["otter", "falcon", "beetle", "salmon"]
    cases = [
        ReadingCase(a, f"Where does the {a} live?", (("", f"The {a} lives by the {n}."),), (n,))
        for a, n in zip(animals, ["river", "cliff", "log", "sea"], strict=True)
    ]
    cases.append(ReadingCase("none", "Who fed the otter?", cases[0].sources, (), ()))
    encoder = load_encoder(tiny_models / "encoder")
    reader = load_decoder(tiny_models / "decoder")
    found = with_passages_found(cases[1:], cases, encoder, reader, 2)
    assert [case.id for case in found] == [case.id for case in cases[1:]]
    for before, after in zip(cases[1:], found, strict=True):
        assert len(after.sources) == 2
        assert len(after.scores) == 2
        assert all(0 <= score <= 1 for score in after.scores)
        golds = [after.sources[index] for index in after.gold_sources]
        assert golds == (list(before.sources) if before.answerable else [])
