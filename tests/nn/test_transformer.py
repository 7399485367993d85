"""Reading with a cache equals reading at once, and nobody sees what they may not."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ragformer.nn import transformer
from ragformer.nn.cache import KVCache
from ragformer.nn.config import TransformerConfig
from ragformer.nn.masks import padding_mask, score_bias
from ragformer.nn.transformer import (
    Attention,
    Transformer,
    apply_rope,
    init_weights,
    rope_table,
    sinusoids,
)

pytestmark = pytest.mark.usefixtures("no_grad")


@pytest.fixture
def no_grad():
    with torch.inference_mode():
        yield


def some_ids(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 40, shape, generator=torch.Generator().manual_seed(seed))


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.allclose(a, b, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("parts", [[1] * 9, [9], [4, 1, 1, 3], [2, 7]])
def test_reading_in_parts_equals_reading_at_once(config, loud, parts):
    model, ids_BT = loud(Transformer(config)), some_ids(2, 9)
    cache = KVCache(config, batch=2, capacity=9)
    read = [model(part, cache=cache) for part in ids_BT.split(parts, dim=1)]
    assert close(torch.cat(read, dim=1), model(ids_BT))
    assert cache.length == 9


def test_a_repeated_cache_goes_on_in_many_ways_and_leaves_the_first_alone(config, loud):
    model, start_1T, ends_BT = loud(Transformer(config)), some_ids(1, 5), some_ids(3, 4, seed=1)
    cache = KVCache(config, batch=1, capacity=6)
    model(start_1T, cache=cache)
    many = cache.repeat(3, room=4)
    for t in range(4):
        last_B1D = model(ends_BT[:, t : t + 1], cache=many)
    whole_BTD = model(torch.cat([start_1T.expand(3, -1), ends_BT], dim=1))
    assert close(last_B1D[:, 0], whole_BTD[:, -1])
    assert (cache.length, many.length) == (5, 9)
    assert close(model(ends_BT[:1, :1], cache=cache)[:, 0], whole_BTD[:1, 5])


def test_a_full_cache_refuses_another_token(config):
    model, cache = Transformer(config), KVCache(config, batch=1, capacity=3)
    model(some_ids(1, 3), cache=cache)
    with pytest.raises(ValueError, match="holds 3 tokens, not 4"):
        model(some_ids(1, 1), cache=cache)


@pytest.mark.parametrize("changed", range(1, 6))
def test_a_causal_position_sees_the_past_and_never_the_future(config, loud, changed):
    model, ids_1T = loud(Transformer(config)), some_ids(1, 6)
    other_1T = ids_1T.clone()
    other_1T[0, changed] = (ids_1T[0, changed] + 1) % config.vocab_size
    one_TD, two_TD = model(ids_1T)[0], model(other_1T)[0]
    assert torch.equal(one_TD[:changed], two_TD[:changed])
    differs_T = (one_TD[changed:] - two_TD[changed:]).abs().amax(-1) > 1e-4
    assert bool(differs_T.all())


def test_without_the_causal_rule_every_position_sees_every_other(config, loud):
    model = loud(Transformer(dataclasses.replace(config, causal=False)))
    ids_1T = some_ids(1, 5)
    other_1T = ids_1T.clone()
    other_1T[0, -1] = (ids_1T[0, -1] + 1) % config.vocab_size
    assert bool(((model(ids_1T) - model(other_1T)).abs().amax(-1) > 1e-5).all())


def test_what_stands_in_the_padding_changes_nothing(config, loud):
    model = loud(Transformer(dataclasses.replace(config, causal=False)))
    ids_BT, lengths_B = some_ids(3, 8), torch.tensor([8, 3, 1])
    keep_BT = torch.arange(8) < lengths_B[:, None]
    read_BTD = model(ids_BT, mask_BTS=padding_mask(keep_BT))
    for row, length in enumerate(lengths_B.tolist()):
        assert close(read_BTD[row, :length], model(ids_BT[row : row + 1, :length])[0])
    assert bool(read_BTD.isfinite().all())


def test_positions_and_segments_count_from_zero_when_absent(config, loud):
    model, ids_BT = loud(Transformer(config)), some_ids(2, 6)
    zeros_BT = torch.zeros_like(ids_BT)
    told = model(ids_BT, positions_BT=torch.arange(6)[None], segments_BT=zeros_BT)
    assert torch.equal(told, model(ids_BT))
    if config.n_segments:
        assert not close(told, model(ids_BT, segments_BT=zeros_BT + 1))


def test_rotary_positions_only_count_from_one_another(small_config, loud):
    model, ids_BT = loud(Transformer(small_config())), some_ids(2, 6)
    moved = model(ids_BT, positions_BT=torch.arange(6)[None] + 11)
    stretched = model(ids_BT, positions_BT=torch.arange(6)[None] * 2)
    assert close(model(ids_BT), moved)
    assert not close(model(ids_BT), stretched)


@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 500), st.integers(1, 8))
@settings(max_examples=30)
def test_a_rotated_product_depends_on_the_distance_alone(query, key, shift, half):
    generator = torch.Generator().manual_seed(query)
    q, k = torch.randn(2, 1, 1, 1, 2 * half, generator=generator)

    def product(at: int, to: int) -> float:
        turned = [
            apply_rope(x, *rope_table(torch.tensor([[p]]), 2 * half, 10_000.0))
            for x, p in ((q, at), (k, to))
        ]
        return float((turned[0] * turned[1]).sum())

    assert product(query, key) == pytest.approx(product(query + shift, key + shift), abs=2e-3)
    assert product(query, query) == pytest.approx(float((q * k).sum()), abs=2e-3)


def test_sinusoids_are_waves_and_a_step_turns_them_all_alike():
    waves_TD = sinusoids(torch.arange(50)[None], 8, 10_000.0)[0]
    for pair in range(4):
        angle_T = torch.arange(50) / 10_000 ** (2 * pair / 8)
        assert torch.allclose(waves_TD[:, pair], angle_T.sin(), atol=1e-5)
        assert torch.allclose(waves_TD[:, 4 + pair], angle_T.cos(), atol=1e-5)
    likeness_TT = waves_TD @ waves_TD.T  # of two places: by their distance alone
    assert torch.allclose(likeness_TT[10, 13], likeness_TT[40, 43], atol=1e-4)


def naive_attention(layer: Attention, x_BTD: torch.Tensor, mask_BTS: torch.Tensor) -> torch.Tensor:
    """Softmax attention written out, keys and values repeated for their group of heads."""
    B, T, _ = x_BTD.shape
    group = layer.n_heads // layer.n_kv_heads
    q = layer.q(x_BTD).view(B, T, layer.n_heads, layer.d_head)
    k, v = (
        project(x_BTD).view(B, T, layer.n_kv_heads, layer.d_head).repeat_interleave(group, dim=2)
        for project in (layer.k, layer.v)
    )
    if layer.q_norm is not None:
        q, k = (x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() for x in (q, k))
        q, k = q * layer.q_norm.weight, k * layer.k_norm.weight
    scores = torch.einsum("bthe,bshe->bhts", q, k) / layer.d_head**0.5
    weights = scores.masked_fill(~mask_BTS[:, None], -torch.inf).softmax(-1)
    return layer.o(torch.einsum("bhts,bshe->bthe", weights, v).flatten(2))


@pytest.mark.parametrize("most_plain_scores", [0, 1 << 20])
def test_attention_equals_its_formula(config, loud, most_plain_scores, monkeypatch):
    monkeypatch.setattr(transformer, "_PLAIN_SCORES", most_plain_scores)
    layer = loud(Attention(config))
    generator = torch.Generator().manual_seed(1)
    x_BTD = torch.randn(2, 7, config.d_model, generator=generator)
    some = torch.rand(2, 7, 7, generator=generator) < 0.5
    mask_BTS = some | torch.eye(7, dtype=torch.bool)
    got = layer(x_BTD, x_BTD, None, score_bias(mask_BTS), None)
    assert close(got, naive_attention(layer, x_BTD, mask_BTS))


def cross_config(config: TransformerConfig) -> TransformerConfig:
    return dataclasses.replace(config, cross_attention=True)


def test_the_padding_of_a_memory_changes_nothing(config, loud):
    model, ids_BT = loud(Transformer(cross_config(config))), some_ids(2, 5)
    memory_BSD = torch.randn(2, 6, config.d_model, generator=torch.Generator().manual_seed(2))
    keep_BS = torch.arange(6) < torch.tensor([[6], [2]])
    read_BTD = model(ids_BT, memory_BSD=memory_BSD, memory_keep_BS=keep_BS)
    for row, length in enumerate([6, 2]):
        alone = model(ids_BT[row : row + 1], memory_BSD=memory_BSD[row : row + 1, :length])
        assert close(read_BTD[row], alone[0])
    assert not close(read_BTD, model(ids_BT, memory_BSD=memory_BSD))


def test_a_memory_is_read_by_a_cached_step_too(config, loud):
    model, ids_BT = loud(Transformer(cross_config(config))), some_ids(1, 5)
    memory_BSD = torch.randn(1, 6, config.d_model, generator=torch.Generator().manual_seed(2))
    cache = KVCache(config, batch=1, capacity=5)
    read = [model(part, cache=cache, memory_BSD=memory_BSD) for part in ids_BT.split(1, dim=1)]
    assert close(torch.cat(read, dim=1), model(ids_BT, memory_BSD=memory_BSD))


def test_a_missing_memory_is_said(config):
    with pytest.raises(ValueError, match="attends to a memory"):
        Transformer(cross_config(config))(some_ids(1, 3))


def test_a_fresh_model_is_its_embeddings_and_the_same_for_the_same_seed(small_config):
    models = [Transformer(small_config()) for _ in range(3)]
    for model, seed in zip(models, [5, 5, 6], strict=True):
        init_weights(model, torch.Generator().manual_seed(seed))
    ids_BT = some_ids(1, 4)
    read = [model(ids_BT) for model in models]
    assert torch.equal(read[0], models[0].norm(models[0].embed(ids_BT)))
    assert torch.equal(read[0], read[1])
    assert not close(read[0], read[2])
