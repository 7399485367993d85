"""From logits to the next token."""

from __future__ import annotations

import torch
from torch import Tensor

from ragformer.types import Sampling


def choose_token(logits_V: Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """The next token id under `sampling`; -inf logits are never chosen. Ties: lower id first."""
    if not float(logits_V.max()) > -torch.inf:  # nor is a NaN
        raise ValueError("every token is ruled out; a mask must leave at least one")
    return int(choose_tokens(logits_V[None], sampling, generator))


def choose_tokens(logits_BV: Tensor, sampling: Sampling, generator: torch.Generator) -> Tensor:
    """As `choose_token`, for every row at once: int64 [B]."""
    if sampling.temperature == 0:
        return logits_BV.argmax(-1)
    # From the best one down, and in float64: the smallest temperature then stays finite.
    below_BV = (logits_BV - logits_BV.amax(-1, keepdim=True)).double() / sampling.temperature
    probabilities_BV = nucleus(torch.softmax(below_BV, -1), sampling.top_p)
    return torch.multinomial(probabilities_BV, 1, generator=generator)[:, 0]


def nucleus(probabilities_V: Tensor, top_p: float) -> Tensor:
    """Keep the likeliest tokens that together reach `top_p`, scaled to sum 1; also row by row.

    Source: Holtzman et al. 2019, arXiv:1904.09751, section 3.1.
    """
    if top_p >= 1:
        return probabilities_V
    ordered_V, order_V = probabilities_V.sort(descending=True, stable=True)
    before_V = ordered_V.cumsum(-1) - ordered_V
    kept_V = torch.where(before_V < top_p, ordered_V, 0.0)
    kept_V = torch.zeros_like(kept_V).scatter(-1, order_V, kept_V)
    return kept_V / kept_V.sum(-1, keepdim=True)
