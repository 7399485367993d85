"""Greedy takes the best, the nucleus is the least set that reaches its share, a seed repeats."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ragformer.nn.sampling import choose_token, nucleus
from ragformer.types import Sampling

logits = st.lists(
    st.one_of(st.floats(-20, 20, width=32), st.just(float("-inf"))), min_size=1, max_size=12
).filter(lambda values: max(values) > float("-inf"))


def draw(values: list[float], sampling: Sampling) -> int:
    generator = torch.Generator().manual_seed(sampling.seed)
    return choose_token(torch.tensor(values), sampling, generator)


@settings(max_examples=50)
@given(logits)
def test_greedy_is_the_first_of_the_best(values):
    assert draw(values, Sampling()) == values.index(max(values))


@settings(max_examples=50)
@given(logits, st.floats(0.01, 5), st.floats(0.01, 1), st.integers(0, 9))
def test_a_seed_repeats_and_a_ruled_out_token_never_comes(values, temperature, top_p, seed):
    sampling = Sampling(temperature=temperature, top_p=top_p, seed=seed)
    token = draw(values, sampling)
    assert token == draw(values, sampling)
    assert values[token] > float("-inf")


@settings(max_examples=50)
@given(st.lists(st.floats(0.125, 1, width=32), min_size=1, max_size=12), st.floats(0.01, 0.99))
def test_the_nucleus_is_the_least_set_that_reaches_its_share(weights, top_p):
    probabilities = torch.tensor(weights) / sum(weights)
    cut = nucleus(probabilities, top_p)
    kept, left = probabilities[cut > 0], probabilities[cut == 0]
    assert float(cut.sum()) == pytest.approx(1, abs=1e-5)
    assert float(kept.sum()) >= top_p - 1e-5
    assert float(kept.sum() - kept.min()) < top_p + 1e-5
    assert left.numel() == 0 or left.max() <= kept.min()
    assert torch.allclose(cut[cut > 0], kept / kept.sum(), atol=1e-5)


def test_of_equal_tokens_the_nucleus_keeps_the_lower_ids():
    assert nucleus(torch.full((4,), 0.25), 0.5).tolist() == [0.5, 0.5, 0, 0]


def test_seeds_differ_and_a_low_temperature_is_greedy():
    values = [0.0, 0.5, 0.2, 0.4]
    assert len({draw(values, Sampling(temperature=1, seed=seed)) for seed in range(40)}) == 4
    cold = [1e-3, 1e-30, 1e-300]
    drawn = {draw(values, Sampling(temperature=t, seed=s)) for t in cold for s in range(5)}
    assert drawn == {1}


def test_nothing_to_choose_from_is_an_error():
    with pytest.raises(ValueError, match="every token is ruled out"):
        draw([float("-inf")] * 3, Sampling())
