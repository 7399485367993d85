"""The handwritten digits that come with scikit-learn: 1,797 pictures of 8 x 8 pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ragformer.lessons.pictures import need
from ragformer.nn.patches import cut_patches

SIDE, LEVELS, N_TEST = 8, 17, 360
"""Pixels across, shades from paper to ink, and how many are kept from training."""


@dataclass(frozen=True, slots=True)
class Digits:
    """ink: int64 [N, 8, 8], 0 to 16; label: int64 [N]."""

    ink: Tensor
    label: Tensor


def load_digits() -> tuple[Digits, Digits]:
    """Those to learn from, and N_TEST others; which is which is drawn at random, always alike.

    Source: Alpaydin & Kaynak 1998, "Optical recognition of handwritten digits", UCI.
    """
    need("sklearn")
    from sklearn import datasets

    found = datasets.load_digits()
    ink, label = torch.tensor(found.images).long(), torch.tensor(found.target).long()
    order = torch.randperm(len(ink), generator=torch.Generator().manual_seed(0))
    test, train = order[:N_TEST], order[N_TEST:]
    return Digits(ink[train], label[train]), Digits(ink[test], label[test])


def cut_digits(ink_BYX: Tensor, size: int) -> Tensor:
    """Float patches [B, T, W] between -1 (paper) and 1 (ink), `size` pixels high and wide."""
    return cut_patches(ink_BYX * (2 / (LEVELS - 1)) - 1, size, size)


class Judge:
    """Reads digits it did not draw: a support vector machine on the pixels, no transformer.

    right: the share it reads right of the digits kept from training.
    """

    def __init__(self, train: Digits, test: Digits) -> None:
        from sklearn.svm import SVC

        self._machine = SVC(gamma=0.001).fit(train.ink.flatten(1).numpy(), train.label.numpy())
        self.right = self.share_right(test)

    def share_right(self, digits: Digits) -> float:
        read = self._machine.predict(digits.ink.flatten(1).numpy())
        return float((torch.from_numpy(read) == digits.label).float().mean())


def nearest(ink_NYX: Tensor, others: Digits) -> Tensor:
    """How far each picture is from the most similar of the others: mean shades a pixel, [N]."""
    apart_NM = torch.cdist(ink_NYX.flatten(1).float(), others.ink.flatten(1).float(), p=1)
    return apart_NM.amin(1) / SIDE**2


def draw_digit(axes: Any, ink_YX: Tensor, title: str = "") -> None:
    """One digit, dark on light."""
    axes.imshow(ink_YX.numpy(), cmap="gray_r", vmin=0, vmax=LEVELS - 1)
    axes.axis("off")
    axes.set_title(title, fontsize="small")


def draw_table(axes: Any, ink_NYX: Tensor, columns: int, title: str) -> None:
    """Many digits side by side, row by row."""
    framed = torch.nn.functional.pad(ink_NYX, (1, 1, 1, 1))
    rows = framed.reshape(-1, columns, SIDE + 2, SIDE + 2)
    draw_digit(axes, rows.transpose(1, 2).flatten(2).flatten(0, 1), title)
