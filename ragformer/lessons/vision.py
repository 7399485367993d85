"""Vision: a picture cut into patches is a sentence, and the same transformer reads it.

A handwritten digit of 8 x 8 pixels becomes sixteen patches of 2 x 2. Each is projected to a vector,
as a word is looked up in a table; one more token stands before them, and its last state says which
digit it is. Nothing tells the model which patches touch: it learns a vector for each place, and the
second picture shows that places side by side come out alike. The first shows what the token looked
at, block by block (attention rollout), and the digits it got wrong.

From: Dosovitskiy et al. 2020, "An Image is Worth 16x16 Words", arXiv:2010.11929, section 3.1;
Abnar & Zuidema 2020, "Quantifying Attention Flow in Transformers", arXiv:2005.00928, section 3.

Try next: patches of 1 or 4 pixels (PATCH); leave out `moved`, and see it learn the training digits
by heart; shuffle the patches of every picture in one fixed order: it reads them just as well. Why?
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ragformer.lessons.digits import SIDE, Digits, cut_digits, draw_digit, load_digits
from ragformer.lessons.lesson import Outcome, Setting
from ragformer.lessons.pictures import canvas, save
from ragformer.nn.patches import PatchClassifier, new_patch_classifier
from ragformer.nn.watch import rollout, watched
from ragformer.train.loop import Loss, fit

PATCH = 2
ACROSS = SIDE // PATCH


def new_model(setting: Setting) -> PatchClassifier:
    config = setting.transformer(1, max_seq_len=1 + ACROSS**2, causal=False, position="learned")
    return new_patch_classifier(config, PATCH**2, 10, seed=0)


def moved(ink_BYX: Tensor, generator: torch.Generator) -> Tensor:
    """Each picture up to a pixel aside and a little turned, stretched and slanted."""
    B = len(ink_BYX)
    change_B23 = torch.randn(B, 2, 3, generator=generator) * torch.tensor([0.1, 0.1, 0.12])
    map_B23 = torch.eye(2, 3) + change_B23
    grid = F.affine_grid(map_B23, [B, 1, SIDE, SIDE], align_corners=False)
    return F.grid_sample(ink_BYX[:, None].float(), grid, align_corners=False)[:, 0]


def loss_on(model: PatchClassifier, digits: Digits, generator: torch.Generator) -> Tensor:
    some = torch.randint(0, len(digits.ink), (64,), generator=generator)
    logits_BN = model(cut_digits(moved(digits.ink[some], generator), PATCH))
    return F.cross_entropy(logits_BN, digits.label[some])


@torch.inference_mode()
def read(model: PatchClassifier, digits: Digits) -> tuple[Tensor, Tensor]:
    """The digit read in each picture [N], and the share of each patch in that [N, Y, X]."""
    with watched(model.transformer.blocks) as looked:
        said_N = model(cut_digits(digits.ink, PATCH)).argmax(-1)
    shares_NT = rollout(looked)[:, 0, 1:]
    return said_N, shares_NT.reshape(-1, ACROSS, ACROSS)


def draw_read(digits: Digits, said_N: Tensor, shares_NYX: Tensor) -> Any:
    """One of each digit over what was looked at in it, and below them some that were misread."""
    wrong_N = said_N != digits.label
    good = [((digits.label == kind) & ~wrong_N).nonzero()[:1, 0] for kind in range(10)]
    figure, axes = canvas(4, 10, size=(11, 5.2))
    for ax in axes:
        ax.axis("off")
    for row, shown in ((0, torch.cat(good)), (20, wrong_N.nonzero()[:10, 0])):
        for place, at in enumerate(shown.tolist(), row):
            label, said = int(digits.label[at]), int(said_N[at])
            title = f"read as {said}" if label == said else f"{label} read as {said}"
            draw_digit(axes[place], digits.ink[at], title)
            draw_digit(axes[place + 10], digits.ink[at])
            _draw_looks(axes[place + 10], shares_NYX[at])
    figure.suptitle(
        "digits never seen, and in red what was looked at; below, those that were misread"
    )
    return figure


def _draw_looks(axes: Any, shares_YX: Tensor) -> None:
    """Lay red over the patches of a digit, the deeper the more of the attention each got."""
    deep_YX = 0.75 * (shares_YX / shares_YX.max()).repeat_interleave(PATCH, 0)
    deep_YX = deep_YX.repeat_interleave(PATCH, 1)
    red = torch.ones_like(deep_YX).numpy()
    axes.imshow(red, cmap="Reds", vmin=0, vmax=1.3, alpha=deep_YX.numpy())


def draw_places(model: PatchClassifier) -> Any:
    """How alike the learned vector of each place is to that of every other (cosine)."""
    assert model.transformer.positions is not None
    places_TD = F.normalize(model.transformer.positions.weight[1:].detach(), dim=-1)
    figure, axes = canvas(ACROSS, ACROSS, size=(5, 5.4))
    for place, ax in enumerate(axes):
        alike = (places_TD @ places_TD[place]).view(ACROSS, ACROSS)
        ax.imshow(alike.numpy(), cmap="RdBu_r", vmin=-1, vmax=1)
        ax.set(xticks=[], yticks=[])
    figure.suptitle("each place beside all others: red is alike, blue opposite")
    return figure


def run(setting: Setting) -> Iterator[str | Loss | Outcome]:
    train, test = load_digits()
    model, generator = new_model(setting), torch.Generator().manual_seed(0)
    yield from fit(model, lambda: loss_on(model, train, generator), setting.size(2000, 130), 1e-2)
    said_N, shares_NYX = read(model, test)
    for name, digits in {"trained on": train, "never seen": test}.items():
        right = float((read(model, digits)[0] == digits.label).float().mean())
        yield f"{right:.1%} of {len(digits.ink):,} digits {name} are read right"
    files = (
        save(draw_read(test, said_N, shares_NYX), setting.out / "vision.png"),
        save(draw_places(model), setting.out / "places.png"),
    )
    right = float((said_N == test.label).float().mean())
    yield Outcome("share of unseen digits read right", right, 0.97, files)
