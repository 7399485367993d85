"""Embeddings: words become vectors by guessing their neighbours, and alike words come to lie close.

Skip-gram reads a text with a window of five words to each side. For each pair of near words it
pulls the vector of the one towards a second vector of the other, and pushes it off from those of a
few words drawn by chance. Nobody says what a word means, yet `row` ends beside `column`. The text
is what your Python, numpy and torch say about themselves, so the words are a programmer's; `--data`
takes your own. The map is the plane in which the vectors of some groups of words spread most.

From: Mikolov et al. 2013, "Distributed Representations of Words and Phrases", arXiv:1310.4546,
sections 2.2 (negative sampling) and 2.3 (leaving out frequent words).

Try next: a WINDOW of 1 (what stands in a word's place) or 20 (what it is about); 8 dimensions;
add "zero" and a word of your own to NEIGHBOURS.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ragformer.lessons.lesson import Outcome, Setting
from ragformer.lessons.pictures import canvas, save
from ragformer.lessons.text import paragraphs
from ragformer.train.loop import Loss, fit

WINDOW, NEGATIVES, D, LEAST = 5, 5, 64, 20  # a rarer word than LEAST times has no vector
NEIGHBOURS = {  # and some words that may well be among the eight nearest
    "row": "rows column columns",
    "minimum": "maximum min max",
    "sine": "cosine tangent hyperbolic",
    "three": "two four one five",
    "float": "int double integer complex floating",
    "list": "tuple tuples lists sequence dictionaries",
    "class": "classes instance subclass method",
    "true": "false",
    "mean": "average variance median deviation",
    "input": "output tensor",
    "first": "second last",
    "left": "right",
    "smaller": "larger greater less smallest",
    "file": "files disk path text",
    "matrix": "matrices square symmetric",
    "string": "strings character characters unicode",
    "exception": "raised exceptions error raises",
    "gpu": "cuda cpu device",
    "probability": "distribution density random",
    "gradient": "gradients backward grad autograd",
}
ANALOGIES = ("min max minimum", "row rows column", "sin sine cos", "int integer str")
MAP = (
    "one two three four five six",
    "row column rows columns matrix vector",
    "int float complex double integer bool",
    "sin cos tan sine cosine tangent",
    "class method instance object attribute",
    "cpu cuda gpu device memory",
)


def skip_pairs(ids_N: Tensor, generator: torch.Generator) -> Tensor:
    """Every word with each at most WINDOW from it, [P, 2]; the nearer, the more often."""
    pairs = []
    for distance in range(1, WINDOW + 1):
        near_P2 = torch.stack([ids_N[:-distance], ids_N[distance:]], dim=1)
        kept_P = torch.rand(len(near_P2), generator=generator) < 1 - (distance - 1) / WINDOW
        pairs += [near_P2[kept_P], near_P2[kept_P].flip(1)]
    return torch.cat(pairs)


class SkipGram(nn.Module):
    """A vector for each word as itself and one as a neighbour."""

    def __init__(self, n_words: int) -> None:
        super().__init__()
        self.word, self.near = (nn.Embedding(n_words, D) for _ in range(2))
        nn.init.uniform_(self.word.weight, -0.5 / D, 0.5 / D, torch.Generator().manual_seed(0))
        nn.init.zeros_(self.near.weight)

    def forward(self, pairs_P2: Tensor, other_PN: Tensor) -> Tensor:
        """The loss: real neighbours are to be told from others (equation 4)."""
        near_PND = self.near(torch.cat([pairs_P2[:, 1:], other_PN], dim=1))
        scores_PN = torch.einsum("pd,pnd->pn", self.word(pairs_P2[:, 0]), near_PND)
        real_PN = torch.zeros_like(scores_PN)
        real_PN[:, 0] = 1
        total = F.binary_cross_entropy_with_logits(scores_PN, real_PN, reduction="sum")
        return total / len(pairs_P2)


def words_of(setting: Setting) -> list[str]:
    lines = paragraphs(setting.data, docstrings=not setting.quick)
    return re.findall(r"[a-z]+", "\n".join(lines).lower())


def thinned(ids_N: Tensor, counts_V: Tensor, generator: torch.Generator) -> Tensor:
    """The words less many of the most frequent, which say little about their neighbours."""
    share_V = counts_V / counts_V.sum()
    kept_N = torch.rand(len(ids_N), generator=generator) < (1e-4 / share_V[ids_N]) ** 0.5
    return ids_N[kept_N]


class Lookup:
    """Words by their unit vectors, less the mean of all."""

    def __init__(self, words: list[str], vectors_VD: Tensor) -> None:
        self.words, self.index = words, {word: i for i, word in enumerate(words)}
        self.vectors_VD = F.normalize(vectors_VD - vectors_VD.mean(0), dim=-1)

    def near(self, vector_D: Tensor, n: int, without: tuple[str, ...]) -> list[str]:
        order = (self.vectors_VD @ vector_D).argsort(descending=True, stable=True).tolist()
        return [w for w in (self.words[i] for i in order) if w not in without][:n]

    def of(self, word: str) -> Tensor:
        return self.vectors_VD[self.index[word]]


def run(setting: Setting) -> Iterator[str | Loss | Outcome]:
    figure, axes = canvas(size=(8, 6.5))
    spoken, generator = words_of(setting), torch.Generator().manual_seed(0)
    counts = {w: n for w, n in Counter(spoken).most_common() if n >= setting.size(LEAST, 5)}
    words = list(counts)
    index = {word: i for i, word in enumerate(words)}
    counts_V = torch.tensor(list(counts.values())).float()
    ids_N = thinned(torch.tensor([index[w] for w in spoken if w in index]), counts_V, generator)
    pairs_P2 = skip_pairs(ids_N, generator)
    yield f"{len(spoken):,} words, {len(words):,} of them with a vector, {len(pairs_P2):,} pairs"
    model, often_V = SkipGram(len(words)), counts_V**0.75

    def loss_of() -> Tensor:
        at_P = torch.randint(0, len(pairs_P2), (4096,), generator=generator)
        other_P = torch.multinomial(often_V, 4096 * NEGATIVES, True, generator=generator)
        return model(pairs_P2[at_P], other_P.view(4096, NEGATIVES))  # type: ignore[no-any-return]

    yield from fit(model, loss_of, setting.size(2500, 50), 5e-3)
    found = Lookup(words, model.word.weight.detach())
    asked = [word for word in NEIGHBOURS if word in index]
    sensible = 0
    for word in asked or words[100:120]:  # of another text words that are neither common nor rare
        near = found.near(found.of(word), 8, (word,))
        fitting = set(near) & set(NEIGHBOURS.get(word, "").split())
        sensible += bool(fitting)
        yield f"{word:12} {' '.join(near)}{'' if fitting else '  (none of those listed)'}"
    for a, b, c in (analogy.split() for analogy in ANALOGIES):
        if {a, b, c} <= set(index):
            guess = found.near(found.of(b) - found.of(a) + found.of(c), 3, (a, b, c))
            yield f"{a} is to {b} as {c} is to: {', '.join(guess)}"
    _draw(axes, found)
    picture = save(figure, setting.out / "embeddings.png")
    what = f"of {len(asked)} listed words, with a fitting one among the eight nearest"
    yield Outcome(what, sensible / max(1, len(asked)), 0.9, (picture,))


def _draw(axes: Any, found: Lookup) -> None:
    """The words of MAP, or of another text some, in the plane of their two widest directions."""
    groups = [[w for w in group.split() if w in found.index] for group in MAP]
    groups = [group for group in groups if group] or [found.words[100:140]]
    axes.set(xticks=[], yticks=[])
    axes.margins(0.1)
    vectors_ND = torch.stack([found.of(word) for group in groups for word in group])
    vectors_ND = vectors_ND - vectors_ND.mean(0)
    _, _, directions_DD = torch.linalg.svd(vectors_ND, full_matrices=False)
    places_N2 = vectors_ND @ directions_DD[:2].T
    for group, places in zip(groups, places_N2.split([len(g) for g in groups]), strict=True):
        axes.scatter(*places.T.tolist())
        for word, place in zip(group, places.tolist(), strict=True):
            axes.annotate(word, place, xytext=(4, 3), textcoords="offset points")
