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
from ragformer.nn.lookup import Lookup
from ragformer.nn.sampling import choose_token
from ragformer.types import Sampling


class Mask(Protocol):
    """A grammar: which tokens may come next (a set, or where they are many and the same again and
    again, a tensor of ids), and what comes after one of them."""

    @property
    def done(self) -> bool: ...

    def allowed(self) -> set[int] | Tensor: ...

    def advance(self, token: int) -> Self: ...


GUESSED = 8
"""Tokens guessed at once: where one is wrong, those behind it were read for nothing."""


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
    lookup: Lookup | None = None,
) -> Iterator[int]:
    """Token ids written after `first`, which the cache does not hold yet.

    position: of `first`; counted from the cache when absent. lookup: of all tokens up to `first`,
    to guess from; which tokens are written does not depend on it. It stops when the mask is done,
    after `stop` (which is not yielded), after sampling.max_new_tokens, or when the cache is full.
    """
    generator = torch.Generator(device=model.transformer.embed.weight.device)
    generator.manual_seed(sampling.seed)
    place = cache.length if position is None else position
    ahead = _Ahead(model, cache, first, place - cache.length, segment, lookup)
    for left in range(min(sampling.max_new_tokens, cache.capacity - cache.length), 0, -1):
        if mask is not None and mask.done:
            return
        allowed = None if mask is None else mask.allowed()
        if allowed is not None and len(allowed) == 1:
            token = int(next(iter(allowed)))
        else:
            logits_V = ahead.logits(left - 1)
            if allowed is not None:
                logits_V = keep_only(logits_V, allowed)
            token = choose_token(logits_V, sampling, generator)
        if token == stop:
            return
        mask = None if mask is None else mask.advance(token)
        ahead.take(token)
        yield token


class _Ahead:
    """What the model says comes next, some of it read ahead of what is written.

    offset: of a token's position from its place in the cache.
    """

    def __init__(
        self,
        model: Decoder,
        cache: KVCache,
        first: int,
        offset: int,
        segment: int,
        lookup: Lookup | None,
    ) -> None:
        self.model, self.cache, self.lookup = model, cache, lookup
        self.offset, self.segment = offset, segment
        self.read = cache.length  # tokens in the cache that were written, not guessed
        self.unread = [first]  # a token that a mask dictates is read once a choice must be made
        self.next_V: Tensor | None = None
        self.guessed: list[tuple[int, Tensor]] = []  # guesses in the cache, what follows each

    def logits(self, most: int) -> Tensor:
        """Logits [V] of what follows all that was taken; at most so many guesses are read too."""
        if self.next_V is None:
            guesses = self.lookup.guess(min(GUESSED, most)) if self.lookup else []
            tokens = [*self.unread, *guesses]
            self.next_V, *behind = decode_step(
                self.model, self.cache, tokens, self.offset + self.read, self.segment, len(guesses)
            )
            self.guessed = list(zip(guesses, behind, strict=True))
            self.read += len(self.unread)
            self.unread = []
        return self.next_V

    def take(self, token: int) -> None:
        """`token` is what comes next."""
        if self.lookup:
            self.lookup.add(token)
        if self.guessed and self.guessed[0][0] == token:
            _, self.next_V = self.guessed.pop(0)
            self.read += 1
            return
        self.cache.keep(self.read)
        self.unread.append(token)
        self.next_V, self.guessed = None, []


def decode_step(
    model: Decoder,
    cache: KVCache,
    tokens: Sequence[int],
    position: int,
    segment: int,
    n_guesses: int = 0,
) -> Tensor:
    """Logits [1 + n_guesses, V] of what follows the last but n_guesses of `tokens`, and each of
    those; all join the cache, the first at `position`."""
    device = model.transformer.embed.weight.device
    ids_1T = torch.tensor([list(tokens)], device=device)
    hidden_1TD = model.transformer(
        ids_1T,
        positions_BT=torch.arange(position, position + len(tokens), device=device)[None],
        segments_BT=torch.full_like(ids_1T, segment),
        cache=cache,
    )
    return model.token_logits(hidden_1TD[:, -1 - n_guesses :])[0]


def keep_only(logits_V: Tensor, allowed: set[int] | Tensor) -> Tensor:
    """`logits_V` with every token that is not allowed at -inf."""
    masked_V = torch.full_like(logits_V, -torch.inf)
    index = allowed if isinstance(allowed, Tensor) else torch.tensor(sorted(allowed))
    index = index.to(device=logits_V.device, dtype=torch.int64)
    masked_V[index] = logits_V[index]
    return masked_V
