"""One ranking out of several: pure functions on lists of (chunk id, score), best first.

The k best of all candidates are kept; ties: lower id first.
"""

from __future__ import annotations

from collections.abc import Sequence

Ranking = Sequence[tuple[int, float]]


def weighted_sum(
    rankings: Sequence[Ranking], weights: Sequence[float], k: int
) -> list[tuple[int, float]]:
    """Sum weight * score, each ranking's scores first stretched onto 0 (its worst) to 1.

    A candidate that a ranking lacks counts as its worst. Where all scores are equal each is 1.
    Source: Bruch et al. 2022, arXiv:2210.11934, the convex combination of min-max scaled scores.
    """
    total: dict[int, float] = {}
    for ranking, weight in zip(rankings, weights, strict=True):
        scores = [score for _, score in ranking]
        low, high = min(scores, default=0.0), max(scores, default=0.0)
        for key, score in ranking:
            stretched = (score - low) / (high - low) if high > low else 1.0
            total[key] = total.get(key, 0.0) + weight * stretched
    return best(total, k)


def best(score_of: dict[int, float], k: int) -> list[tuple[int, float]]:
    """The k highest (id, score), best first; ties: lower id first."""
    return sorted(score_of.items(), key=lambda pair: (-pair[1], pair[0]))[: max(k, 0)]
