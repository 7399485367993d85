"""How good an answer, a ranking or a confidence is: pure functions, each in 0..1.

Answers are compared as the official SQuAD scripts do (Rajpurkar et al. 2016, arXiv:1606.05250;
2.0: Rajpurkar et al. 2018, arXiv:1806.03822). A confidence answers at a threshold when it is at
least that high.
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]
Key = TypeVar("Key", bound=Hashable)

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)

# Answers


def normalize_answer(text: str) -> str:
    """Lower case, without ASCII punctuation and articles, single spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def usable_golds(golds: Sequence[str]) -> list[str]:
    """Golds that are more than punctuation; none left means that the right answer is empty."""
    return [gold for gold in golds if normalize_answer(gold)] or [""]


def exact_match(prediction: str, golds: Sequence[str]) -> float:
    """1 when the prediction is one of the golds; an empty one is right where there is none."""
    found = normalize_answer(prediction)
    return float(any(found == normalize_answer(gold) for gold in usable_golds(golds)))


def token_f1(prediction: str, golds: Sequence[str]) -> float:
    """Harmonic mean of the precision and recall of words, over the gold that fits best."""
    return max(_f1(prediction, gold) for gold in usable_golds(golds))


def _f1(prediction: str, gold: str) -> float:
    found, wanted = normalize_answer(prediction).split(), normalize_answer(gold).split()
    if not found or not wanted:
        return float(found == wanted)
    shared = sum((Counter(found) & Counter(wanted)).values())
    return 2 * shared / (len(found) + len(wanted))


# Rankings


def recall_at(ranked: Sequence[Key], gold: Iterable[Key], k: int) -> float:
    """Share of the gold that stands among the first k."""
    wanted = set(gold)
    return len(wanted.intersection(ranked[:k])) / len(wanted)


def mrr_at(ranked: Sequence[Key], gold: Iterable[Key], k: int) -> float:
    """One over the rank of the first gold, 0 when it is not among the first k."""
    wanted = set(gold)
    ranks = (rank for rank, key in enumerate(ranked[:k], start=1) if key in wanted)
    return 1 / next(ranks, math.inf)


def ndcg_at(ranked: Sequence[Key], grades: Mapping[Key, int], k: int) -> float:
    """Discounted gain of the first k over that of the best order; gain is the grade itself.

    Source: Järvelin & Kekäläinen 2002, as trec_eval computes it.
    """
    ideal = sorted(grades.values(), reverse=True)[:k]
    return _discounted([grades.get(key, 0) for key in ranked[:k]]) / _discounted(ideal)


def _discounted(gains: Sequence[int]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1))


def hit_at(ranked: Iterable[Key], gold: Iterable[Key], k: int) -> float:
    """1 when any gold is among the first k distinct keys: page@k for (file, page) pairs.

    The pairs come in the order of their best passage.
    """
    first = list(dict.fromkeys(ranked))[:k]
    return float(not set(gold).isdisjoint(first))


# Confidences


def refusal_at(confidence_N: Floats, answerable_N: Bools, coverage: float = 0.8) -> float:
    """Share of the unanswerable refused at the highest threshold that answers at least
    `coverage` of the answerable; both kinds must be there."""
    kept = np.sort(confidence_N[answerable_N])[::-1]
    threshold = kept[math.ceil(coverage * len(kept)) - 1]
    return float((confidence_N[~answerable_N] < threshold).mean())


def auc(confidence_N: Floats, right_N: Bools) -> float:
    """How likely one that is right has more confidence than one that is wrong, a tie counting half;
    nan unless there are both."""
    right = np.sort(confidence_N[right_N])
    wrong_N = confidence_N[~right_N]
    if not (len(right) and len(wrong_N)):
        return math.nan
    below_N, upto_N = (np.searchsorted(right, wrong_N, side=side) for side in ("left", "right"))
    return float(1 - (below_N + upto_N).mean() / (2 * len(right)))


def risk_coverage(confidence_N: Floats, right_N: Bools) -> tuple[Floats, Floats, Floats]:
    """(thresholds, coverage, risk), one for each distinct confidence, highest first.

    coverage: share of all answered at that threshold. risk: share of those answered wrong.
    Source: El-Yaniv & Wiener 2010, "On the foundations of noise-free selective classification".
    """
    thresholds, counts = np.unique(confidence_N, return_counts=True)
    answered = np.cumsum(counts[::-1])
    wrong = np.cumsum(~right_N[np.argsort(-confidence_N, kind="stable")])[answered - 1]
    return thresholds[::-1], answered / len(confidence_N), wrong / answered


def expected_calibration_error(confidence_N: Floats, right_N: Bools, bins: int = 10) -> float:
    """Mean distance of confidence in 0..1 from the share that is right, in bins of equal width,
    weighted by their size. Source: Guo et al. 2017, arXiv:1706.04599."""
    bin_N = np.minimum((confidence_N * bins).astype(np.int64), bins - 1)
    gap_bins = np.bincount(bin_N, weights=confidence_N - right_N, minlength=bins)
    return float(np.abs(gap_bins).sum() / len(confidence_N))


def best_threshold(confidence_N: Floats, answered_N: Floats, refused_N: Floats) -> float:
    """The threshold with the highest mean score, an item scoring answered_N when its confidence
    is at least that and refused_N otherwise; ties: the higher. math.inf refuses all."""
    order = np.argsort(-confidence_N, kind="stable")
    gains = np.concatenate([[0.0], np.cumsum((answered_N - refused_N)[order])])
    thresholds = np.concatenate([[math.inf], confidence_N[order]])
    # Items of one confidence go together: only the last of them ends a choice.
    last = np.concatenate([thresholds[1:] != thresholds[:-1], [True]])
    return float(thresholds[last][np.argmax(gains[last])])


# Intervals


@dataclass(frozen=True, slots=True)
class Metric:
    """A measured value and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


def mean_metric(values: Sequence[float] | Floats, seed: int = 0, samples: int = 1000) -> Metric:
    """The mean of one value an item, with the percentile interval of resampled means.

    Source: Efron 1979, "Bootstrap methods: another look at the jackknife".
    """
    values_N = np.asarray(values, dtype=np.float64)
    n, rng = len(values_N), np.random.default_rng(seed)
    block = max(1, 2_000_000 // n)  # of resamples at a time, 16 MB of indices
    means = [
        values_N[rng.integers(0, n, size=(min(block, samples - at), n))].mean(axis=1)
        for at in range(0, samples, block)
    ]
    return _interval(float(values_N.mean()), np.concatenate(means))


def paired_metric(values: Sequence[float], others: Sequence[float], seed: int = 0) -> Metric:
    """The mean of what one way scores above another on the same items, both resampled together.

    An interval wholly above 0 says that the first is better on items like these.
    """
    return mean_metric(np.subtract(values, others), seed)


def metric_of(
    statistic: Callable[[Indices], float], n: int, seed: int = 0, samples: int = 200
) -> Metric:
    """Any statistic of n items, given as a function of the indices of those it is taken over.

    A resample for which it is not a number counts for nothing.
    """
    rng = np.random.default_rng(seed)
    drawn = np.array([statistic(rng.integers(0, n, size=n)) for _ in range(samples)])
    return _interval(statistic(np.arange(n)), drawn[~np.isnan(drawn)])


def _interval(value: float, drawn: Floats) -> Metric:
    if not len(drawn):
        return Metric(value, value, value)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Metric(value, float(low), float(high))
