"""What a set of read questions amounts to: one number each for answers, quotes, refusals, speed."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ragformer.eval.cases import ReadingCase
from ragformer.eval.metrics import (
    Bools,
    Floats,
    Indices,
    Metric,
    best_threshold,
    exact_match,
    expected_calibration_error,
    mean_metric,
    metric_of,
    refusal_at,
    risk_coverage,
    token_f1,
)

RISK_AT = (20, 40, 60, 80, 100)
"""Per cent of the questions answered, the surest first: the points of the risk-coverage curve."""

MEANINGS = {
    "em": "answerable, all answered: the short answer is a gold one",
    "f1": "... words shared with the gold answer that fits best",
    "sentence_hit": "... the quoted sentence holds a gold answer",
    "overlap_sentence_hit": "... so does the one that shares the rarest words: the yardstick",
    "sentence_f1": "... where golds are free text: words the quoted sentence shares with them",
    "coverage": "answerable: answered at the stored threshold",
    "citation_precision": "answered at the stored threshold: the quote is from a gold passage",
    "citation_recall": "answerable: answered there and the quote is from a gold passage",
    "refused": "unanswerable: refused at the stored threshold",
    "refusal@80": "unanswerable: refused where 80 % of the answerable are answered",
    "no_answer_f1": "all, SQuAD 2.0's F1: at the stored threshold",
    "no_answer_f1_best": "... at the threshold that is best for these very questions",
    "always_declining_f1": "... if every question were declined",
    "ece": "calibration error of the confidence that the quoted sentence is right",
    **{f"risk@{share}": f"wrong quotes among the surest {share} %" for share in RISK_AT},
    "tokens_per_second": "tokens of question and passages read a second, answer included",
}
"""Every metric of `eval reading`, in a few words."""


@dataclass(frozen=True, slots=True)
class Row:
    """A question, the best answer found, and the sentences quoted by us and by the yardstick.

    text: "" when nothing could be copied. source: which of the case's sources it stands in, -1
    for none. features: what the confidence is made of. n_tokens: of the prompt. seconds: to
    answer.
    """

    case: ReadingCase
    text: str
    sentence: str
    source: int
    overlap_sentence: str
    features: tuple[float, ...]
    confidence: float
    n_tokens: int = 0
    seconds: float = 0.0

    @property
    def hit(self) -> bool:
        """Whether the quoted sentence holds a gold answer."""
        return holds_gold(self.sentence, self.case.golds)

    @property
    def cited(self) -> bool:
        """Whether it is from a source that answers the question."""
        return self.source in self.case.gold_sources

    @property
    def right(self) -> bool:
        """Whether it is from such a source and holds a gold answer."""
        return self.hit and self.cited

    @property
    def judged(self) -> bool:
        """Whether a quote can be right or wrong: the golds are words of a source, or there are
        none. A gold somebody wrote freely stands in no sentence."""
        golds, sources = self.case.golds, self.case.sources
        texts = [sources[index][1] for index in self.case.gold_sources]
        return not golds or any(gold in text for gold in golds for text in texts)


def holds_gold(sentence: str, golds: Sequence[str]) -> bool:
    """Whether a gold stands in the sentence as it is, not inside a longer word."""
    return any(re.search(rf"(?<!\w){re.escape(gold)}(?!\w)", sentence) for gold in golds)


def reading_metrics(rows: Sequence[Row], threshold: float, seed: int) -> dict[str, Metric]:
    """All metrics of MEANINGS; one that no row is about is left out."""
    answerable = [row for row in rows if row.case.answerable]
    others = [row for row in rows if not row.case.answerable]
    columns = _answer_columns(answerable, threshold)
    if any(len(row.case.sources) > 1 for row in answerable):
        given = [row for row in rows if row.confidence >= threshold]
        columns["citation_precision"] = [float(row.cited) for row in given]
        columns["citation_recall"] = [
            float(row.cited and row.confidence >= threshold) for row in answerable
        ]
    columns["refused"] = [float(row.confidence < threshold) for row in others]
    metrics = {name: mean_metric(column, seed) for name, column in columns.items() if column}
    if answerable and others:
        metrics |= _refusal_metrics(rows, threshold, seed)
    judged = [row for row in rows if row.judged]
    if 2 * sum(row.case.answerable for row in judged) > len(answerable):
        metrics |= _confidence_metrics(judged, seed)
    return metrics | _speed(rows, seed)


def _answer_columns(answerable: Sequence[Row], threshold: float) -> dict[str, list[float]]:
    judged = [row for row in answerable if row.judged]
    free = [row for row in answerable if not row.judged]
    return {
        "em": [exact_match(row.text, row.case.golds) for row in answerable],
        "f1": [token_f1(row.text, row.case.golds) for row in answerable],
        "sentence_hit": [float(row.hit) for row in judged],
        "overlap_sentence_hit": [
            float(holds_gold(row.overlap_sentence, row.case.golds)) for row in judged
        ],
        "sentence_f1": [token_f1(row.sentence, row.case.golds) for row in free],
        "coverage": [float(row.confidence >= threshold) for row in answerable],
    }


def _confidence_metrics(rows: Sequence[Row], seed: int) -> dict[str, Metric]:
    """Of the confidence that the quoted sentence is right, which it never is for a question
    without an answer."""
    confidence_N, right_N, _ = _columns(rows)

    def over_rows(measure: Callable[[Floats, Bools], float]) -> Metric:
        return metric_of(lambda at: measure(confidence_N[at], right_N[at]), len(rows), seed)

    error = {"ece": over_rows(expected_calibration_error)}
    return error | {
        f"risk@{share}": over_rows(partial(risk_at, coverage=share / 100)) for share in RISK_AT
    }


def risk_at(confidence_N: Floats, right_N: Bools, coverage: float) -> float:
    """Share wrong at the highest threshold that answers at least `coverage` of all."""
    _, covered, risk = risk_coverage(confidence_N, right_N)
    return float(risk[np.searchsorted(covered, coverage - 1e-12)])


def _refusal_metrics(rows: Sequence[Row], threshold: float, seed: int) -> dict[str, Metric]:
    confidence_N, _, answerable_N = _columns(rows)
    answered_N = np.array([token_f1(row.text, row.case.golds) for row in rows])
    refused_N = (~answerable_N).astype(np.float64)  # an empty answer is right where none is

    def refusal(at: Indices) -> float:
        mixed = answerable_N[at].any() and not answerable_N[at].all()
        return refusal_at(confidence_N[at], answerable_N[at]) if mixed else math.nan

    def f1_from(least: float) -> Metric:
        return mean_metric(np.where(confidence_N >= least, answered_N, refused_N), seed)

    return {
        "refusal@80": metric_of(refusal, len(rows), seed),
        "no_answer_f1": f1_from(threshold),
        "no_answer_f1_best": f1_from(best_threshold(confidence_N, answered_N, refused_N)),
        "always_declining_f1": f1_from(math.inf),
    }


def _speed(rows: Sequence[Row], seed: int) -> dict[str, Metric]:
    tokens_N = np.array([row.n_tokens for row in rows])
    seconds_N = np.array([row.seconds for row in rows])
    if not seconds_N.all():
        return {}
    rate = metric_of(lambda at: float(tokens_N[at].sum() / seconds_N[at].sum()), len(rows), seed)
    return {"tokens_per_second": rate}


def _columns(rows: Sequence[Row]) -> tuple[Floats, Bools, Bools]:
    """confidence, right, answerable."""
    return (
        np.array([row.confidence for row in rows]),
        np.array([row.right for row in rows], dtype=np.bool_),
        np.array([row.case.answerable for row in rows], dtype=np.bool_),
    )
