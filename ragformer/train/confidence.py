"""Fit the confidence of the decoder: how likely its best answer is right, in use.

    questions -> the passages search finds, and the best of them alone -> read, right or not
    -> each document's rows judged by a fit on the others: the figures printed and kept
    -> a fit on all of them and its threshold: the confidence

Known: the figures on the very rows of a fit flatter it. Not known: how far they hold for documents
of another kind than those asked about here; `ragformer calibrate` measures that.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ragformer.answer.reader import Reader, load_decoder
from ragformer.eval.calibrate import choose, cross_fit, fit, sweep, thin, with_passages_found
from ragformer.eval.cases import ReadingCase, read_reading, sample
from ragformer.eval.metrics import Bools, Floats, auc, expected_calibration_error
from ragformer.eval.reading import read_cases
from ragformer.eval.reading_metrics import Row
from ragformer.retrieve.embed import Encoder, load_encoder
from ragformer.train.data import jsonl_files

READ_AT_ONCE = 50
"""Questions between two lines of the log."""


@dataclass(frozen=True, slots=True)
class Config:
    """data: a folder of reading files, or one. out: the decoder's folder; confidence.json goes
    there. coverage: the share of the answerable questions that the threshold still answers."""

    data: Path
    out: Path
    encoder: Path
    passages: int = 8
    questions_per_file: int = 300
    coverage: float = 0.8
    seed: int = 0


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question that was read, and the document its own passage is of."""

    row: Row
    document: str


def main(config: Config) -> Iterator[str]:
    """Ask, fit, write confidence.json; yields lines of the log and the held-out figures."""
    # An old confidence.json may have other features than are fitted now.
    reader, encoder = load_decoder(config.out, confidence=False), load_encoder(config.encoder)
    asked: list[_Asked] = []
    for path in jsonl_files(config.data) if config.data.is_dir() else [config.data]:
        n = 0
        for some in _ask(config, read_reading(path), encoder, reader):
            asked += some
            n += len(some)
            yield f"{path.name}: {n} rows read"
    rows = [one.row for one in asked]
    features = [row.features for row in rows]
    right_N = np.array([row.right for row in rows], dtype=np.bool_)
    answerable_N = np.array([row.case.answerable for row in rows], dtype=np.bool_)
    held_out = _figures(
        cross_fit(features, right_N, [one.document for one in asked]), right_N, answerable_N
    )
    fitted = fit(features, right_N)
    confidence_N = np.array([fitted(values) for values in features])
    points = sweep(confidence_N, right_N, answerable_N)
    threshold = round(choose(points, config.coverage).threshold, 4)
    fitted = dataclasses.replace(fitted, threshold=threshold)
    values = json.loads(fitted.to_json()) | {"held_out": held_out}
    (config.out / "confidence.json").write_text(json.dumps(values, indent=2) + "\n", "utf-8")
    yield from _lines(held_out)
    yield f"wrote {config.out / 'confidence.json'} with threshold {threshold}"


def _ask(
    config: Config, everything: Sequence[ReadingCase], encoder: Encoder, reader: Reader
) -> Iterator[list[_Asked]]:
    """Every question over the passages found, then over the best of them: a short document gives
    one passage, not eight, and must be answered from as well."""
    cases = sample(everything, config.questions_per_file, config.seed)
    found = with_passages_found(cases, everything, encoder, reader, config.passages)
    documents = [title or text for title, text in (case.sources[0] for case in cases)]
    for alone in (False, True):
        for start in range(0, len(found), READ_AT_ONCE):
            some = found[start : start + READ_AT_ONCE]
            rows = read_cases([first_alone(case) for case in some] if alone else some, reader)
            yield [
                _Asked(row, document)
                for row, document in zip(rows, documents[start:], strict=False)
            ]


def first_alone(case: ReadingCase) -> ReadingCase:
    """The case with the best of the passages it was found."""
    gold = (0,) if 0 in case.gold_sources else ()
    return dataclasses.replace(
        case, sources=case.sources[:1], gold_sources=gold, scores=case.scores[:1]
    )


def _figures(confidence_N: Floats, right_N: Bools, answerable_N: Bools) -> dict[str, Any]:
    """What the confidence is worth on rows it was not fitted on."""
    points = sweep(confidence_N, right_N, answerable_N)
    return {
        "rows": len(right_N),
        "right": _rounded(float(right_N.mean())),
        "ece": _rounded(expected_calibration_error(confidence_N, right_N)),
        "auc": _rounded(auc(confidence_N, right_N)),
        "refusal@80": _rounded(choose(points, 0.8).refusal),
        "table": [
            {name: _rounded(value) for name, value in dataclasses.asdict(point).items()}
            for point in thin(points, 10)
        ],
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else round(value, 4)


def _lines(held_out: dict[str, Any]) -> Iterator[str]:
    """The figures, a line for each and for each row of the table."""
    yield "held out, each document judged by a fit on the others:"
    for name, value in held_out.items():
        if name != "table":
            yield f"  {name} {value}"
    for row in held_out["table"]:
        yield "  " + "  ".join(f"{name} {value}" for name, value in row.items())
