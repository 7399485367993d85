"""From which confidence on should an answer be shown?

questions, each with the passages search finds -> features, right or not
-> a logistic regression -> coverage, risk and refusal at every threshold -> one threshold
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ragformer.answer.confidence import Confidence
from ragformer.answer.reader import Reader
from ragformer.answer.rerank import RERANKED, rerank, search_score
from ragformer.errors import InputError
from ragformer.eval.cases import CorpusItem, ReadingCase
from ragformer.eval.metrics import Bools, Floats, risk_coverage
from ragformer.eval.retrieval import fill
from ragformer.retrieve.embed import Encoder
from ragformer.retrieve.retrieve import retrieve
from ragformer.store.store import Store
from ragformer.store.vectors import VectorIndex

FEWEST_GIVEN = 10


def with_passages_found(
    cases: Sequence[ReadingCase],
    everything: Sequence[ReadingCase],
    encoder: Encoder,
    reader: Reader,
    k: int,
) -> list[ReadingCase]:
    """The cases with the k passages search finds among all sources in place of their own."""
    sources = list(dict.fromkeys(source for case in everything for source in case.sources))
    corpus = [CorpusItem(str(n), title, text) for n, (title, text) in enumerate(sources)]
    with (
        TemporaryDirectory(prefix="ragformer-eval-") as folder,
        Store.open(Path(folder), create=True) as store,
    ):
        items = fill(store, corpus, encoder)
        ids_N, vectors_ND = store.vectors(encoder.id)
        item_of = dict(zip(ids_N.tolist(), items, strict=True))
        index = VectorIndex.build(ids_N, vectors_ND)
        found = []
        for case in cases:
            best = retrieve(store, index, encoder, case.question, max(k, RERANKED))
            best_k = rerank(reader, case.question, best)[:k]
            items_k = [item_of[p.chunk_id] for p in best_k]
            passages = tuple((item.title, item.text) for item in items_k)
            own = {case.sources[index] for index in case.gold_sources}
            gold = tuple(place for place, passage in enumerate(passages) if passage in own)
            scores = tuple(search_score(passage) for passage in best_k)
            found.append(
                dataclasses.replace(case, sources=passages, gold_sources=gold, scores=scores)
            )
    return found


def fit(
    features: Sequence[tuple[float, ...]],
    right_N: Bools,
    ridge: float = 1.0,
    start: Confidence | None = None,
) -> Confidence:
    """The logistic regression most likely to give these rows, by Newton's method; threshold 0.5.

    ridge: weight of the squared weights (not the bias), so that separable rows have an end. start:
    the weights are held to these instead of 0.
    """
    rows_NF = np.column_stack([np.ones(len(right_N)), np.array(features)])
    penalty_FF = ridge * np.diag([1e-6] + [1.0] * (rows_NF.shape[1] - 1))
    start_F = np.array([start.bias, *start.weights]) if start else np.zeros(rows_NF.shape[1])
    weights_F = start_F.copy()
    for _ in range(50):
        p_N = 1 / (1 + np.exp(-np.clip(rows_NF @ weights_F, -50, 50)))
        gradient_F = rows_NF.T @ (p_N - right_N) + penalty_FF @ (weights_F - start_F)
        curve_FF = (rows_NF.T * (p_N * (1 - p_N))) @ rows_NF + penalty_FF
        step_F = np.linalg.solve(curve_FF, gradient_F)
        weights_F -= step_F
        if np.abs(step_F).max() < 1e-9:
            break
    bias, *weights = weights_F.tolist()
    return Confidence(bias, tuple(weights), 0.5)


def cross_fit(
    features: Sequence[tuple[float, ...]], right_N: Bools, groups: Sequence[str], folds: int = 5
) -> Floats:
    """For each row the confidence that `fit` gives it, learned from rows of other groups alone.

    groups: what a row is of, its document say; a group is never on both sides. Raises InputError
    for fewer groups than folds.
    """
    order = {group: n for n, group in enumerate(sorted(set(groups), key=_drawn))}
    if len(order) < folds:
        raise InputError(f"{len(order)} documents cannot be held out in {folds} parts; add some")
    fold_N = np.array([order[group] % folds for group in groups])
    confidence_N = np.zeros(len(groups))
    for fold in range(folds):
        learned = np.flatnonzero(fold_N != fold).tolist()
        fitted = fit([features[at] for at in learned], right_N[learned])
        for at in np.flatnonzero(fold_N == fold).tolist():
            confidence_N[at] = fitted(features[at])
    return confidence_N


def _drawn(group: str) -> bytes:
    """By this a shuffled order is always the same."""
    return sha256(group.encode("utf-8", "surrogatepass")).digest()


@dataclass(frozen=True, slots=True)
class Point:
    """What a threshold does. coverage: share of the answerable answered. risk: share of all
    answered that are wrong, an unanswerable one always being so. refusal: share of the
    unanswerable refused; None when there are none."""

    threshold: float
    coverage: float
    risk: float
    refusal: float | None


def sweep(confidence_N: Floats, right_N: Bools, answerable_N: Bools) -> list[Point]:
    """A point for each distinct confidence, the highest first.

    right_N: whether the answer would be right; never where answerable_N is False. Raises
    InputError when no row is answerable.
    """
    if not answerable_N.any():
        raise InputError("no question is answerable, so no threshold can be chosen; add some")
    thresholds, _, risk = risk_coverage(confidence_N, right_N & answerable_N)
    coverage = _share_from(confidence_N[answerable_N], thresholds)
    others_N = confidence_N[~answerable_N]
    answered = _share_from(others_N, thresholds) if len(others_N) else None
    return [
        Point(
            float(threshold),
            float(coverage[place]),
            float(risk[place]),
            None if answered is None else float(1 - answered[place]),
        )
        for place, threshold in enumerate(thresholds)
    ]


def _share_from(values: Floats, thresholds: Floats) -> Floats:
    """Share of the values that are at least each threshold."""
    below = np.searchsorted(np.sort(values), thresholds, side="left")
    shares: Floats = 1 - below / len(values)
    return shares


def choose(points: Sequence[Point], coverage: float = 0.8) -> Point:
    """The highest threshold that still answers this share of the answerable."""
    return next(point for point in points if point.coverage >= coverage - 1e-12)


def choose_by_error(confidence_N: Floats, right_N: Bools, error_rate: float) -> float | None:
    """The lowest threshold at which at most this share of the answers given is wrong; None where
    none does so for FEWEST_GIVEN answers, as fewer may all be right by luck."""
    thresholds, covered, risk = risk_coverage(confidence_N, right_N)
    good = (risk <= error_rate) & (covered * len(confidence_N) >= FEWEST_GIVEN - 0.5)
    return float(thresholds[good][-1]) if good.any() else None


def thin(points: Sequence[Point], n: int = 20) -> list[Point]:
    """At most n of the points, spread evenly by coverage: a table to look at."""
    chosen = {
        choose(points, step / n).threshold: choose(points, step / n) for step in range(1, n + 1)
    }
    return list(chosen.values())
