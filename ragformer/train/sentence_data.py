"""Questions of which only the sentence or passage that answers is known, as training examples.

The decoder is asked to start its answer anywhere in it: the likelihood of all its places summed
(Clark & Gardner 2018, arXiv:1710.10723, section 3.3, sum the starts of all places likewise).
"""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Any

from ragformer.train.examples import Example
from ragformer.train.nearest import Nearest

SENTENCE = 400
"""Characters up to which a positive is a sentence, to be set among others in a paragraph."""
NEAREST = 16
OTHERS = {"sentences": (2, 7), "passages": (1, 3)}


class PairSource:
    """The rows {"query", "positive"} of one file; `example` draws one of them."""

    def __init__(self, name: str, rows: list[dict[str, Any]], characters: int) -> None:
        self.name, self.rows, self.characters = name, rows, characters
        self._positives: dict[str, set[str]] = defaultdict(set)
        for row in rows:
            self._positives[row["query"]].add(row["positive"])
        self._texts = list(dict.fromkeys(row["positive"] for row in rows))
        self._nearest = Nearest(self._texts)
        mean = sum(map(len, self._texts)) / max(1, len(self._texts))
        self._kind = "sentences" if mean < SENTENCE else "passages"

    def example(self, rng: random.Random) -> Example:
        """The positive among texts that search takes for it, in any order."""
        row = rng.choice(self.rows)
        golds = self._positives[row["query"]]
        near = [self._texts[place] for place in self._nearest(row["query"], NEAREST)]
        if golds.isdisjoint(near):  # then search would not bring it: the others are no nearer
            near = rng.choices(self._texts, k=NEAREST)
        others = [text for text in dict.fromkeys(near) if text not in golds]
        rng.shuffle(others)
        texts = [row["positive"], *others[: rng.randint(*OTHERS[self._kind])]]
        rng.shuffle(texts)
        gold = texts.index(row["positive"])
        if self._kind == "sentences":
            return _in_paragraphs(row["query"], texts, gold, self.characters, rng)
        size = int(self.characters * rng.uniform(0.5, 1))
        passages = tuple(("", text[:size]) for text in texts)
        return Example(row["query"], passages, (gold, 0, len(passages[gold][1])), somewhere=True)


def _in_paragraphs(
    question: str, sentences: list[str], gold: int, characters: int, rng: random.Random
) -> Example:
    """Sentences one after another in paragraphs of at most about `characters`."""
    paragraphs: list[str] = []
    answer = (0, 0, 0)
    for i, sentence in enumerate(sentences):
        fits = paragraphs and len(paragraphs[-1]) + len(sentence) < characters
        if fits and rng.random() < 0.8:
            paragraphs[-1] += f" {sentence}"
        else:
            paragraphs.append(sentence)
        if i == gold:
            end = len(paragraphs[-1])
            answer = (len(paragraphs) - 1, end - len(sentence), end)
    return Example(question, tuple(("", text) for text in paragraphs), answer, somewhere=True)
