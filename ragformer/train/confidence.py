"""Fit the confidence of the decoder: how likely its best answer is right, in use.

Every question is asked as the product asks it, over the passages our own retriever finds and over
the best of them alone, and a logistic regression learns from what came of it. Known: the margin
over no-answer carries most, and grows with the number of passages. Not known: whether agreement
between passages would add anything.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ragformer.answer.reader import load_decoder
from ragformer.eval.calibrate import choose, fit, sweep, thin, with_passages_found
from ragformer.eval.cases import read_reading, sample
from ragformer.eval.reading import read_cases
from ragformer.eval.reading_metrics import Row
from ragformer.retrieve.embed import load_encoder
from ragformer.train.data import jsonl_files


@dataclass(frozen=True, slots=True)
class Config:
    """data: a folder of reading files, or one. out: the decoder's folder; confidence.json goes
    there. coverage: the share of the answerable questions that the threshold still answers."""

    data: Path
    out: Path
    encoder: Path
    passages: int = 8
    questions_per_file: int = 300
    coverage: float = 0.6
    seed: int = 0


def main(config: Config) -> Iterator[str]:
    """Ask, fit, write confidence.json; yields lines of the log and the risk-coverage table."""
    # An old confidence.json may have other features than are fitted now.
    reader, encoder = load_decoder(config.out, confidence=False), load_encoder(config.encoder)
    rows: list[Row] = []
    for path in jsonl_files(config.data) if config.data.is_dir() else [config.data]:
        everything = read_reading(path)
        cases = sample(everything, config.questions_per_file, config.seed)
        # A short document gives one passage, not eight, and must be answered from as well.
        for k in (config.passages, 1):
            found = with_passages_found(cases, everything, encoder, reader, k)
            rows += read_cases(found, reader)
        yield f"{path.name}: {len(cases)} questions"
    right_N = np.array([row.right for row in rows], dtype=np.bool_)
    answerable_N = np.array([row.case.answerable for row in rows], dtype=np.bool_)
    fitted = fit([row.features for row in rows], right_N)
    confidence_N = np.array([fitted(row.features) for row in rows])
    points = sweep(confidence_N, right_N, answerable_N)
    for point in thin(points, 10):
        yield "  ".join(f"{name} {value}" for name, value in dataclasses.asdict(point).items())
    threshold = round(choose(points, config.coverage).threshold, 4)
    fitted = dataclasses.replace(fitted, threshold=threshold)
    (config.out / "confidence.json").write_text(fitted.to_json(), encoding="utf-8")
    yield f"wrote {config.out / 'confidence.json'} with threshold {threshold}"
