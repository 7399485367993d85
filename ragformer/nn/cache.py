"""Keys and values of tokens already read, so that a decode step reads only the new one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ragformer.nn.config import TransformerConfig


@dataclass(slots=True)
class LayerCache:
    """One layer's keys and values [B, G, capacity, E], the first `length` of them filled."""

    keys_BGSE: Tensor
    values_BGSE: Tensor
    length: int = 0

    def append(self, keys_BGTE: Tensor, values_BGTE: Tensor) -> tuple[Tensor, Tensor]:
        """Store T new tokens and return all keys and values so far."""
        end = self.length + keys_BGTE.shape[2]
        if end > self.keys_BGSE.shape[2]:
            raise ValueError(f"the cache holds {self.keys_BGSE.shape[2]} tokens, not {end}")
        self.keys_BGSE[:, :, self.length : end] = keys_BGTE
        self.values_BGSE[:, :, self.length : end] = values_BGTE
        self.length = end
        return self.keys_BGSE[:, :, :end], self.values_BGSE[:, :, :end]


class KVCache:
    """A static cache for B rows of up to `capacity` tokens."""

    def __init__(
        self,
        config: TransformerConfig,
        batch: int,
        capacity: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        shape = (batch, config.n_kv_heads, capacity, config.d_head)
        self.capacity = capacity
        self.layers = [
            LayerCache(
                torch.zeros(shape, dtype=dtype, device=device),
                torch.zeros(shape, dtype=dtype, device=device),
            )
            for _ in range(config.n_layers)
        ]

    @property
    def length(self) -> int:
        """Tokens stored so far."""
        return self.layers[0].length

    def keep(self, length: int) -> None:
        """Forget all tokens behind the first `length`."""
        for layer in self.layers:
            layer.length = length

    def repeat(self, batch: int, room: int) -> KVCache:
        """The tokens of this one-row cache for `batch` rows, copied, so that each may go its own
        way, with room for `room` more."""
        copy = KVCache.__new__(KVCache)
        copy.capacity = self.length + room
        copy.layers = [
            LayerCache(
                _repeated(layer.keys_BGSE[:, :, : layer.length], batch, room),
                _repeated(layer.values_BGSE[:, :, : layer.length], batch, room),
                layer.length,
            )
            for layer in self.layers
        ]
        return copy

    def gather(self, rows: KVCache, start: int, keep_BT: Tensor) -> None:
        """Append to this one-row cache what `rows` hold from `start` on, row after row, where
        keep_BT."""
        for layer, other in zip(self.layers, rows.layers, strict=True):
            keys_BTGE, values_BTGE = (
                filled[:, :, start : start + keep_BT.shape[1]].transpose(1, 2)
                for filled in (other.keys_BGSE, other.values_BGSE)
            )
            layer.append(
                keys_BTGE[keep_BT].transpose(0, 1)[None], values_BTGE[keep_BT].transpose(0, 1)[None]
            )


def _repeated(filled_1GSE: Tensor, batch: int, room: int) -> Tensor:
    _, G, S, E = filled_1GSE.shape
    copy_BGSE = filled_1GSE.new_empty(batch, G, S + room, E)
    copy_BGSE[:, :, :S] = filled_1GSE
    return copy_BGSE
