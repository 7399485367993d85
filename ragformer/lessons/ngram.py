"""Counting in place of a network: how likely a symbol is after the few before it."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence


class KneserNey:
    """Interpolated Kneser-Ney over the `order` symbols before the next.

    A long context that was seen speaks for itself, less a discount that the shorter one shares
    out; a shorter one counts in how many ways a symbol came about, not how often. Source: Chen &
    Goodman 1999, "An empirical study of smoothing techniques", section 3 (its modified form).
    """

    def __init__(self, symbols: Sequence[int], n_symbols: int, order: int) -> None:
        self.n_symbols, self.order = n_symbols, order
        self._tables = []
        grams = Counter(tuple(symbols[i : i + order + 1]) for i in range(len(symbols) - order))
        for _ in range(order + 1):
            self._tables.append(_Table(grams))
            grams = Counter(gram[1:] for gram in grams)  # in how many ways, not how often
        self._tables.reverse()  # shortest context first

    def probability(self, context: Sequence[int], symbol: int) -> float:
        """Of `symbol` after `context`, of which the last `order` count."""
        p = 1 / self.n_symbols
        for n, table in enumerate(self._tables[: len(context) + 1]):
            p = table.interpolate(tuple(context[len(context) - n :]), symbol, p)
        return p

    def bits(self, symbols: Sequence[int]) -> float:
        """Mean bits a symbol of a text that was not counted."""
        total = sum(
            math.log2(self.probability(symbols[max(0, i - self.order) : i], symbol))
            for i, symbol in enumerate(symbols)
        )
        return -total / len(symbols)


class _Table:
    """Counts of the grams of one length, by their context."""

    def __init__(self, grams: Counter[tuple[int, ...]]) -> None:
        self.grams = grams
        self.sums: Counter[tuple[int, ...]] = Counter()
        kinds: dict[tuple[int, ...], list[int]] = defaultdict(lambda: [0, 0, 0])
        for gram, count in grams.items():
            self.sums[gram[:-1]] += count
            kinds[gram[:-1]][min(count, 3) - 1] += 1
        self.kinds = dict(kinds)
        n = [sum(count == times for count in grams.values()) + 1 for times in range(1, 5)]
        y = n[0] / (n[0] + 2 * n[1])
        self.discounts = [max(0.0, t - (t + 1) * y * n[t] / n[t - 1]) for t in (1, 2, 3)]

    def interpolate(self, context: tuple[int, ...], symbol: int, shorter: float) -> float:
        """Its probability here, where a shorter context says `shorter`."""
        total = self.sums[context]
        if not total:
            return shorter
        count = self.grams[(*context, symbol)]
        own = count - self.discounts[min(count, 3) - 1] if count else 0.0
        left = sum(d * k for d, k in zip(self.discounts, self.kinds[context], strict=True))
        return (own + left * shorter) / total
