"""Who may look at whom: masks are bool [B, T, S], True where query t may look at key s."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ragformer.nn.cache import Attend

QUERIES = 256
"""That look at once on CPU: half of a whole square of scores is behind the mask, and a smaller
one stays in the processor's cache. 512 tokens of the shipped decoder in bfloat16 take a thirteenth
less time; with 128 no less. In training all look at once, so that `attend` may take the kernel that
keeps no scores."""


@dataclass(frozen=True)
class Causal:
    """The last T of `offset` + T tokens; each sees those before it, and itself."""

    T: int
    offset: int
    device: torch.device

    @property
    def bias(self) -> Tensor:
        """The `score_bias` of all at once."""
        return score_bias(continue_causal_mask(self.T, self.offset, self.device))

    @cached_property
    def biases(self) -> list[Tensor]:
        """For each piece of the queries the `score_bias` of the keys up to its last."""
        whole = self.device.type != "cpu" or torch.is_grad_enabled()
        step = self.T if whole else QUERIES
        return [
            score_bias(continue_causal_mask(min(step, self.T - at), self.offset + at, self.device))
            for at in range(0, self.T, step)
        ]

    def attend(self, attend: Attend, q_BHTE: Tensor, k_BGSE: Tensor, v_BGSE: Tensor) -> Tensor:
        """Softmax attention [B, H, T, E], piece by piece; S is `offset` + T."""
        counts = [bias.shape[-2] for bias in self.biases]
        pieces = [
            attend(q, k_BGSE[:, :, : bias.shape[-1]], v_BGSE[:, :, : bias.shape[-1]], bias)
            for q, bias in zip(torch.split(q_BHTE, counts, dim=2), self.biases, strict=True)
        ]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=2)


def score_bias(mask_BTS: Tensor) -> Tensor:
    """[B, 1, T, S]: 0 where the mask is True, -inf elsewhere; made once for all blocks."""
    bias_BTS = torch.zeros(mask_BTS.shape, device=mask_BTS.device)
    return bias_BTS.masked_fill(~mask_BTS, -torch.inf)[:, None]


def continue_causal_mask(T: int, offset: int, device: torch.device) -> Tensor:
    """[1, T, offset + T]: new token t sees the `offset` cached ones and new ones up to itself."""
    return torch.ones(1, T, offset + T, dtype=torch.bool, device=device).tril(offset)


def padding_mask(keep_BT: Tensor) -> Tensor:
    """[B, T, T]: all look at every kept token; a padded one also at itself, to stay finite."""
    T = keep_BT.shape[1]
    return keep_BT[:, None, :] | torch.eye(T, dtype=torch.bool, device=keep_BT.device)
