"""Laws of the confidence: a probability that grows with its evidence, and survives the disk."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragformer.answer.confidence import (
    FEATURES,
    Confidence,
    features,
    load_confidence,
)
from ragformer.errors import WeightsError

NUMBERS = st.floats(-100, 100)
WEIGHTS = st.tuples(*[NUMBERS] * len(FEATURES))
NONE = (0.0,) * len(FEATURES)
NATS = st.floats(max_value=1e6, allow_nan=False)
EVIDENCE = {
    "margin": NATS,
    "likelihood": NATS.filter(lambda x: x <= 0),
    "share": st.floats(0, 1),
    "around": st.floats(0, 1),
    "passages": st.integers(0, 32),
}


@given(st.fixed_dictionaries(EVIDENCE))
def test_features_are_bounded_and_in_order(values: dict[str, Any]) -> None:
    found = features(**values)
    assert list(EVIDENCE) == list(FEATURES)
    assert len(found) == len(FEATURES)
    assert all(-10 <= value <= 10 for value in found)
    for name in FEATURES:  # each is where FEATURES says and made of nothing else
        at = FEATURES.index(name)
        others = features(**(values | {name: 0.25}))
        assert found[:at] + found[at + 1 :] == others[:at] + others[at + 1 :]


@given(NUMBERS, WEIGHTS, st.fixed_dictionaries(EVIDENCE), NATS)
def test_more_margin_is_never_less_sure_under_a_positive_weight(
    bias: float, weights: tuple[float, ...], values: dict[str, Any], other: float
) -> None:
    confidence = Confidence(bias, (abs(weights[0]), *weights[1:]), 0.5)
    low, high = (
        confidence(features(**(values | {"margin": margin})))
        for margin in sorted([values["margin"], other])
    )
    assert 0 <= low <= high <= 1


def test_zero_weights_leave_the_bias() -> None:
    assert Confidence(0.0, NONE, 0.5)(tuple(range(len(FEATURES)))) == 0.5
    assert Confidence(math.log(3), NONE, 0.5)(NONE) == pytest.approx(0.75)


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


GOOD = json.loads(Confidence(0.0, NONE, 0.5).to_json())


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
