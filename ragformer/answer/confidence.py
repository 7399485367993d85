"""How sure an answer is: one probability out of what reading and retrieval say."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from ragformer.errors import WeightsError

OWN_CONFIDENCE = "confidence.json"  # in a collection's folder: fitted to it by `calibrate`
FEATURES = ("margin", "likelihood", "share", "around", "passages")


def features(
    *, margin: float, likelihood: float, share: float, around: float, passages: int
) -> tuple[float, ...]:
    """What the confidence is made of, in the order of FEATURES, each between -10 and 10.

    margin: nats between the best answer and none. likelihood: of the best answer, in nats. share:
    of its sentence in the probability of all, 0 to 1. around: the share, by rarity, of the
    question's words that stand around the answer, 0 to 1. passages: how many were read, as its
    logarithm: more places to answer from raise the margin without making the answer any surer.
    """
    sure = max(-10.0, min(10.0, margin))
    return (sure, max(-10.0, likelihood), share, around, math.log(max(1, passages)))


@dataclass(frozen=True, slots=True)
class Confidence:
    """A logistic regression over FEATURES, and the probability below which we decline."""

    bias: float
    weights: tuple[float, ...]
    threshold: float

    def __call__(self, values: tuple[float, ...]) -> float:
        """Probability, 0 to 1, that the answer is right."""
        score = self.bias + sum(w * v for w, v in zip(self.weights, values, strict=True))
        return 1 / (1 + math.exp(-max(-50.0, min(50.0, score))))

    def to_json(self) -> str:
        values = {
            "bias": self.bias,
            "weights": dict(zip(FEATURES, self.weights, strict=True)),
            "threshold": self.threshold,
        }
        return json.dumps(values, indent=2) + "\n"


def load_confidence(folder: Path) -> Confidence:
    """The confidence.json beside a decoder's weights."""
    return _load(folder / "confidence.json")[0]


FileVersion = tuple[int, int]
"""Of a file that is replaced whole: when it was written, in nanoseconds, and its number."""


def own_version(folder: Path) -> FileVersion | None:
    """Another one each time `calibrate` writes to the collection in `folder`; None while it has
    written nothing."""
    try:
        known = (folder / OWN_CONFIDENCE).stat()
    except OSError:
        return None
    return known.st_mtime_ns, known.st_ino


def own_confidence(folder: Path, decoder_id: str) -> Confidence | None:
    """The one that `calibrate` fitted to the collection in `folder`; None where there is none, or
    it was fitted to another decoder than this."""
    path = folder / OWN_CONFIDENCE
    if not path.exists():
        return None
    try:
        confidence, fitted_to = _load(path)
    except WeightsError as error:
        raise WeightsError(f"{error}; run `ragformer calibrate` again, or with --undo") from error
    return confidence if fitted_to == decoder_id else None


def _load(path: Path) -> tuple[Confidence, str | None]:
    """A confidence, and the decoder it says it was fitted to."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        weights = tuple(float(values["weights"][name]) for name in FEATURES)
        bias, threshold = float(values["bias"]), float(values["threshold"])
        if not all(math.isfinite(value) for value in (bias, threshold, *weights)):
            raise ValueError("a value is not finite")
        return Confidence(bias, weights, threshold), values.get("decoder")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{path} is missing or damaged: {error}") from error
