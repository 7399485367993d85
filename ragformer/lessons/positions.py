"""Positions: three ways to tell a transformer where a token stands, and how far each carries.

Attention alone sees a bag of words: shuffle them and nothing changes. Sinusoidal positions add
waves of many lengths to each embedding, learned ones a trained vector a place, and rotary ones turn
queries and keys so that their product knows only how far apart they stand. Three models of one
block learn the same game on short rows: say again the symbol that stood five places before. Then
they play on rows four times as long as any they saw. A distance is a distance anywhere, so rotary
goes on, until symbols come in from so far away that it never learned to leave them out; the learned
vectors of places that never came are noise.

From: Vaswani et al. 2017, arXiv:1706.03762, section 3.5 (sinusoidal); Devlin et al. 2018,
arXiv:1810.04805, section 3 (learned); Su et al. 2021, "RoFormer", arXiv:2104.09864, section 3.

Try next: a DELAY of 1 or 20; train on rows of mixed starts (positions_BT drawn at random) and see
learned positions hold for longer; set rope_theta to 100 or 1,000,000.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from ragformer.lessons.lesson import Outcome, Setting
from ragformer.lessons.pictures import canvas, draw_lines, save
from ragformer.nn.config import TransformerConfig
from ragformer.nn.heads import Decoder, new_decoder
from ragformer.nn.transformer import apply_rope, rope_table, sinusoids
from ragformer.train.loop import Loss, fit

N_SYMBOLS, DELAY, TRAINED, LONGEST = 16, 5, 32, 128
D_MODEL = 32
KINDS = {"sinusoidal": "sinusoidal", "learned": "learned", "rope": "rotary"}
THETA = 10_000.0


def new_model(kind: str) -> Decoder:
    config = TransformerConfig(
        N_SYMBOLS,
        d_model=D_MODEL,
        n_layers=1,
        n_heads=2,
        n_kv_heads=2,
        d_head=D_MODEL // 2,
        d_ff=2 * D_MODEL,
        max_seq_len=LONGEST,
        position=kind,  # type: ignore[arg-type]
        rope_theta=THETA,
        tie_embeddings=False,
    )
    return new_decoder(config, seed=0)


def logits(model: Decoder, ids_BT: Tensor) -> Tensor:
    return model.token_logits(model.transformer(ids_BT))


def rows(n: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Random symbols [n, length], and for each place from DELAY on the symbol DELAY before it."""
    ids_BT = torch.randint(0, N_SYMBOLS, (n, length), generator=generator)
    return ids_BT, ids_BT[:, :-DELAY]


def loss_on(model: Decoder, generator: torch.Generator) -> Tensor:
    ids_BT, wanted_BT = rows(32, TRAINED, generator)
    said_BTV = logits(model, ids_BT)[:, DELAY:]
    return F.cross_entropy(said_BTV.flatten(0, 1), wanted_BT.flatten())


@torch.inference_mode()
def accuracy(model: Decoder, generator: torch.Generator) -> Tensor:
    """The share said right at each place from DELAY on, over rows of LONGEST."""
    ids_BT, wanted_BT = rows(64, LONGEST, generator)
    return (logits(model, ids_BT)[:, DELAY:].argmax(-1) == wanted_BT).float().mean(0)


def likeness(model: Decoder, kind: str) -> Tensor:
    """How alike two places are, by their distance from 0 on: 1 for the same place, [TRAINED].

    Of rotary positions, which have no vectors, how alike a vector of ones is turned for each.
    """
    places_1T = torch.arange(LONGEST)[None]
    if kind == "rope":
        ones = torch.ones(1, 1, LONGEST, model.config.d_head)
        vectors_TD = apply_rope(ones, *rope_table(places_1T, model.config.d_head, THETA))[0, 0]
    elif kind == "sinusoidal":
        vectors_TD = sinusoids(places_1T, model.config.d_model, THETA)[0]
    else:
        assert model.transformer.positions is not None
        vectors_TD = model.transformer.positions.weight.detach()
    vectors_TD = F.normalize(vectors_TD[:TRAINED], dim=-1)
    alike_TT = vectors_TD @ vectors_TD.T
    return torch.stack([alike_TT.diagonal(distance).mean() for distance in range(TRAINED)])


def run(setting: Setting) -> Iterator[str | Loss | Outcome]:
    figure, (left, right) = canvas(1, 2, size=(10, 4))
    alike, right_at, past = {}, {}, {}
    for kind, name in KINDS.items():
        generator = torch.Generator().manual_seed(1)
        model = new_model(kind)
        steps = setting.size(400, 120)
        yield from fit(model, functools.partial(loss_on, model, generator), steps, 1e-2, name)
        right_T = accuracy(model, generator)
        seen, past[name] = float(right_T[: TRAINED - DELAY].mean()), float(right_T[TRAINED:].mean())
        yield f"{name}: {seen:.1%} right within {TRAINED} places, {past[name]:.1%} beyond"
        alike[name] = (range(TRAINED), likeness(model, kind).tolist())
        right_at[name] = (range(DELAY, LONGEST), right_T.tolist())
    draw_lines(left, alike)
    left.set(xlabel="distance between two places", ylabel="likeness (cosine)")
    draw_lines(right, right_at)
    right.axvline(TRAINED, color="gray", linestyle="--")
    right.set(xlabel="place in the row (trained up to the dashed line)", ylabel="share right")
    picture = save(figure, setting.out / "positions.png")
    ahead = max(past["rotary"], past["sinusoidal"]) - past["learned"]
    what = "share right beyond the trained length, the better of rotary and sinusoidal less learned"
    yield Outcome(what, ahead, 0.2, (picture,))
