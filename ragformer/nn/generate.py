"""Writing tokens one at a time, optionally under a mask.

Prefill and decode are apart: the caller reads the prompt into a cache (with whatever attention
the prompt wants), and `generate` goes on from there, one cached step for each choice. Several may
go on side by side (`Batch`), each from its own prompt, beginning and ending when it likes:
continuous batching, as of Yu et al. 2022, "Orca" (OSDI).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol, Self

import torch
from torch import Tensor

from ragformer.nn.cache import KVCache, RowCaches
from ragformer.nn.graph import Stepper
from ragformer.nn.heads import Decoder
from ragformer.nn.lookup import Lookup
from ragformer.nn.masks import continue_causal_mask, score_bias
from ragformer.nn.rows import Rows
from ragformer.nn.sampling import choose_token, choose_tokens
from ragformer.types import Sampling


class Mask(Protocol):
    """A grammar: which tokens may come next (a set, or where they are many and the same again and
    again, a tensor of ids), and what comes after one of them."""

    @property
    def done(self) -> bool: ...

    def allowed(self) -> set[int] | Tensor: ...

    def advance(self, token: int) -> Self: ...


FEWEST_GUESSES, MOST_GUESSES = 3, 15
"""Tokens guessed at once: where one is wrong, those behind it were read for nothing. Four rows
take 1.0 to 1.4 times as long as one, eight 1.1 to 1.8, sixteen 1.4 to 2.4, by the form of the
weights (2 cores): the fewest after a wrong guess, twice as many after each that was right."""
STEPPED_ON = ("cuda",)
"""Devices on which a row that is alone goes on by a `Stepper`; elsewhere a growing cache, of which
no more is looked at than is filled, is quicker."""


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
    to guess from; which tokens are written depends on it by roundings alone. It stops when the
    mask is done, after `stop` (which is not yielded), after sampling.max_new_tokens, or when the
    cache is full.
    """
    batch = Batch(model)
    tokens = generate_beside(
        batch,
        cache,
        first,
        sampling,
        position=position,
        segment=segment,
        mask=mask,
        stop=stop,
        lookup=lookup,
    )
    return (token for token in tokens if token is not None)


@torch.inference_mode()
def generate_beside(
    batch: Batch,
    cache: KVCache,
    first: int,
    sampling: Sampling,
    *,
    position: int | None = None,
    segment: int = 0,
    mask: Mask | None = None,
    stop: int | None = None,
    lookup: Lookup | None = None,
) -> Iterator[int | None]:
    """As `generate`, beside others of the same batch; None wherever the model must read on.

    Then it is the others' turn: take from each up to its next None, and all are read in one step.
    """
    generator = torch.Generator(device=batch.model.transformer.embed.weight.device)
    generator.manual_seed(sampling.seed)
    place = cache.length if position is None else position
    ahead = _Ahead(batch.model, cache, first, place - cache.length, segment, lookup)
    for left in range(min(sampling.max_new_tokens, cache.capacity - cache.length), 0, -1):
        if mask is not None and mask.done:
            return
        allowed = None if mask is None else mask.allowed()
        if allowed is not None and len(allowed) == 1:
            token = int(next(iter(allowed)))
        else:
            if ahead.next_V is None:
                with batch.asking(ahead.ask(left - 1)) as asked:
                    yield None
                    ahead.note(asked, batch.logits(asked))
            logits_V = ahead.next_V
            assert logits_V is not None
            if allowed is not None:
                logits_V = keep_only(logits_V, allowed)
            token = choose_token(logits_V, sampling, generator)
        if token == stop:
            return
        mask = None if mask is None else mask.advance(token)
        ahead.take(token)
        yield token


@torch.inference_mode()
def write_rows(
    model: Decoder, prompt_BT: Tensor, n: int, sampling: Sampling, **memory: Tensor
) -> Tensor:
    """int64 [B, n]: what each of B prompts of one length goes on with, all rows step by step.

    memory: memory_BSD and memory_keep_BS for a decoder that attends to one. Nothing stops a row
    early; of `sampling` only temperature, top_p and seed count.
    """
    generator = torch.Generator(device=prompt_BT.device).manual_seed(sampling.seed)
    B, T = prompt_BT.shape
    weight = model.transformer.embed.weight
    cache = KVCache(model.config, B, T + n - 1, weight.dtype, weight.device)
    written: list[Tensor] = []
    ids_BT = prompt_BT
    for _ in range(n):
        hidden_BTD = model.transformer(ids_BT, cache=cache, **memory)
        logits_BV = model.token_logits(hidden_BTD[:, -1])
        ids_BT = choose_tokens(logits_BV, sampling, generator)[:, None]
        written.append(ids_BT)
    return torch.cat(written, dim=1)


@dataclass(slots=True, eq=False)
class Asked:
    """Tokens of one row that are to be read, the first at `position`, and, once they are, the
    logits [1 + n_guesses, V] of what follows the last but n_guesses of them and each of those.

    stepper: of the cache, where the row has one.
    """

    cache: KVCache
    tokens: Sequence[int]
    position: int
    segment: int
    n_guesses: int = 0
    stepper: Stepper | None = None
    logits: Tensor | None = None


class Batch:
    """Rows of one model that go on side by side, each in its own cache.

    A row asks; the first that then wants its logits has all that was asked until then read in one
    step, so that the weights are fetched once for all of them. For several threads.
    """

    def __init__(self, model: Decoder) -> None:
        self.model = model
        self._asked: list[Asked] = []
        # A row that nobody holds any longer may be closed by this very thread within a step.
        self._lock = threading.RLock()

    @contextmanager
    def asking(self, asked: Asked) -> Iterator[Asked]:
        """Ask within; at its end nobody waits for it any longer."""
        with self._lock:
            self._asked.append(asked)
        try:
            yield asked
        finally:
            with self._lock:
                if asked in self._asked:
                    self._asked.remove(asked)

    def logits(self, asked: Asked) -> Tensor:
        """The logits of what was asked; RuntimeError where another's step for both has failed."""
        with self._lock:
            if asked in self._asked:
                together, self._asked = self._asked, []
                for row, logits in zip(together, step(self.model, together), strict=True):
                    row.logits = logits
        if asked.logits is None:
            raise RuntimeError("the step that was taken for this row and others has failed")
        return asked.logits


class _Ahead:
    """What the model says comes next, some of it read ahead of what is written.

    offset: of a token's position from its place in the cache. next_V: logits of what follows all
    that was taken; None where that must be asked first.
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
        self.cache, self.lookup = cache, lookup
        self.offset, self.segment = offset, segment
        stepped = model.transformer.embed.weight.device.type in STEPPED_ON
        self.stepper = Stepper(model.transformer, cache, offset, segment) if stepped else None
        self.read = cache.length  # tokens in the cache that were written, not guessed
        self.unread = [first]  # a token that a mask dictates is read once a choice must be made
        self.next_V: Tensor | None = None
        self.guessed: list[tuple[int, Tensor]] = []  # guesses in the cache, what follows each
        self.n_guesses = FEWEST_GUESSES

    def ask(self, most: int) -> Asked:
        """What must be read for `next_V`; at most so many guesses are read too."""
        guesses = self.lookup.guess(min(self.n_guesses, most)) if self.lookup else []
        tokens = [*self.unread, *guesses]
        position = self.offset + self.read
        return Asked(self.cache, tokens, position, self.segment, len(guesses), self.stepper)

    def note(self, asked: Asked, logits_GV: Tensor) -> None:
        """What was asked has been read."""
        self.next_V, *behind = logits_GV
        guesses = asked.tokens[len(self.unread) :]
        self.guessed = list(zip(guesses, behind, strict=True))
        self.read += len(self.unread)
        self.unread = []

    def take(self, token: int) -> None:
        """`token` is what comes next."""
        if self.lookup:
            self.lookup.add(token)
        if self.guessed and self.guessed[0][0] == token:
            _, self.next_V = self.guessed.pop(0)
            self.read += 1
            if not self.guessed:
                self.n_guesses = min(2 * self.n_guesses + 1, MOST_GUESSES)
            return
        if self.guessed:
            self.n_guesses = FEWEST_GUESSES
        self.cache.keep(self.read)
        self.unread.append(token)
        self.next_V, self.guessed = None, []


def step(model: Decoder, asked: Sequence[Asked]) -> list[Tensor]:
    """The logits each row asked for; all are read at once, and each sees itself alone."""
    if len(asked) == 1:
        return [_alone(model, *asked)]
    device = model.transformer.embed.weight.device
    counts = [len(row.tokens) for row in asked]
    ids_1T, rows = Rows.lay([row.tokens for row in asked], device)
    positions = [row.position + n for row in asked for n in range(len(row.tokens))]
    segments = [row.segment for row in asked for _ in row.tokens]
    biases = [
        score_bias(continue_causal_mask(n, row.cache.length, device)) if n > 1 else None
        for n, row in zip(counts, asked, strict=True)
    ]
    hidden_1TD = model.transformer(
        ids_1T,
        positions_BT=torch.tensor([positions], device=device),
        segments_BT=torch.tensor([segments], device=device),
        mask_BTS=rows,
        cache=RowCaches([row.cache for row in asked], counts, biases),
    )
    wanted = [1 + row.n_guesses for row in asked]
    ends = accumulate(counts)
    places = [at for end, n in zip(ends, wanted, strict=True) for at in range(end - n, end)]
    logits_GV = model.token_logits(hidden_1TD[:, places])[0]
    return list(torch.split(logits_GV, wanted))


def _alone(model: Decoder, row: Asked) -> Tensor:
    device = model.transformer.embed.weight.device
    ids_1T = torch.tensor([list(row.tokens)], device=device)
    if row.stepper is not None:
        hidden_1TD = row.stepper.read(ids_1T)
    else:
        places_T = torch.arange(row.position, row.position + len(row.tokens), device=device)
        hidden_1TD = model.transformer(
            ids_1T,
            positions_BT=places_T[None],
            segments_BT=torch.full_like(ids_1T, row.segment),
            cache=row.cache,
        )
    return model.token_logits(hidden_1TD[:, -1 - row.n_guesses :])[0]


def keep_only(logits_V: Tensor, allowed: set[int] | Tensor) -> Tensor:
    """`logits_V` with every token that is not allowed at -inf."""
    masked_V = torch.full_like(logits_V, -torch.inf)
    index = allowed if isinstance(allowed, Tensor) else torch.tensor(sorted(allowed))
    index = index.to(device=logits_V.device, dtype=torch.int64)
    masked_V[index] = logits_V[index]
    return masked_V
