"""Rows that go on side by side, joining and leaving when they like, are what each is alone."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from ragformer.nn.cache import KVCache
from ragformer.nn.generate import Asked, Batch, generate_beside, step
from ragformer.nn.heads import Decoder
from ragformer.nn.lookup import Lookup
from ragformer.types import Sampling

PROMPTS = [[3, 1, 4, 1, 5], [9], [2, 6, 5, 3, 5, 8, 9, 7], [9, 3, 2, 3, 8, 4, 6, 2, 6, 4, 3, 3]]


class Above:
    """Only tokens above `least`, which must be even where `even`."""

    done = False

    def __init__(self, least: int, even: bool) -> None:
        self.least, self.even = least, even

    def allowed(self) -> set[int]:
        return {token for token in range(self.least + 1, 40) if not (self.even and token % 2)}

    def advance(self, token: int) -> Above:
        return Above(self.least, not self.even)


@torch.inference_mode()
def read(model: Decoder, prompt: Sequence[int], capacity: int = 32) -> KVCache:
    """A cache that holds all of the prompt but its last token."""
    cache = KVCache(model.config, 1, capacity)
    if len(prompt) > 1:
        model.transformer(torch.tensor([prompt[:-1]]), cache=cache)
    return cache


def row(batch: Batch, n: int) -> Iterator[int | None]:
    """The n-th prompt goes on: with a mask, with guesses, or drawn at random, as n will have it."""
    prompt = PROMPTS[n]
    return generate_beside(
        batch,
        read(batch.model, prompt),
        prompt[-1],
        Sampling(max_new_tokens=6 + 3 * n, temperature=2.0 * (n == 1), seed=n),
        mask=Above(5, False) if n == 2 else None,
        lookup=Lookup([*range(40), *prompt]) if n in (0, 3) else None,
    )


def alone(model: Decoder) -> list[list[int]]:
    made = [row(Batch(model), n) for n in range(len(PROMPTS))]
    return [[token for token in tokens if token is not None] for tokens in made]


def up_to_the_next_step(tokens: Iterator[int | None], written: list[int]) -> bool:
    """Whether there is one."""
    for token in tokens:
        if token is None:
            return True
        written.append(token)
    return False


@pytest.mark.parametrize(("seed", "stepped"), [(0, ()), (1, ()), (2, ()), (3, ("cpu",))])
def test_rows_that_join_and_leave_write_what_each_writes_alone(
    config, loud, seed, stepped, monkeypatch
):
    model = loud(Decoder(config))
    wanted = alone(model)
    monkeypatch.setattr("ragformer.nn.generate.STEPPED_ON", stepped)
    rng, batch = random.Random(seed), Batch(model)
    written: list[list[int]] = [[] for _ in PROMPTS]
    waiting, begun = list(range(len(PROMPTS))), {}
    left = rng.randrange(len(PROMPTS))  # it is gone after a few tokens
    while waiting or begun:
        if waiting and rng.random() < 0.5:
            n = waiting.pop(0)
            begun[n] = row(batch, n)
        for n, tokens in list(begun.items()):
            if n == left and len(written[n]) > 2:
                tokens.close()
                del begun[n]
            elif not up_to_the_next_step(tokens, written[n]):
                del begun[n]
    assert written[left] == wanted[left][: len(written[left])]
    written[left] = wanted[left]
    assert written == wanted


@torch.inference_mode()
def test_a_step_for_many_has_the_logits_of_each(config, loud):
    model = loud(Decoder(config))
    tokens = [[7], [1, 2, 3], [8, 8], [4]]
    n_guesses = [0, 2, 1, 0]

    def asked() -> list[Asked]:
        caches = [read(model, prompt) for prompt in PROMPTS]
        rows = zip(caches, tokens, n_guesses, strict=True)
        return [Asked(cache, ids, cache.length, 0, n) for cache, ids, n in rows]

    together, apart = asked(), asked()
    for got, one in zip(step(model, together), apart, strict=True):
        torch.testing.assert_close(got, step(model, [one])[0], atol=1e-5, rtol=1e-5)
    for one, other in zip(together, apart, strict=True):
        assert one.cache.length == other.cache.length
        for mine, theirs in zip(one.cache.block(0), other.cache.block(0), strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


def test_all_that_wait_take_one_step(small_config, loud, tokens_a_step):
    model = loud(Decoder(small_config()))
    batch, n = Batch(model), 10
    prompts = [PROMPTS[0], PROMPTS[2], PROMPTS[3]]
    rows = [
        generate_beside(batch, read(model, prompt), prompt[-1], Sampling(max_new_tokens=n))
        for prompt in prompts
    ]
    steps = tokens_a_step(model)
    written: list[list[int]] = [[] for _ in rows]
    going = True
    while going:
        turns = [up_to_the_next_step(*pair) for pair in zip(rows, written, strict=True)]
        going = any(turns)
    assert [len(tokens) for tokens in written] == [n] * 3
    assert steps == [3] * n


def test_threads_may_share_a_batch(small_config, loud):
    model = loud(Decoder(small_config()))
    batch = Batch(model)

    def write(n: int) -> list[int]:
        return [token for token in row(batch, n) if token is not None]

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(write, range(len(PROMPTS)))) == alone(model)


def test_a_row_may_be_closed_within_a_step(small_config, loud, monkeypatch):
    """As garbage collection does it: in the thread that computes, wherever that is."""
    model = loud(Decoder(small_config()))
    wanted, batch = alone(model)[0], Batch(model)
    stays, leaves = (row(batch, n) for n in (0, 2))
    assert next(leaves) is next(stays) is None
    forward = model.transformer.forward

    def closing(*given, **rest):
        leaves.close()
        return forward(*given, **rest)

    monkeypatch.setattr(model.transformer, "forward", closing)
    written: list[int | None] = []
    thread = threading.Thread(target=lambda: written.extend(stays), daemon=True)
    thread.start()
    thread.join(20)
    assert [token for token in written if token is not None] == wanted


def test_a_step_that_fails_does_so_for_its_rows_and_no_later_one(small_config, loud, monkeypatch):
    model = loud(Decoder(small_config()))
    batch = Batch(model)
    one, other = (row(batch, n) for n in (0, 2))
    assert next(one) is next(other) is None
    with monkeypatch.context() as patch:
        patch.setattr(model.transformer, "forward", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            next(one)
    with pytest.raises(RuntimeError, match="for this row and others has failed"):
        next(other)
    assert [token for token in row(batch, 3) if token is not None] == alone(model)[3]


def test_nothing_is_read_for_a_row_that_has_left(small_config, loud):
    model = loud(Decoder(small_config()))
    batch = Batch(model)
    stays, leaves = (row(batch, n) for n in (0, 2))
    cache = read(model, PROMPTS[1])
    with batch.asking(Asked(cache, [1], 0, 0)):
        assert next(leaves) is next(stays) is None
        leaves.close()
    assert [token for token in stays if token is not None] == alone(model)[0]
    assert cache.length == 0
