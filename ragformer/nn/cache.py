"""Keys and values of tokens already read, so that a decode step reads only the new one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ragformer.nn.config import TransformerConfig

Attend = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]
KVBlock = list[tuple[Tensor, Tensor]]
"""For each layer the keys and values [1, G, T, E] of T tokens."""


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

    @property
    def n_bytes(self) -> int:
        """What it takes, filled or not."""
        return sum(layer.keys_BGSE.nbytes + layer.values_BGSE.nbytes for layer in self.layers)

    def keep(self, length: int) -> None:
        """Forget all tokens behind the first `length`."""
        for layer in self.layers:
            layer.length = length

    def block(self, start: int) -> KVBlock:
        """A copy of what it holds from token `start` on."""
        return [
            (
                layer.keys_BGSE[:, :, start : layer.length].clone(),
                layer.values_BGSE[:, :, start : layer.length].clone(),
            )
            for layer in self.layers
        ]

    def append(self, block: KVBlock) -> None:
        """Go on with tokens that were read before behind the same ones."""
        for layer, (keys_BGTE, values_BGTE) in zip(self.layers, block, strict=True):
            layer.append(keys_BGTE, values_BGTE)

    def repeat(self, batch: int, room: int, dtype: torch.dtype | None = None) -> KVCache:
        """The tokens of this one-row cache for `batch` rows, copied, so that each may go its own
        way, with room for `room` more; dtype: None for this one's."""
        copy = KVCache.__new__(KVCache)
        copy.capacity = self.length + room
        copy.layers = [
            LayerCache(
                _repeated(layer.keys_BGSE[:, :, : layer.length], batch, room, dtype),
                _repeated(layer.values_BGSE[:, :, : layer.length], batch, room, dtype),
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


@dataclass(frozen=True, slots=True)
class LayerRows:
    """One layer of several one-row caches.

    counts: new tokens of each row; they lie end to end. biases_11TS: who of them looks at whom,
    None for all at all.
    """

    caches: Sequence[LayerCache]
    counts: Sequence[int]
    biases_11TS: Sequence[Tensor | None]

    def attend(self, attend: Attend, q_1HTE: Tensor, k_1GTE: Tensor, v_1GTE: Tensor) -> Tensor:
        """Store the new tokens, each behind its own row's, and let them look at that row alone,
        as they would without the others; [1, H, T, E]."""
        counts = list(self.counts)
        split = [torch.split(x, counts, dim=2) for x in (q_1HTE, k_1GTE, v_1GTE)]
        attended = []
        for cache, bias, q, k, v in zip(self.caches, self.biases_11TS, *split, strict=True):
            keys_1GSE, values_1GSE = cache.append(k, v)
            attended.append(attend(q, keys_1GSE, values_1GSE, bias))
        return torch.cat(attended, dim=2)


class RowCaches:
    """One-row caches of different lengths as a transformer's one cache; arguments as for
    `LayerRows`. Positions must be given, as no place is the same in all."""

    length = 0

    def __init__(
        self,
        caches: Sequence[KVCache],
        counts: Sequence[int],
        biases_11TS: Sequence[Tensor | None],
    ) -> None:
        layers = zip(*(cache.layers for cache in caches), strict=True)
        self.layers = [LayerRows(layer, counts, biases_11TS) for layer in layers]


def _repeated(filled_1GSE: Tensor, batch: int, room: int, dtype: torch.dtype | None) -> Tensor:
    _, G, S, E = filled_1GSE.shape
    copy_BGSE = filled_1GSE.new_empty(batch, G, S + room, E, dtype=dtype)
    copy_BGSE[:, :, :S] = filled_1GSE
    return copy_BGSE
