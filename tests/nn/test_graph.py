"""Steps in fixed tensors read and write what a growing cache does."""

from __future__ import annotations

import pytest
import torch

from ragformer.nn.cache import KVCache
from ragformer.nn.graph import Stepper
from ragformer.nn.heads import Decoder

IDS_BT = torch.randint(0, 40, (3, 9), generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
def test_steps_are_those_of_a_growing_cache(config, loud):
    model = loud(Decoder(config))
    caches = [KVCache(config, 3, 9) for _ in range(2)]
    for cache in caches:
        model.transformer(IDS_BT[:, :4], cache=cache)
    stepper = Stepper(model, caches[0], graph=False)
    for at in range(4, 9):
        ids_B1 = IDS_BT[:, at : at + 1]
        want_BV = model.token_logits(model.transformer(ids_B1, cache=caches[1]))[:, -1]
        torch.testing.assert_close(stepper.step(ids_B1), want_BV, atol=1e-5, rtol=1e-5)
        assert caches[0].length == caches[1].length == at + 1
    for one, other in zip(*(cache.layers for cache in caches), strict=True):
        torch.testing.assert_close(one.keys_BGSE, other.keys_BGSE, atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="holds 9 tokens and is full"):
        stepper.step(IDS_BT[:, :1])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@torch.inference_mode()
def test_a_recorded_graph_is_the_same_steps(small_config, loud):
    model = loud(Decoder(small_config())).cuda()
    ids_BT, steps = IDS_BT.cuda(), []
    for graph in (False, True):
        cache = KVCache(model.config, 3, 9, device="cuda")
        model.transformer(ids_BT[:, :4], cache=cache)
        stepper = Stepper(model, cache, graph=graph)
        steps.append([stepper.step(ids_BT[:, at : at + 1]).clone() for at in range(4, 9)])
    torch.testing.assert_close(*steps)
