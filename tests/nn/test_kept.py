"""What is kept is what was made, to the bit, and never more of it than was said."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ragformer.nn.cache import KVCache
from ragformer.nn.heads import Decoder
from ragformer.nn.kept import Kept, Prefixes

BLOCK = 4
PROMPT = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9]


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 12), st.booleans()), max_size=40))
def test_the_bytes_kept_are_those_last_used_that_fit(steps):
    kept, model = Kept(10), []  # the model: (key, bytes), the last used last
    for key, n_bytes, put in steps:
        name = bytes([key])
        if put:
            kept.put(name, (key, n_bytes), n_bytes)
            model = [one for one in model if one[0] != key] + [(key, n_bytes)] * (n_bytes <= 10)
            while sum(n for _, n in model) > 10:
                model.pop(0)
        else:
            known = [one for one in model if one[0] == key]
            assert kept.get(name) == (known[0] if known else None)
            model = [one for one in model if one[0] != key] + known
        assert kept.n_bytes == sum(n for _, n in model) <= 10


@torch.inference_mode()
def prefill(model: Decoder, ids: list[int], prefixes: Prefixes | None) -> tuple[int, KVCache]:
    """How many tokens were had without reading them, and the cache that holds all but the last."""
    cache = KVCache(model.config, 1, len(ids))
    known = prefixes.restore(ids, cache) if prefixes else 0
    for at in range(known, len(ids) - 1, BLOCK):
        block_1T = torch.tensor([ids[at : min(at + BLOCK, len(ids) - 1)]])
        model.transformer(block_1T, cache=cache)
        if prefixes and block_1T.shape[1] == BLOCK:
            prefixes.keep(ids, cache)
    return known, cache


@pytest.mark.parametrize(
    ("prompt", "known"),
    [
        (PROMPT, 12),
        ([*PROMPT[:9], 7, 7, 7, 7, 7], 8),
        (PROMPT[:8], 4),  # the last token is for the first step to read
        (PROMPT[:9], 8),
        ([7, *PROMPT[1:]], 0),
        (PROMPT[:1], 0),
    ],
)
def test_a_prompt_that_begins_like_another_is_the_same_to_the_bit(config, loud, prompt, known):
    model = loud(Decoder(config))
    prefixes = Prefixes(BLOCK, 2**20)
    assert prefill(model, PROMPT, prefixes)[0] == 0
    got, cache = prefill(model, prompt, prefixes)
    assert got == known
    _, anew = prefill(model, prompt, None)
    assert cache.length == anew.length == len(prompt) - 1
    for mine, theirs in zip(cache.block(0), anew.block(0), strict=True):
        assert all(map(torch.equal, mine, theirs))


def test_a_beginning_outlives_what_stood_behind_it(small_config, loud):
    model = loud(Decoder(small_config()))
    block = KVCache(model.config, 1, BLOCK).n_bytes
    prefixes = Prefixes(BLOCK, 3 * block)
    for n in range(5):  # a head of one block, and two that do not come again
        assert prefill(model, [*PROMPT[:4], *[n] * 4, *[n + 1] * 4, 1], prefixes)[0] == 4 * (n > 0)
    assert prefixes.kept.n_bytes == 3 * block


def test_of_a_prompt_too_long_to_keep_the_beginning_is_kept(small_config, loud):
    model = loud(Decoder(small_config()))
    prefixes = Prefixes(BLOCK, 2 * KVCache(model.config, 1, BLOCK).n_bytes)
    assert [prefill(model, PROMPT, prefixes)[0] for _ in range(3)] == [0, 4, 4]
