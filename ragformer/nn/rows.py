"""Rows of different lengths laid end to end (packed), so that no token is padding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Rows:
    """Where each of N rows lies in a batch of one long row; a token sees its own row alone.

    lengths: tokens in each, at least 1; they lie on `device` in this order.
    """

    lengths: tuple[int, ...]
    device: torch.device

    @classmethod
    def lay(cls, rows: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Rows]:
        """ids [1, T] of all rows end to end, and where they lie."""
        ids_T = torch.tensor([token for row in rows for token in row], device=device)
        return ids_T[None], cls(tuple(len(row) for row in rows), device)

    @cached_property
    def row_of(self) -> Tensor:
        """Which row each token is of, int64 [T]."""
        lengths_N = torch.tensor(self.lengths, device=self.device)
        return torch.arange(len(self.lengths), device=self.device).repeat_interleave(lengths_N)

    @cached_property
    def positions(self) -> Tensor:
        """Places from 0 within its own row, int64 [1, T]."""
        starts_N = self.ends[:-1].long()
        return (torch.arange(len(self.row_of), device=self.device) - starts_N[self.row_of])[None]

    @cached_property
    def ends(self) -> Tensor:
        """0 and where each row ends, int32 [N + 1]."""
        lengths = torch.tensor((0, *self.lengths), device=self.device)
        return lengths.cumsum(0, dtype=torch.int32)

    def attend(self, attend: Attend, q_BHTE: Tensor, k_BGTE: Tensor, v_BGTE: Tensor) -> Tensor:
        """Softmax attention within each row, [1, H, T, E]; B is 1.

        On a GPU in half precision one kernel for all rows (Dao 2023, arXiv:2307.08691, as
        PyTorch has it); else `attend` row by row.
        """
        if q_BHTE.is_cuda and q_BHTE.dtype in (torch.float16, torch.bfloat16):
            return self._at_once(q_BHTE, k_BGTE, v_BGTE)
        split = [torch.split(x, list(self.lengths), dim=2) for x in (q_BHTE, k_BGTE, v_BGTE)]
        parts = zip(*split, strict=True)
        return torch.cat([attend(q, k, v) for q, k, v in parts], dim=2)

    def _at_once(self, q_BHTE: Tensor, k_BGTE: Tensor, v_BGTE: Tensor) -> Tensor:
        from torch.nn.attention.varlen import varlen_attn

        groups = q_BHTE.shape[1] // k_BGTE.shape[1]
        k_BHTE, v_BHTE = (x.repeat_interleave(groups, dim=1) for x in (k_BGTE, v_BGTE))
        q_THE, k_THE, v_THE = (x[0].transpose(0, 1) for x in (q_BHTE, k_BHTE, v_BHTE))
        longest = max(self.lengths)
        out_THE = varlen_attn(q_THE, k_THE, v_THE, self.ends, self.ends, longest, longest)
        assert isinstance(out_THE, Tensor)  # a pair only where more is asked for
        return out_THE.transpose(0, 1)[None]
