"""Decode steps whose tensors never move, so that a GPU can replay one as a CUDA graph.

On a GPU a step of a small model is all launches: one replay stands for all of them. The tensors'
places and shapes are part of a graph, so the keys and values of all places are looked at, those
not filled yet under a mask. The same steps run anywhere without a graph.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ragformer.nn.cache import KVCache, LayerCache
from ragformer.nn.heads import Decoder


@dataclass(slots=True)
class _FixedLayer(LayerCache):
    """A layer that is written at a place told by a tensor, and read whole."""

    at_1: Tensor | None = None

    def append(self, keys_BGTE: Tensor, values_BGTE: Tensor) -> tuple[Tensor, Tensor]:
        assert self.at_1 is not None
        self.keys_BGSE.index_copy_(2, self.at_1, keys_BGTE.to(self.keys_BGSE.dtype))
        self.values_BGSE.index_copy_(2, self.at_1, values_BGTE.to(self.values_BGSE.dtype))
        return self.keys_BGSE, self.values_BGSE


class _FixedCache(KVCache):
    def __init__(self, cache: KVCache, at_1: Tensor) -> None:
        self.capacity = cache.capacity
        self.layers = [
            _FixedLayer(layer.keys_BGSE, layer.values_BGSE, layer.length, at_1)
            for layer in cache.layers
        ]


class Stepper:
    """One token more for each of the cache's rows, again and again; `cache` itself is filled."""

    def __init__(
        self, model: Decoder, cache: KVCache, segment: int = 0, graph: bool | None = None
    ) -> None:
        """graph: whether to record one; None for on a GPU. That takes three steps, here and now."""
        self.model, self.cache, self.segment = model, cache, segment
        keys = cache.layers[0].keys_BGSE
        self._ids_B1 = torch.zeros(len(keys), 1, dtype=torch.int64, device=keys.device)
        self._at_1 = torch.full((1,), cache.length, device=keys.device)
        self._places_S = torch.arange(cache.capacity, device=keys.device)
        self._fixed = _FixedCache(cache, self._at_1)
        self._graph: torch.cuda.CUDAGraph | None = None
        if keys.is_cuda if graph is None else graph:
            self._record()

    @torch.inference_mode()
    def step(self, ids_B1: Tensor) -> Tensor:
        """Read a token for each row; logits [B, V] of what follows. The next step overwrites them.

        Raises ValueError where the cache is full.
        """
        at = self.cache.length
        if at == self.cache.capacity:
            raise ValueError(f"the cache holds {at} tokens and is full")
        self._ids_B1.copy_(ids_B1)
        self._at_1.fill_(at)
        if self._graph is None:
            self._logits_BV = self._read()
        else:
            self._graph.replay()
        self.cache.keep(at + 1)
        return self._logits_BV

    def _read(self) -> Tensor:
        hidden_B1D = self.model.transformer(
            self._ids_B1,
            positions_BT=self._at_1[None],
            segments_BT=torch.full_like(self._ids_B1, self.segment),
            mask_BTS=(self._places_S <= self._at_1)[None, None],
            cache=self._fixed,
        )
        return self.model.token_logits(hidden_B1D)[:, -1]

    @torch.inference_mode()
    def _record(self) -> None:
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(2):  # kernels choose their workspace before the graph is recorded
                self._read()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._logits_BV = self._read()
        self._graph = graph
