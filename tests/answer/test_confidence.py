"""Laws of the confidence: a probability that grows with its evidence, and survives the disk."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragformer.answer.confidence import (
    FEATURES,
    Confidence,
    features,
    load_confidence,
    question_coverage,
)
from ragformer.errors import WeightsError
from ragformer.text.overlap import overlap, stem

NUMBERS = st.floats(-100, 100)
WEIGHTS = st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS)
NATS = st.floats(max_value=1e6, allow_nan=False)


@given(NATS, NATS.filter(lambda x: x <= 0), st.floats(0, 1))
def test_features_are_bounded_and_in_order(margin: float, likelihood: float, share: float) -> None:
    values = features(margin, likelihood, share, 8)
    assert len(values) == len(FEATURES)
    assert all(-10 <= value <= 10 for value in values)
    assert values[2] == share
    assert features(-math.inf, -math.inf, 0.0, 1) == (-10.0, -10.0, 0.0, 0.0)


@given(NUMBERS, WEIGHTS, NATS, NATS, NATS, st.floats(0, 1))
def test_more_margin_is_never_less_sure_under_a_positive_weight(
    bias: float,
    weights: tuple[float, ...],
    one: float,
    other: float,
    likelihood: float,
    share: float,
) -> None:
    confidence = Confidence(bias, (abs(weights[0]), *weights[1:]), 0.5)
    low, high = (
        confidence(features(margin, likelihood, share, 8)) for margin in sorted([one, other])
    )
    assert 0 <= low <= high <= 1


def test_zero_weights_leave_the_bias() -> None:
    assert Confidence(0.0, (0.0,) * 4, 0.5)((1.0, 2.0, 3.0, 4.0)) == 0.5
    assert Confidence(math.log(3), (0.0,) * 4, 0.5)((1.0, 2.0, 3.0, 4.0)) == pytest.approx(0.75)


@given(NUMBERS, WEIGHTS, st.floats(0, 1))
def test_what_is_saved_is_what_is_loaded(
    tmp_path_factory: pytest.TempPathFactory,
    bias: float,
    weights: tuple[float, ...],
    threshold: float,
) -> None:
    confidence = Confidence(bias, weights, threshold)
    folder = tmp_path_factory.getbasetemp()
    (folder / "confidence.json").write_text(confidence.to_json())
    assert load_confidence(folder) == confidence


GOOD = json.loads(Confidence(0.0, (0.0,) * 4, 0.5).to_json())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        json.dumps({**GOOD, "weights": {"margin": 1.0}}),
        json.dumps({**GOOD, "bias": None}),
        json.dumps({**GOOD, "threshold": math.nan}),
        json.dumps({**GOOD, "weights": [1, 2, 3]}),
    ],
)
def test_a_damaged_file_is_one_plain_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "confidence.json").write_text(text)
    with pytest.raises(WeightsError, match=r"confidence\.json is missing or damaged"):
        load_confidence(tmp_path)
    (tmp_path / "confidence.json").unlink()
    with pytest.raises(WeightsError, match=r"confidence\.json is missing or damaged"):
        load_confidence(tmp_path)


def test_coverage_is_the_share_of_the_rare_words_found() -> None:
    stems = {stem("warranty"): 9.0, stem("months"): 3.0}
    for text, share in [("Warranties.", 0.75), ("A month", 0.25), ("", 0.0), ("warranty month", 1)]:
        assert question_coverage(stems, overlap(stems, text)) == share
    assert question_coverage({}, overlap({}, "anything")) == 0.0
