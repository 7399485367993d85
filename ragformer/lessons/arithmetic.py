"""Arithmetic: a decoder learns to add, far sooner when it may write the answer backwards.

It reads 345+678= and writes the answer, digit by digit. To write the first digit of 1023 it would
have to know every carry at once; written backwards, 3201, each digit needs two digits and the carry
of the digit just written, as children are taught it. One model of each kind learns from the same
sums of up to three digits; a tenth of all sums is never trained on. Then both get longer ones, and
fail: they have learned sums of up to three digits, not addition.

From: Lee et al. 2023, "Teaching Arithmetic to Small Transformers", arXiv:2307.03381, sections 4
and 7 (length); as plain sequence modelling, Nogueira et al. 2021, arXiv:2102.13019.

Try next: LENGTHS up to 5, and ask for six; position="learned" or "sinusoidal"; multiply
in place of adding; give each digit its column as a segment (segments_BT), and ask again.
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
from ragformer.nn.generate import write_rows
from ragformer.nn.heads import Decoder, new_decoder
from ragformer.train.loop import Loss, fit
from ragformer.types import Sampling

PLUS, EQUALS, N_SYMBOLS = 10, 11, 12  # and the digits
LENGTHS = {1: 1, 2: 2, 3: 5}  # digits of each number trained on, and how often
LONGEST = 6
WAYS = {"backwards": True, "forwards": False}


def new_model() -> Decoder:
    config = TransformerConfig(
        N_SYMBOLS,
        d_model=64,
        n_layers=2,
        n_heads=4,
        n_kv_heads=4,
        d_head=16,
        d_ff=128,
        max_seq_len=4 * LONGEST,
        tie_embeddings=False,
    )
    return new_decoder(config, seed=0)


def digits(numbers_B: Tensor, n: int) -> Tensor:
    """The last n digits, the highest first, [B, n]."""
    return numbers_B[:, None] // 10 ** torch.arange(n - 1, -1, -1) % 10


def sums(n: int, digit_count: int, unseen: bool, generator: torch.Generator) -> Tensor:
    """Two numbers of so many digits each, [n, 2], of those kept back or of the others."""
    pairs_B2 = torch.randint(0, 10**digit_count, (16 * n, 2), generator=generator)
    kept_back_B = (pairs_B2[:, 0] * 7919 + pairs_B2[:, 1] * 104_729) % 1009 < 101
    return pairs_B2[kept_back_B == unseen][:n]


def written(pairs_B2: Tensor, digit_count: int, backwards: bool) -> tuple[Tensor, Tensor]:
    """The question, as in 345+678=, and the answer, one digit longer than each number."""
    first, second = (digits(numbers_B, digit_count) for numbers_B in pairs_B2.unbind(1))
    plus_B1 = torch.full((len(pairs_B2), 1), PLUS)
    question_BT = torch.cat([first, plus_B1, second, torch.full_like(plus_B1, EQUALS)], dim=1)
    answer_BT = digits(pairs_B2.sum(1), digit_count + 1)
    return question_BT, answer_BT.flip(1) if backwards else answer_BT


def loss_on(
    model: Decoder, lengths: dict[int, int], backwards: bool, generator: torch.Generator
) -> Tensor:
    """Of the answer's digits, for a batch of sums of one length."""
    often = torch.tensor(list(lengths.values())).float()
    digit_count = list(lengths)[int(torch.multinomial(often, 1, generator=generator))]
    pairs_B2 = sums(128, digit_count, unseen=False, generator=generator)
    question_BT, answer_BT = written(pairs_B2, digit_count, backwards)
    hidden_BTD = model.transformer(torch.cat([question_BT, answer_BT[:, :-1]], dim=1))
    logits_BTV = model.token_logits(hidden_BTD[:, question_BT.shape[1] - 1 :])
    return F.cross_entropy(logits_BTV.flatten(0, 1), answer_BT.flatten())


def said(model: Decoder, question_BT: Tensor, digit_count: int) -> Tensor:
    return write_rows(model, question_BT, digit_count + 1, Sampling())


def accuracy(model: Decoder, n: int, digit_count: int, backwards: bool) -> float:
    """The share of n unseen sums with every digit right."""
    pairs_B2 = sums(n, digit_count, unseen=True, generator=torch.Generator().manual_seed(9))
    question_BT, answer_BT = written(pairs_B2, digit_count, backwards)
    return float((said(model, question_BT, digit_count) == answer_BT).all(1).float().mean())


def run(setting: Setting) -> Iterator[str | Loss | Outcome]:
    figure, (left, right) = canvas(1, 2, size=(10, 4))
    learning, by_length, reached = {}, {}, {}
    steps, lengths = setting.size(800, 300), setting.size(LENGTHS, {2: 1})
    longest = max(lengths)
    for name, backwards in WAYS.items():
        model, generator = new_model(), torch.Generator().manual_seed(0)
        at: list[int] = []
        shares: list[float] = []
        loss_of = functools.partial(loss_on, model, lengths, backwards, generator)
        for loss in fit(model, loss_of, steps, 8e-3, name):
            at.append(loss.step)
            shares.append(accuracy(model, setting.size(100, 20), longest, backwards))
            yield loss
        reached[name] = accuracy(model, setting.size(2000, 100), longest, backwards)
        learning[name] = (at, shares)
        asked = range(1, LONGEST + 1)
        by_length[name] = (
            asked,
            [accuracy(model, setting.size(200, 20), n, backwards) for n in asked],
        )
        yield f"{name}: {reached[name]:.1%} of unseen sums of {longest}-digit numbers"
        for a, b in ((345, 678), (999, 1), (1234, 4321)):
            yield f"    {_shown(model, a, b, backwards)}"
    draw_lines(left, learning)
    left.set(xlabel="step", ylabel="unseen sums right")
    draw_lines(right, by_length)
    right.axvline(longest, color="gray", linestyle="--")
    right.set(xlabel="digits of each number (trained up to the dashed line)", ylabel="sums right")
    picture = save(figure, setting.out / "arithmetic.png")
    what = f"right of unseen sums of {longest}-digit numbers, written backwards"
    yield Outcome(what, reached["backwards"], 0.99, (picture,))


def _shown(model: Decoder, a: int, b: int, backwards: bool) -> str:
    n = len(str(max(a, b)))
    question_BT, _ = written(torch.tensor([[a, b]]), n, backwards)
    answer = "".join(map(str, said(model, question_BT, n)[0].tolist()))
    number = int(answer[::-1] if backwards else answer)
    return f"{a} + {b} = {number}{'' if number == a + b else f' (wrong: {a + b})'}"
