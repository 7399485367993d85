"""What is noted as attention is what made each layer's output."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from ragformer.nn.cache import KVCache
from ragformer.nn.transformer import Transformer
from ragformer.nn.watch import rollout, watched


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("cross", [False, True])
@torch.inference_mode()
def test_values_weighed_by_what_was_noted_are_the_output(config, loud, cached, cross):
    config = dataclasses.replace(config, cross_attention=True)
    model = loud(Transformer(config))
    generator = torch.Generator().manual_seed(0)
    ids_BT = torch.randint(0, 40, (2, 6), generator=generator)
    memory_BSD = torch.randn(2, 4, config.d_model, generator=generator)
    calls = []
    attention = model.blocks[1].cross if cross else model.blocks[1].attn
    hook = attention.register_forward_hook(lambda *call: calls.append((call[1], call[2])))
    with watched(model.blocks, cross) as last_BHTS:
        cache = KVCache(config, batch=2, capacity=6) if cached else None
        model(ids_BT, cache=cache, memory_BSD=memory_BSD)
    hook.remove()
    (_, source_BSD, *_), out_BTD = calls[-1]
    assert last_BHTS[1].shape == (2, config.n_heads, 6, 4 if cross else 6)
    assert torch.allclose(last_BHTS[1].sum(-1), torch.ones(()), atol=1e-5)
    values_BGSE = attention.v(source_BSD).unflatten(-1, (-1, config.d_head)).transpose(1, 2)
    values_BHSE = values_BGSE.repeat_interleave(config.n_heads // config.n_kv_heads, dim=1)
    again_BTD = attention.o((last_BHTS[1] @ values_BHSE).transpose(1, 2).flatten(2))
    assert torch.allclose(again_BTD, out_BTD, atol=1e-5)


def test_nothing_is_watched_afterwards(small_config):
    model = Transformer(small_config())
    with pytest.raises(RuntimeError), watched(model.blocks):
        raise RuntimeError
    assert not any(block.attn._forward_hooks for block in model.blocks)


def test_rollout_multiplies_what_was_looked_at_and_kept():
    generator = torch.Generator().manual_seed(0)
    looked = [torch.rand(2, 3, 5, 5, generator=generator).softmax(-1) for _ in range(2)]
    rolled_BTT = rollout(looked)
    assert torch.allclose(rolled_BTT.sum(-1), torch.ones(()), atol=1e-6)
    first, second = (w_BHTT.mean(1) / 2 + torch.eye(5) / 2 for w_BHTT in looked)
    assert torch.allclose(rolled_BTT, second @ first, atol=1e-6)
    unmoved = [torch.eye(5).expand(1, 3, 5, 5)] * 4
    assert torch.equal(rollout(unmoved), torch.eye(5)[None])
