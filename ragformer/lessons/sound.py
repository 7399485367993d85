"""Sound: a spectrogram is a picture, so the reader of pictures hears.

How loud each band of pitch is at each moment makes a picture of 64 x 64, and the model that read
digits reads it in patches of 8 x 8, eight bands for an eighth of a second. Six instruments and
three vowels are made from sums of waves, each with its own pitch, start and touch: a clarinet lacks
every second harmonic, a violin trembles, a guitar's high harmonics die first, a bell's partials fit
no series, a vowel is the harmonics that the throat lets through. Then noise is laid over them,
until noise is all one hears.

From: Gong et al. 2021, "AST: Audio Spectrogram Transformer", arXiv:2104.01778, section 2.1; how
vowels differ: Peterson & Barney 1952, "Control Methods Used in a Study of the Vowels".

Try next: patches of one moment and all bands (HIGH = 64, WIDE = 1), then of one band and all
moments; train almost without noise (QUIET = 20) and see what noise then does; a sound of your own
in signals.py; record yourself saying "ah" at 8,000 values a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ragformer.lessons.lesson import Outcome, Setting
from ragformer.lessons.pictures import canvas, draw_lines, draw_weights, save
from ragformer.lessons.signals import KINDS, make_sounds, spectrogram, with_noise, write_wav
from ragformer.nn.patches import PatchClassifier, cut_patches, new_patch_classifier
from ragformer.train.loop import Loss, fit

SIDE, HIGH, WIDE = 64, 8, 8
QUIET, LOUD = 0.0, 20.0  # decibels of the sound above the noise, between which it trains
TESTED = (-20, -15, -10, -5, 0, 5, 10, 20)
HARD = -5


@dataclass(frozen=True, slots=True)
class Sounds:
    """waves: float32 [N, LENGTH]; kind: int64 [N]."""

    waves: Tensor
    kind: Tensor


def some_sounds(each: int, generator: torch.Generator) -> Sounds:
    kind_N = torch.arange(len(KINDS)).repeat(each)
    return Sounds(make_sounds(kind_N, generator), kind_N)


def new_model(setting: Setting) -> PatchClassifier:
    config = setting.transformer(
        1, max_seq_len=1 + SIDE * SIDE // (HIGH * WIDE), causal=False, position="learned"
    )
    return new_patch_classifier(config, HIGH * WIDE, len(KINDS), seed=0)


def loss_on(model: PatchClassifier, sounds: Sounds, generator: torch.Generator) -> Tensor:
    """Of some sounds in fresh noise."""
    some_B = torch.randint(0, len(sounds.kind), (32,), generator=generator)
    decibels_B = QUIET + (LOUD - QUIET) * torch.rand(len(some_B), generator=generator)
    heard_BYX = spectrogram(with_noise(sounds.waves[some_B], decibels_B, generator))
    return F.cross_entropy(model(cut_patches(heard_BYX, HIGH, WIDE)), sounds.kind[some_B])


@torch.inference_mode()
def hear(
    model: PatchClassifier, sounds: Sounds, decibels: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Each sound's spectrogram so far above the noise [N, 64, 64], and what it is taken for."""
    waves_NT = with_noise(sounds.waves, torch.full(sounds.kind.shape, decibels), generator)
    heard_NYX = spectrogram(waves_NT)
    return heard_NYX, model(cut_patches(heard_NYX, HIGH, WIDE)).argmax(-1)


def draw_sounds(model: PatchClassifier, sounds: Sounds, generator: torch.Generator) -> Any:
    """One sound of each kind, clear and in ever louder noise, and what it is taken for."""
    figure, axes = canvas(3, len(KINDS), size=(13, 5))
    first = Sounds(sounds.waves[: len(KINDS)], sounds.kind[: len(KINDS)])
    for row, decibels in enumerate((LOUD, QUIET, HARD)):
        heard_NYX, said_N = hear(model, first, decibels, generator)
        for kind, name in enumerate(KINDS):
            ax = axes[row * len(KINDS) + kind]
            ax.imshow(heard_NYX[kind].numpy(), origin="lower")
            ax.set(xticks=[], yticks=[])
            ax.set_title(f"{name}: {KINDS[int(said_N[kind])]}", fontsize="small")
        axes[row * len(KINDS)].set_ylabel(f"{decibels:g} decibels")
    figure.suptitle("what it is: what it is taken for; pitch upwards, time to the right")
    return figure


def run(setting: Setting) -> Iterator[str | Loss | Outcome]:
    figure, (left, right) = canvas(1, 2, size=(10, 4.2))
    generator = torch.Generator().manual_seed(0)
    train, test = (some_sounds(setting.size(each, 10), generator) for each in (120, 40))
    model = new_model(setting)
    yield from fit(model, lambda: loss_on(model, train, generator), setting.size(600, 60), 2e-2)
    told_right, confused_NN = [], torch.zeros(len(KINDS), len(KINDS))
    for decibels in TESTED:
        said_N = hear(model, test, decibels, generator)[1]
        told_right.append(float((said_N == test.kind).float().mean()))
        yield f"{decibels:4} decibels above the noise: {told_right[-1]:.1%} of new sounds right"
        if decibels == HARD:
            confused_NN.index_put_((test.kind, said_N), torch.ones(()), accumulate=True)
    chance = [1 / len(KINDS)] * len(TESTED)
    left.axvspan(QUIET, LOUD, alpha=0.1, label="as in training")  # first: the lines make the legend
    draw_lines(left, {"the model": (TESTED, told_right), "guessing": (TESTED, chance)})
    left.set(xlabel="decibels above the noise", ylabel="share told right", ylim=(0, 1.03))
    draw_weights(right, confused_NN, KINDS, KINDS, f"at {HARD} decibels: a row is taken for")
    files = (
        save(draw_sounds(model, test, generator), setting.out / "sounds.png"),
        save(figure, setting.out / "sound.png"),
        *(write_wav(test.waves[i], setting.out / f"{KINDS[i]}.wav") for i in range(len(KINDS))),
    )
    within = [r for r, d in zip(told_right, TESTED, strict=True) if QUIET <= d <= LOUD]
    mean = sum(within) / len(within)
    yield Outcome(
        f"share told right, {QUIET:g} to {LOUD:g} decibels above noise", mean, 0.95, files
    )
