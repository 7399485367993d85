"""Steps whose tensors never move, so that a GPU can replay them as CUDA graphs.

On a GPU a step of a small model is all launches: one replay stands for all of them. The tensors'
places and shapes are part of a graph, so each number of tokens has its own, and the keys and
values of all places are looked at, those not filled yet under a mask. The same steps run anywhere
without a graph.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ragformer.nn.cache import KVCache, LayerCache

PLAIN_STEPS = 4
"""Steps of as many tokens before their graph is recorded: about what that takes, so that a short
text is never twice as slow for it."""


@dataclass(slots=True)
class _FixedLayer(LayerCache):
    """A layer that is written at places told by a tensor, and read whole."""

    at_T: Tensor | None = None

    def append(self, keys_BGTE: Tensor, values_BGTE: Tensor) -> tuple[Tensor, Tensor]:
        assert self.at_T is not None
        self.keys_BGSE.index_copy_(2, self.at_T, keys_BGTE.to(self.keys_BGSE.dtype))
        self.values_BGSE.index_copy_(2, self.at_T, values_BGTE.to(self.values_BGSE.dtype))
        return self.keys_BGSE, self.values_BGSE


class _FixedCache(KVCache):
    def __init__(self, cache: KVCache, at_T: Tensor) -> None:
        self.capacity = cache.capacity
        self.layers = [
            _FixedLayer(layer.keys_BGSE, layer.values_BGSE, layer.length, at_T)
            for layer in cache.layers
        ]


@dataclass(slots=True)
class _Step:
    """What a step of T tokens reads, where it stands, what it gives, and how often it was taken."""

    ids_BT: Tensor
    at_T: Tensor
    cache: _FixedCache
    hidden_BTD: Tensor | None = None
    taken: int = 0
    graph: torch.cuda.CUDAGraph | None = None


class Stepper:
    """A few tokens more for each of a cache's rows, again and again; `cache` itself is filled."""

    def __init__(
        self,
        transformer: Callable[..., Tensor],
        cache: KVCache,
        offset: int = 0,
        segment: int = 0,
        plain: int = PLAIN_STEPS,
    ) -> None:
        """offset: of a token's position from its place in the cache. plain: steps of a number of
        tokens before, on a GPU, their graph is recorded."""
        self.transformer, self.cache = transformer, cache
        self.offset, self.segment, self.plain = offset, segment, plain
        for layer in cache.layers:  # no mask helps against a NaN in what nobody has written
            layer.keys_BGSE[:, :, layer.length :] = 0
            layer.values_BGSE[:, :, layer.length :] = 0
        keys_BGSE = cache.layers[0].keys_BGSE
        self._on_gpu = keys_BGSE.is_cuda
        self._places_S = torch.arange(cache.capacity, device=keys_BGSE.device)
        self._steps: dict[int, _Step] = {}

    @torch.inference_mode()
    def read(self, ids_BT: Tensor) -> Tensor:
        """Hidden states [B, T, D] of T more tokens of each row; the next read overwrites them.

        Raises ValueError where the cache has no room for them.
        """
        at, T = self.cache.length, ids_BT.shape[1]
        if at + T > self.cache.capacity:
            raise ValueError(f"the cache holds {self.cache.capacity} tokens, not {at + T}")
        if T not in self._steps:
            at_T = torch.empty_like(self._places_S[:T])
            fixed = _FixedCache(self.cache, at_T)
            self._steps[T] = _Step(torch.empty_like(ids_BT), at_T, fixed)
        step = self._steps[T]
        step.ids_BT.copy_(ids_BT)
        step.at_T.copy_(self._places_S[at : at + T])
        if self._on_gpu and step.taken == self.plain:
            self._record(step)
        if step.graph is None:
            step.hidden_BTD = self._read(step)
        else:
            step.graph.replay()
        step.taken += 1
        self.cache.keep(at + T)
        assert step.hidden_BTD is not None
        return step.hidden_BTD

    def _read(self, step: _Step) -> Tensor:
        return self.transformer(
            step.ids_BT,
            positions_BT=(step.at_T + self.offset)[None],
            segments_BT=torch.full_like(step.ids_BT, self.segment),
            mask_BTS=(self._places_S <= step.at_T[:, None])[None],
            cache=step.cache,
        )

    def _record(self, step: _Step) -> None:
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(2):  # kernels choose their workspace before the graph is recorded
                self._read(step)
        torch.cuda.current_stream().wait_stream(side)
        step.graph = torch.cuda.CUDAGraph()
        # What other threads do meanwhile, embed perhaps, is no part of it and no error.
        with torch.cuda.graph(step.graph, capture_error_mode="thread_local"):
            step.hidden_BTD = self._read(step)
