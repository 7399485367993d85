"""From logits to the next token."""

from __future__ import annotations

import torch
from torch import Tensor

from ragformer.types import Sampling


def choose_token(logits_V: Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """The next token id under `sampling`; -inf logits are never chosen. Ties: lower id first."""
    if not bool(torch.isfinite(logits_V).any()):
        raise ValueError("every token is ruled out; a mask must leave at least one")
    if sampling.temperature == 0:
        return int(logits_V.argmax())
    # From the best one down, and in float64: the smallest temperature then stays finite.
    below_V = (logits_V - logits_V.max()).double() / sampling.temperature
    probabilities_V = nucleus(torch.softmax(below_V, -1), sampling.top_p)
    return int(torch.multinomial(probabilities_V, 1, generator=generator))


def nucleus(probabilities_V: Tensor, top_p: float) -> Tensor:
    """Keep the likeliest tokens that together reach `top_p`, scaled to sum 1.

    Source: Holtzman et al. 2019, arXiv:1904.09751, section 3.1.
    """
    if top_p >= 1:
        return probabilities_V
    ordered_V, order_V = probabilities_V.sort(descending=True, stable=True)
    before_V = ordered_V.cumsum(-1) - ordered_V
    kept_V = torch.where(before_V < top_p, ordered_V, 0.0)
    kept_V = torch.zeros_like(kept_V).scatter(0, order_V, kept_V)
    return kept_V / kept_V.sum()
