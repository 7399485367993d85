"""How a run goes: measured on development questions now and then, and drawn.

work/decoder.csv      what the log says: loss, speed, rate      -> work/decoder.png
work/decoder-dev.csv  what the averaged weights score meanwhile
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from torch import nn

from ragformer.answer.reader import Reader
from ragformer.eval.cases import RetrievalSet, read_reading, read_retrieval, sample
from ragformer.eval.reading import ODDS, read_cases
from ragformer.eval.reading_metrics import reading_metrics
from ragformer.eval.retrieval import rank_set, ranking_values
from ragformer.nn.heads import Decoder, SentenceEncoder
from ragformer.retrieve.embed import Encoder
from ragformer.text.tokenizer import Tokenizer
from ragformer.train.loop import Averager, Budget, write_row

Scores = dict[str, float]
Measure = Callable[[], Scores]

READING = ("em", "f1", "sentence_hit")
RETRIEVAL = ("recall@1", "recall@5", "ndcg@10")


class Development:
    """Measures the averaged weights every so many steps of a stage and at its end.

    What measuring takes is counted in the budget: a run of 20 minutes ends after 20.
    """

    def __init__(self, path: Path, measure: Measure | None, every: int) -> None:
        """path: the CSV to write. measure: None for a run that is not measured."""
        self.path, self._measure, self._every = path, measure, every

    def add(self, stage: str, budget: Budget, model: nn.Module, average: Averager) -> str | None:
        """A line of scores where it is time for one."""
        if self._measure is None or not (budget.done or budget.step % self._every == 0):
            return None
        with average.in_place_of(model):
            scores = self._measure()
        row = {"stage": stage, "step": budget.step, "minutes": round(budget.seconds / 60, 2)}
        return write_row(self.path, row | {name: round(v, 4) for name, v in scores.items()})


def reading_measure(
    path: Path | None, n: int, model: Decoder, tokenizer: Tokenizer
) -> Measure | None:
    """Reads n questions of a reading file, answering every one."""
    if path is None:
        return None
    cases = sample(read_reading(path), n, seed=0)

    def measure() -> Scores:
        rows = read_cases(cases, Reader(model, tokenizer, "training"))
        metrics = reading_metrics(rows, ODDS.threshold, seed=0)
        return {name: metrics[name].value for name in READING}

    return measure


def retrieval_measure(
    path: Path | None, n: int, model: SentenceEncoder, tokenizer: Tokenizer
) -> Measure | None:
    """Searches n questions' passages among all of a retrieval file, by vectors alone."""
    if path is None:
        return None
    found: RetrievalSet = read_retrieval(path)

    def measure() -> Scores:
        ranked = rank_set(found, n, 0, Encoder(model, tokenizer, "training"))
        columns = ranking_values(*ranked)["vectors"]
        return {name: sum(columns[name]) / len(columns[name]) for name in RETRIEVAL}

    return measure


def draw(log: Path, development: Path) -> str:
    """Draw a run's CSV files as a PNG beside `log`: above the loss of each stage, below what was
    measured, both over its minutes. Returns a line that says what was done."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return f"{log} is not drawn: matplotlib is missing; pip install 'ragformer[train]'"
    figure = Figure(figsize=(8, 6), layout="constrained")
    above, below = figure.subplots(2, 1)
    for axes, path, columns in ((above, log, ("loss",)), (below, development, None)):
        for label, points in _series(path, columns).items():
            axes.plot(
                *zip(*points, strict=True), label=label, marker="." if columns is None else ""
            )
        axes.set(xlabel="minutes of the stage", ylabel="loss" if columns else "score")
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize="small")
    picture = log.with_suffix(".png")
    figure.savefig(picture, dpi=120)
    return f"drew {picture}"


def _series(path: Path, columns: tuple[str, ...] | None) -> dict[str, list[tuple[float, float]]]:
    """(minutes, value) by stage and column; without `columns` all those that hold scores."""
    series: dict[str, list[tuple[float, float]]] = defaultdict(list)
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                for name in columns or [n for n in row if n not in ("stage", "step", "minutes")]:
                    series[f"{row['stage']} {name}"].append(
                        (float(row["minutes"]), float(row[name]))
                    )
    return series
