"""Low-rank adapters: a trained model learns something more in a few numbers beside its weights.

Source: Hu et al. 2021, "LoRA", arXiv:2106.09685, section 4.1.
"""

from __future__ import annotations

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)
SCALE = 2.0
"""How many times the product counts: alpha / r of the source."""


class Adapter(nn.Module):
    """A linear map that stays as it is, and a product of two thin matrices added to it."""

    def __init__(self, linear: nn.Linear, rank: int) -> None:
        super().__init__()
        self.linear = linear
        self.down = nn.Parameter(linear.weight.new_empty(rank, linear.in_features))
        self.up = nn.Parameter(linear.weight.new_zeros(linear.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear(x)
        return out + F.linear(F.linear(x, self.down), self.up) * SCALE

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """The linear map with what was learned added to its weight, which changes."""
        self.linear.weight += self.up @ self.down * SCALE
        return self.linear


def add_adapters(model: nn.Module, rank: int, seed: int) -> list[nn.Parameter]:
    """Put an adapter on every linear map below `model` and freeze all else; returns what learns.

    Until something is learned the model says what it said: `up` starts at zero.
    """
    model.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    learned: list[nn.Parameter] = []
    for owner, name, linear in _below(model, nn.Linear):
        adapter = Adapter(linear, rank)
        drawn = torch.randn(adapter.down.shape, generator=generator)
        adapter.down.data.copy_(drawn * linear.in_features**-0.5)
        setattr(owner, name, adapter)
        learned += [adapter.down, adapter.up]
    return learned


def merge_adapters(model: nn.Module) -> None:
    """Add each adapter to its linear map and take it away: nothing is left that costs time."""
    for owner, name, adapter in _below(model, Adapter):
        setattr(owner, name, adapter.merged())


def _below(model: nn.Module, kind: type[M]) -> list[tuple[nn.Module, str, M]]:
    """Each module of this kind with its owner and its name there."""
    return [
        (owner, name, module)
        for owner in model.modules()
        for name, module in owner.named_children()
        if isinstance(module, kind)
    ]
