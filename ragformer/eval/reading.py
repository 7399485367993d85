"""Does the decoder find the answer in what it is given, and know when there is none?

    question + its own context or passages -> the best span, its sentence, a confidence -> metrics

Beside it, as a yardstick, the sentence that shares the rarest words with the question: a decoder
that quotes the right sentence less often than that is of no use.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ragformer.answer.answer import evidence
from ragformer.answer.confidence import Confidence, features
from ragformer.answer.reader import Reader, load_decoder
from ragformer.errors import InputError
from ragformer.eval.cases import ReadingCase, read_reading, sample
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
    token_f1,
)
from ragformer.eval.result import make_result
from ragformer.text.overlap import overlap, question_stems
from ragformer.text.sentences import sentence_spans

ODDS = Confidence(bias=0.0, weights=(1.0, 0.0, 0.0, 0.0), threshold=0.5)
"""For a decoder without a confidence.json: its own odds of the best answer against none."""

NOTHING = features(-math.inf, -math.inf, 0.0, 1)
"""The features where there was nothing to copy."""

LONGEST_SOURCE = 700
"""Tokens: a longer source is read in pieces, as the reader leaves out what has no room."""


@dataclass(frozen=True, slots=True)
class Row:
    """A question, the best answer found, and the sentences quoted by us and by the yardstick.

    text: "" when nothing could be copied. source: which of the case's sources it stands in, -1
    for none. features: what the confidence is made of.
    """

    case: ReadingCase
    text: str
    sentence: str
    source: int
    overlap_sentence: str
    features: tuple[float, ...]
    confidence: float

    @property
    def hit(self) -> bool:
        """Whether the quoted sentence holds a gold answer."""
        return holds_gold(self.sentence, self.case.golds)

    @property
    def right(self) -> bool:
        """Whether it does so in a source that answers the question."""
        return self.hit and self.source in self.case.gold_sources


def run(
    path: Path,
    limit: int | None = None,
    seed: int = 0,
    decoder: Path | None = None,
    threshold: float | None = None,
) -> dict[str, Any]:
    """Measure reading on a reading file.

    decoder: its folder, None for the one in the box. threshold: the confidence from which on an
    answer counts as given; None for the one stored with the decoder.
    """
    cases = sample(read_reading(path), limit, seed)
    if not cases:
        raise InputError(f"{path} holds no question; check the file")
    reader = load_decoder(decoder)
    rows = read_cases(cases, reader)
    if threshold is None:
        threshold = (reader.confidence or ODDS).threshold
    metrics = reading_metrics(rows, threshold, seed)
    return make_result("reading", len(rows), metrics, {"decoder": reader.id})


def read_cases(cases: Sequence[ReadingCase], reader: Reader) -> list[Row]:
    """Every question read with its sources, answered whatever the confidence."""
    return [_read_case(case, reader) for case in cases]


def _read_case(case: ReadingCase, reader: Reader) -> Row:
    parts = [
        (index, piece)
        for index, source in enumerate(case.sources)
        for piece in pieces(*source, reader)
    ]
    passages = [piece for _, piece in parts]
    prompt = reader.open(case.question, passages)
    read = reader.find(prompt)
    yardstick = overlap_sentence(case.question, passages, reader)
    if not read.candidates:
        return Row(case, "", "", -1, yardstick, NOTHING, 0.0)
    best = read.candidates[0]
    index, (_, text) = parts[best.passage]
    values = evidence(case.question, read, prompt, reader)
    return Row(
        case,
        text[best.start : best.end],
        sentence_around(text, best.start, best.end),
        index,
        yardstick,
        values,
        (reader.confidence or ODDS)(values),
    )


def pieces(title: str, text: str, reader: Reader) -> list[tuple[str, str]]:
    """The source whole, or in pieces of whole sentences that each have room in the prompt."""
    count = reader.tokenizer.count
    if count(text) <= LONGEST_SOURCE:
        return [(title, text)]
    parts: list[tuple[int, int]] = []
    size = 0
    for start, end in sentence_spans(text):
        n_tokens = count(text[start:end])
        if parts and size + n_tokens <= LONGEST_SOURCE:
            parts[-1], size = (parts[-1][0], end), size + n_tokens
        else:
            parts.append((start, end))
            size = n_tokens
    return [(title, text[start:end]) for start, end in parts]


def sentence_around(text: str, start: int, end: int) -> str:
    """The sentences that share a character with start..end, from the first's start to the last's
    end."""
    touched = [(a, b) for a, b in sentence_spans(text) if a < end and start < b]
    return text[touched[0][0] : touched[-1][1]] if touched else text[start:end]


def overlap_sentence(question: str, sources: Sequence[tuple[str, str]], reader: Reader) -> str:
    """The sentence that holds the most rarity of the question's words; ties: the first."""
    stems = question_stems(question, reader.rarity)
    scored = [
        (score, text[start:end])
        for _, text in sources
        for start, end, score in overlap(stems, text).sentences
    ]
    return max(scored, key=lambda pair: pair[0], default=(0.0, ""))[1]


def holds_gold(sentence: str, golds: Sequence[str]) -> bool:
    """Whether a gold stands in the sentence as it is, not inside a longer word."""
    return any(re.search(rf"(?<!\w){re.escape(gold)}(?!\w)", sentence) for gold in golds)


def reading_metrics(rows: Sequence[Row], threshold: float, seed: int) -> dict[str, Metric]:
    """All metrics of the rows; one that no row is about is left out.

    em, f1, sentence_hit, overlap_sentence_hit: of answerable questions, every one answered.
    coverage: share of the answerable answered at the threshold. ece: of the confidence, that the
    quoted sentence is right. With unanswerable questions also: refused, their share refused at
    the threshold; refusal@80; and SQuAD 2.0's F1 over all, `no_answer_f1` at the threshold and
    `no_answer_f1_best` at the threshold that is best for these rows.
    """
    answerable = [row for row in rows if row.case.answerable]
    others = [row for row in rows if not row.case.answerable]
    columns = {
        "em": [exact_match(row.text, row.case.golds) for row in answerable],
        "f1": [token_f1(row.text, row.case.golds) for row in answerable],
        "sentence_hit": [float(row.hit) for row in answerable],
        "overlap_sentence_hit": [
            float(holds_gold(row.overlap_sentence, row.case.golds)) for row in answerable
        ],
        "coverage": [float(row.confidence >= threshold) for row in answerable],
        "refused": [float(row.confidence < threshold) for row in others],
    }
    metrics = {name: mean_metric(column, seed) for name, column in columns.items() if column}
    metrics["ece"] = _ece(rows, seed)
    if answerable and others:
        metrics |= _refusal_metrics(rows, threshold, seed)
    return metrics


def _ece(rows: Sequence[Row], seed: int) -> Metric:
    confidence_N, right_N, _ = _columns(rows)
    return metric_of(
        lambda at: expected_calibration_error(confidence_N[at], right_N[at]), len(rows), seed
    )


def _refusal_metrics(rows: Sequence[Row], threshold: float, seed: int) -> dict[str, Metric]:
    confidence_N, _, answerable_N = _columns(rows)
    answered_N = np.array([token_f1(row.text, row.case.golds) for row in rows])
    refused_N = (~answerable_N).astype(np.float64)  # an empty answer is right where none is

    def refusal(at: Indices) -> float:
        mixed = answerable_N[at].any() and not answerable_N[at].all()
        return refusal_at(confidence_N[at], answerable_N[at]) if mixed else math.nan

    best = best_threshold(confidence_N, answered_N, refused_N)
    return {
        "refusal@80": metric_of(refusal, len(rows), seed),
        "no_answer_f1": mean_metric(
            np.where(confidence_N >= threshold, answered_N, refused_N), seed
        ),
        "no_answer_f1_best": mean_metric(
            np.where(confidence_N >= best, answered_N, refused_N), seed
        ),
    }


def _columns(rows: Sequence[Row]) -> tuple[Floats, Bools, Bools]:
    """confidence, right, answerable."""
    return (
        np.array([row.confidence for row in rows]),
        np.array([row.right for row in rows], dtype=np.bool_),
        np.array([row.case.answerable for row in rows], dtype=np.bool_),
    )
