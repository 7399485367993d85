"""Writing tokens one at a time, optionally under a mask.

Prefill and decode are apart: the caller reads the prompt into a cache (with whatever attention
the prompt wants), and `generate` goes on from there, one cached step for each choice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, Self

import torch
from torch import Tensor

from ragformer.nn.cache import KVCache
from ragformer.nn.heads import Decoder
from ragformer.nn.sampling import choose_token
from ragformer.types import Sampling


class Mask(Protocol):
    """A grammar: which tokens may come next (a set, or where they are many and the same again and
    again, a tensor of ids), and what comes after one of them."""

    @property
    def done(self) -> bool: ...

    def allowed(self) -> set[int] | Tensor: ...

    def advance(self, token: int) -> Self: ...


@torch.inference_mode()
def generate(
    model: Decoder,
    cache: KVCache,
    first: int,
    sampling: Sampling,
    *,
    position: int | None = None,
    segment: int = 0,
    mask: Mask | None = None,
    stop: int | None = None,
) -> Iterator[int]:
    """Token ids written after `first`, which the cache does not hold yet.

    position: of `first`; counted from the cache when absent. It stops when the mask is done, after
    `stop` (which is not yielded), after sampling.max_new_tokens, or when the cache is full.
    """
    generator = torch.Generator(device=model.transformer.embed.weight.device)
    generator.manual_seed(sampling.seed)
    place = cache.length if position is None else position
    unread = [first]  # a token that the mask dictates is read only once a choice must be made
    for _ in range(min(sampling.max_new_tokens, cache.capacity - cache.length)):
        if mask is not None and mask.done:
            return
        allowed = None if mask is None else mask.allowed()
        if allowed is not None and len(allowed) == 1:
            token = int(next(iter(allowed)))
        else:
            logits_V = decode_step(model, cache, unread, place, segment)
            place += len(unread)
            unread = []
            if allowed is not None:
                logits_V = keep_only(logits_V, allowed)
            token = choose_token(logits_V, sampling, generator)
        if token == stop:
            return
        mask = None if mask is None else mask.advance(token)
        unread.append(token)
        yield token


def decode_step(
    model: Decoder, cache: KVCache, tokens: Sequence[int], position: int, segment: int
) -> Tensor:
    """Logits [V] of what follows `tokens`, which join the cache, the first at `position`."""
    device = model.transformer.embed.weight.device
    ids_1T = torch.tensor([list(tokens)], device=device)
    hidden_1TD = model.transformer(
        ids_1T,
        positions_BT=torch.arange(position, position + len(tokens), device=device)[None],
        segments_BT=torch.full_like(ids_1T, segment),
        cache=cache,
    )
    return model.token_logits(hidden_1TD[:, -1:])[0, 0]


def keep_only(logits_V: Tensor, allowed: set[int] | Tensor) -> Tensor:
    """`logits_V` with every token that is not allowed at -inf."""
    masked_V = torch.full_like(logits_V, -torch.inf)
    index = allowed if isinstance(allowed, Tensor) else torch.tensor(sorted(allowed))
    index = index.to(device=logits_V.device, dtype=torch.int64)
    masked_V[index] = logits_V[index]
    return masked_V
