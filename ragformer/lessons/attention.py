"""Attention by hand: every word looks at every other, and takes from those it looks at.

A word asks with its query, every word answers with its key; the dot product, divided by the square
root of its length and put through a softmax, says how much of each word's value is taken. A head is
one such way to look. Here two heads are written down, not trained, so that you can follow each
number: one looks at the word before, one lets a pronoun look for its noun. A mask hides the words
that come later. The sums are done in plain Python and agree with `ragformer.nn` to the sixth digit.

From: Vaswani et al. 2017, "Attention Is All You Need", arXiv:1706.03762, sections 3.2.1 and 3.2.2.

Try next: add "other": "noun" to LOOKS_FOR; set SHARP to 1 and see each head look everywhere a
little; leave out the division in `by_hand` and see the heads decide, and the sums disagree.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ragformer.lessons.lesson import Outcome, Setting
from ragformer.lessons.pictures import canvas, draw_weights, save
from ragformer.nn.config import TransformerConfig
from ragformer.nn.masks import continue_causal_mask, score_bias
from ragformer.nn.transformer import Attention

WORDS = ["the", "cat", "slept", "because", "it", "was", "tired"]
KINDS = ["noun", "pronoun", "other"]
KIND_OF = {"cat": "noun", "it": "pronoun"}
LOOKS_FOR = {"pronoun": "noun"}  # the second head: who asks, and for what
SHARP = 16.0  # the larger the queries, the more surely a head decides

Matrix = list[list[float]]


def word_vectors() -> Matrix:
    """A row for each word: 1 at its kind, 1 at its place."""
    rows = []
    for place, word in enumerate(WORDS):
        kind = KIND_OF.get(word, "other")
        rows.append([float(k == kind) for k in KINDS] + [float(p == place) for p in range(7)])
    return rows


def projections() -> dict[str, list[Matrix]]:
    """For each head the matrices that make queries, keys and values of a word's vector.

    A key is the vector itself. The first head's query holds SHARP at the place before one's own,
    the second's at the kind one looks for.
    """
    width = len(KINDS) + len(WORDS)
    same = [[float(i == j) for j in range(width)] for i in range(width)]
    before = [[0.0] * width for _ in range(width)]
    for place in range(1, len(WORDS)):
        before[len(KINDS) + place - 1][len(KINDS) + place] = SHARP
    noun = [[0.0] * width for _ in range(width)]
    for asks, wanted in LOOKS_FOR.items():
        noun[KINDS.index(wanted)][KINDS.index(asks)] = SHARP
    return {"q": [before, noun], "k": [same, same], "v": [same, same]}


def times(matrix: Matrix, vector: list[float]) -> list[float]:
    return [sum(m * x for m, x in zip(row, vector, strict=True)) for row in matrix]


def by_hand(q: Matrix, k: Matrix, v: Matrix, causal: bool) -> tuple[Matrix, Matrix]:
    """softmax(q k / sqrt(length)) v: what each word looks at, and what it takes."""
    weights, taken = [], []
    for t, query in enumerate(q):
        seen = range(t + 1) if causal else range(len(k))
        scores = [sum(map(math.prod, zip(query, k[s], strict=True))) for s in seen]
        scores = [score / math.sqrt(len(query)) for score in scores]
        powers = [math.exp(score - max(scores)) for score in scores]  # less the best: no overflow
        shares = [power / sum(powers) for power in powers]
        weights.append(shares + [0.0] * (len(k) - len(shares)))
        taken.append([sum(a * v[s][i] for s, a in enumerate(shares)) for i in range(len(v[0]))])
    return weights, taken


def in_nn(heads: dict[str, list[Matrix]], x_1TD: Tensor, causal: bool) -> Tensor:
    """What `nn.transformer.Attention` with these weights takes, [T, both heads' values]."""
    T, width = x_1TD.shape[1:]
    config = TransformerConfig(1, d_model=width, n_heads=2, n_kv_heads=2, d_head=width)
    attention = Attention(config)
    attention.o = torch.nn.Identity()  # type: ignore[assignment]  # the heads' values as they are
    with torch.no_grad():
        for name, matrices in heads.items():
            getattr(attention, name).weight.copy_(torch.tensor(matrices).flatten(0, 1))
        mask = continue_causal_mask(T, 0, x_1TD.device) if causal else torch.ones(1, T, T).bool()
        out_1TD: Tensor = attention(x_1TD, x_1TD, None, score_bias(mask), None)
    return out_1TD[0]


def run(setting: Setting) -> Iterator[str | Outcome]:
    x, heads = word_vectors(), projections()
    figure, axes = canvas(2, 2, size=(8, 7))
    names = ["the word before", "a pronoun looks for its noun"]
    most = 0.0
    for row, causal in enumerate([False, True]):
        taken = []
        for h, name in enumerate(names):
            q, k, v = ([times(heads[part][h], word) for word in x] for part in "qkv")
            weights, values = by_hand(q, k, v, causal)
            taken.append(torch.tensor(values))
            title = f"{name}, {'later words hidden' if causal else 'no mask'}"
            draw_weights(axes[2 * row + h], torch.tensor(weights), WORDS, WORDS, title)
            asks = WORDS.index("it")
            best = max(range(len(WORDS)), key=lambda s: weights[asks][s])
            yield f'{title}: "it" looks at "{WORDS[best]}" with {weights[asks][best]:.3f}'
        ours_TD = in_nn(heads, torch.tensor([x]), causal)
        most = max(most, float((torch.cat(taken, dim=1) - ours_TD).abs().max()))
    for size in (4, 64, 1024):
        yield _why_the_root(size)
    picture = save(figure, setting.out / "attention.png")
    yield Outcome("greatest difference from ragformer.nn", most, 1e-6, (picture,), at_most=True)


def _why_the_root(size: int) -> str:
    """How sure a softmax over 8 random keys is, with and without the division."""
    generator = torch.Generator().manual_seed(0)
    q_NE, k_NSE = (torch.randn(s, generator=generator) for s in ((500, size), (500, 8, size)))
    scores_NS = torch.einsum("ne,nse->ns", q_NE, k_NSE)
    plain, scaled = ((s.softmax(-1).amax(-1).mean()) for s in (scores_NS, scores_NS / size**0.5))
    return (
        f"random vectors of {size}: the best of 8 words gets {plain:.2f} of the attention, "
        f"divided by the root {scaled:.2f}"
    )
