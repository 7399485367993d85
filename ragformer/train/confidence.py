"""Fit the confidence of the decoder: how likely its best answer is right, in use.

Every question is asked as the product asks it, over the passages our own retriever brings, and a
logistic regression learns from what came of it. Known: the margin over no-answer carries most.
Not known: whether agreement between passages would add anything.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ragformer.answer.confidence import FEATURES, Confidence
from ragformer.answer.reader import load_decoder
from ragformer.eval.calibrate import choose, sweep, thin
from ragformer.eval.cases import (
    CorpusItem,
    ReadingCase,
    RetrievalCase,
    RetrievalSet,
    read_reading,
)
from ragformer.eval.reading import Row, calibration_columns, read_cases
from ragformer.eval.retrieval import rank_set
from ragformer.retrieve.embed import Encoder, load_encoder
from ragformer.retrieve.retrieve import fuse_rankings


@dataclass(frozen=True, slots=True)
class Config:
    """data: a folder of reading files, or one. out: the decoder's folder; confidence.json goes
    there. coverage: the share of answerable questions that the threshold still answers."""

    data: Path
    out: Path
    encoder: Path
    passages: int = 8
    questions_per_file: int = 600
    coverage: float = 0.8
    seed: int = 0


def main(config: Config) -> Iterator[str]:
    """Ask, fit, write confidence.json; yields lines of the log and the risk-coverage table."""
    reader, encoder = load_decoder(config.out), load_encoder(config.encoder)
    files = sorted(config.data.glob("*.jsonl*")) if config.data.is_dir() else [config.data]
    rows: list[Row] = []
    for path in files:
        asked = list(retrieved_cases(path, config, encoder))
        rows += read_cases(asked, reader)
        yield f"{path.name}: {len(asked)} questions"
    confidence = fit(rows)
    rows = [dataclasses.replace(row, confidence=confidence(row.features)) for row in rows]
    points = sweep(*calibration_columns(rows))
    chosen = choose(points, config.coverage)
    for point in thin(points, 10):
        yield (
            f"threshold {point.threshold:.3f}  coverage {point.coverage:.2f}"
            f"  wrong {point.risk:.2f}  unanswerable refused {point.refusal:.2f}"
        )
    confidence = dataclasses.replace(confidence, threshold=round(chosen.threshold, 4))
    (config.out / "confidence.json").write_text(confidence.to_json(), encoding="utf-8")
    yield f"wrote {config.out / 'confidence.json'} with threshold {confidence.threshold}"


def retrieved_cases(path: Path, config: Config, encoder: Encoder) -> Iterator[ReadingCase]:
    """The file's questions, each over the passages retrieved among all contexts of the file.

    An answerable question whose context was not retrieved stays answerable: declining is then
    right in fact, but the user's question went unanswered.
    """
    cases = {case.id: case for case in read_reading(path)}
    contexts = dict.fromkeys(source for case in cases.values() for source in case.sources)
    corpus = tuple(CorpusItem(str(i), *source) for i, source in enumerate(contexts))
    asked = tuple(RetrievalCase(case.id, case.question, {}) for case in cases.values())
    found = RetrievalSet(corpus, asked)
    items, ranked = rank_set(found, config.questions_per_file, config.seed, encoder)
    for one in ranked:
        case = cases[one.case.id]
        places = [place for place, _ in fuse_rankings(one.rankings, config.passages)]
        sources = tuple((items[place].title, items[place].text) for place in places)
        gold = tuple(i for i, (_, text) in enumerate(sources) if text == case.sources[0][1])
        yield dataclasses.replace(case, sources=sources, gold_sources=gold)


def fit(rows: list[Row], steps: int = 200) -> Confidence:
    """Logistic regression of "the quoted sentence is right" on the features, in float64.

    Source: Platt 1999, "Probabilistic outputs for support vector machines".
    """
    x_NF = torch.tensor([row.features for row in rows], dtype=torch.float64)
    right_N = np.array([row.right and row.case.answerable for row in rows])
    y_N = torch.from_numpy(right_N).double()
    weights_F = torch.zeros(len(FEATURES), dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights_F, bias], max_iter=steps, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(x_NF @ weights_F + bias, y_N)
        loss = loss + 1e-4 * weights_F.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    values = [round(float(weight), 5) for weight in weights_F.detach()]
    return Confidence(round(float(bias.detach()), 5), tuple(values), 0.5)
