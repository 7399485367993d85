"""Who looked at whom: the attention weights of a model while it runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ragformer.nn.masks import Causal
from ragformer.nn.transformer import apply_rope


@contextmanager
def watched(blocks: nn.ModuleList, cross: bool = False) -> Iterator[list[Tensor]]:
    """For each block the attention [B, H, T, S] of its latest call, float32.

    cross: what it looked at in the memory, in place of its own row.
    """
    last: list[Tensor] = [torch.empty(0)] * len(blocks)

    def watch(i: int) -> Any:
        def note(attention: nn.Module, given: tuple[Any, ...], _: Tensor) -> None:
            last[i] = _weights(attention, *given)

        return note

    attentions = [getattr(block, "cross" if cross else "attn") for block in blocks]
    hooks = [each.register_forward_hook(watch(i)) for i, each in enumerate(attentions)]
    try:
        yield last
    finally:
        for hook in hooks:
            hook.remove()


def rollout(looked: Sequence[Tensor]) -> Tensor:
    """How much of each first input is in each last state, by attention alone: [B, T, T].

    looked: of every block, as `watched` gives it. Heads count alike, and half of each state is
    what it was before the block. Source: Abnar & Zuidema 2020, arXiv:2005.00928, section 3.
    """
    mixed_BTT = torch.eye(looked[0].shape[-1], device=looked[0].device).expand_as(looked[0][:, 0])
    for weights_BHTT in looked:
        mixed_BTT = (weights_BHTT.mean(1) @ mixed_BTT + mixed_BTT) / 2
    return mixed_BTT


def _weights(
    attention: Any,
    x_BTD: Tensor,
    source_BSD: Tensor,
    rope: Any,
    bias: Tensor | Causal | None,
    cache: Any,
) -> Tensor:
    """What `Attention` multiplied its values with; its keys may be in the cache."""
    q_BHTE = _turned(attention, attention.q(x_BTD), attention.q_norm, rope)
    if cache is None:
        k_BGSE = _turned(attention, attention.k(source_BSD), attention.k_norm, rope)
    else:
        k_BGSE = cache.keys_BGSE[:, :, : cache.length]
    k_BHSE = k_BGSE.repeat_interleave(attention.n_heads // attention.n_kv_heads, dim=1)
    bias = bias.bias if isinstance(bias, Causal) else bias
    with torch.autocast(q_BHTE.device.type, enabled=False):
        scores_BHTS = q_BHTE.float() @ k_BHSE.float().transpose(-1, -2) * attention.d_head**-0.5
        scores_BHTS = scores_BHTS if bias is None else scores_BHTS + bias
    weights_BHTS: Tensor = scores_BHTS.softmax(-1)
    return weights_BHTS


def _turned(attention: Any, projected: Tensor, norm: nn.Module | None, rope: Any) -> Tensor:
    """Heads [B, heads, T, E] of a projection, normalised and rotated as `Attention` does it."""
    heads = projected.view(*projected.shape[:2], -1, attention.d_head).transpose(1, 2)
    heads = heads if norm is None else norm(heads)
    return heads if rope is None else apply_rope(heads, *(t.to(heads.dtype) for t in rope))
