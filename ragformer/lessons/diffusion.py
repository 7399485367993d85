"""Diffusion: the same transformer takes noise away, and out of pure noise comes a digit.

Mix a picture with noise, tell the model how loud the noise is and which digit was there, and let it
guess the clean picture: that is all it learns. To draw, start with nothing but noise, take the
guess, go a small step from the noise towards it, and guess again. Early guesses are a blurred mean
of all such digits; each step settles more of it. Every tenth time the model is not told which
digit, so that it can also guess without: going from that guess to the told one and as far again
("guidance") makes digits clearer, and more alike. The pictures: ten digits on their way, without
guidance; and a table of digits drawn with it.

From: Ho et al. 2020, "Denoising Diffusion Probabilistic Models", arXiv:2006.11239, section 3; Song
et al. 2020, "Denoising Diffusion Implicit Models", arXiv:2010.02502, section 4; Ho & Salimans 2022,
"Classifier-Free Diffusion Guidance", arXiv:2207.12598; Peebles & Xie 2022 (DiT), arXiv:2212.09748.

Try next: N_STEPS of 1, 3 or 100; GUIDANCE of 1 (none) or 5; start all ten digits from the same
noise and see what they share.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ragformer.lessons.digits import (
    LEVELS,
    SIDE,
    Digits,
    Judge,
    cut_digits,
    draw_table,
    load_digits,
    nearest,
)
from ragformer.lessons.lesson import Outcome, Setting
from ragformer.lessons.pictures import canvas, save
from ragformer.nn.patches import PatchDenoiser, join_patches, new_patch_denoiser
from ragformer.train.loop import Loss, fit

PATCH = 2
ACROSS = SIDE // PATCH
ANY = 10  # the label that stands for none
N_STEPS, GUIDANCE = 25, 2.0


def new_model(setting: Setting) -> PatchDenoiser:
    config = setting.transformer(11, max_seq_len=2 + ACROSS**2, causal=False, position="learned")
    return new_patch_denoiser(config, PATCH**2, seed=0)


def ink(patches_BTW: Tensor) -> Tensor:
    """The picture [B, 8, 8] in whole shades."""
    shades_BTW = ((patches_BTW + 1) * (LEVELS - 1) / 2).round().clamp(0, LEVELS - 1)
    return join_patches(shades_BTW, PATCH, PATCH, ACROSS).long()


def mixed(clean_BTW: Tensor, noise_BTW: Tensor, loud_B: Tensor) -> Tensor:
    """From clean (0) to nothing but noise (1), always about as bright: a quarter of a circle."""
    angle_B11 = loud_B[:, None, None] * (math.pi / 2)
    return angle_B11.cos() * clean_BTW + angle_B11.sin() * noise_BTW


def loss_on(model: PatchDenoiser, digits: Digits, generator: torch.Generator) -> Tensor:
    some_B = torch.randint(0, len(digits.ink), (96,), generator=generator)
    clean_BTW = cut_digits(digits.ink[some_B], PATCH)
    noise_BTW = torch.randn(clean_BTW.shape, generator=generator)
    loud_B = torch.rand(len(some_B), generator=generator)
    untold_B = torch.rand(len(some_B), generator=generator) < 0.1
    label_B = digits.label[some_B].masked_fill(untold_B, ANY)
    return F.mse_loss(model(mixed(clean_BTW, noise_BTW, loud_B), loud_B, label_B), clean_BTW)


@torch.inference_mode()
def draw(
    model: PatchDenoiser, label_B: Tensor, guidance: float, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Step by step what is there and the clean picture it is taken for, both [B, T, W]."""
    now_BTW = torch.randn(len(label_B), ACROSS**2, PATCH**2, generator=generator)
    for step in range(N_STEPS):
        loud_B, next_B = (torch.full((len(label_B),), 1 - s / N_STEPS) for s in (step, step + 1))
        clean_BTW = model(now_BTW, loud_B, label_B)
        if guidance != 1:
            untold_BTW = model(now_BTW, loud_B, torch.full_like(label_B, ANY))
            clean_BTW = untold_BTW + guidance * (clean_BTW - untold_BTW)
        clean_BTW = clean_BTW.clamp(-1, 1)
        yield now_BTW, clean_BTW
        angle_B11 = loud_B[:, None, None] * (math.pi / 2)
        noise_BTW = (now_BTW - angle_B11.cos() * clean_BTW) / angle_B11.sin()
        now_BTW = mixed(clean_BTW, noise_BTW, next_B)
    yield now_BTW, now_BTW


def draw_path(steps: list[tuple[Tensor, Tensor]]) -> Any:
    """Ten digits on their way: what is there, and what the model takes it for."""
    shown = [round(i * N_STEPS / 7) for i in range(8)]
    figure, axes = canvas(1, 2, size=(10, 4.6))
    names = ("what is there", "what the model guesses")
    for ax, states, name in zip(axes, zip(*steps, strict=True), names, strict=True):
        rows = torch.cat([ink(states[step][:10]) for step in shown])
        draw_table(ax, rows, 10, f"{name} at steps {', '.join(map(str, shown))}")
    return figure


def run(setting: Setting) -> Iterator[str | Loss | Outcome]:
    train, test = load_digits()
    model, generator = new_model(setting), torch.Generator().manual_seed(0)
    yield from fit(model, lambda: loss_on(model, train, generator), setting.size(1000, 80), 1e-2)
    judge = Judge(train, test)
    yield f"the judge reads {judge.right:.1%} of unseen real digits right"
    label_B = torch.arange(10).repeat(setting.size(30, 10))
    steps = {}
    for guidance in (1.0, GUIDANCE):
        steps[guidance] = list(draw(model, label_B, guidance, generator))
        ink_BYX = ink(steps[guidance][-1][0])
        right = judge.share_right(Digits(ink_BYX, label_B))
        far = float(nearest(ink_BYX, train).mean())
        yield (
            f"guidance {guidance:g}: {right:.1%} of drawn digits are read right; these are "
            f"{far:.2f} shades a pixel from the most similar digit trained on"
        )
    far = float(nearest(test.ink, train).mean())
    yield f"an unseen real digit is {far:.2f} shades a pixel from the most similar one trained on"
    figure, axes = canvas(size=(5, 5.4))
    draw_table(axes, ink_BYX[:100], 10, "drawn out of noise, asked for 0 to 9 in each row")
    files = (
        save(draw_path(steps[1.0]), setting.out / "diffusion.png"),
        save(figure, setting.out / "drawn.png"),
    )
    yield Outcome("share of drawn digits that the judge reads right", right, 0.8, files)
