"""Steps in fixed tensors read and write what a growing cache does."""

from __future__ import annotations

import pytest
import torch

from ragformer.nn.cache import KVCache
from ragformer.nn.graph import Stepper
from ragformer.nn.transformer import Transformer

IDS_BT = torch.randint(0, 40, (3, 12), generator=torch.Generator().manual_seed(0))
START, WIDTHS = 4, (1, 1, 3, 1, 2)


def repeated(model: Transformer, ids_BT: torch.Tensor) -> KVCache:
    """A cache of three rows that all begin with START tokens, and have room for the others."""
    cache = KVCache(model.config, 1, START, device=ids_BT.device)
    model(ids_BT[:1, :START], cache=cache)
    return cache.repeat(3, sum(WIDTHS))


def read_on(stepper: Stepper, ids_BT: torch.Tensor) -> torch.Tensor:
    parts = ids_BT[:, START:].split(WIDTHS, dim=1)
    return torch.cat([stepper.read(part_BT).clone() for part_BT in parts], dim=1)


@pytest.mark.parametrize(("offset", "segment"), [(0, 0), (5, 1)])
@torch.inference_mode()
def test_steps_are_those_of_a_growing_cache(config, loud, offset, segment):
    model = loud(Transformer(config))
    growing, fixed = repeated(model, IDS_BT), repeated(model, IDS_BT)
    want_BTD = model(
        IDS_BT[:, START:],
        positions_BT=torch.arange(START, 12)[None] + offset,
        segments_BT=torch.full((3, 8), segment),
        cache=growing,
    )
    for layer in fixed.layers:  # as memory may be that nobody has written yet
        layer.keys_BGSE[:, :, START:] = layer.values_BGSE[:, :, START:] = torch.nan
    stepper = Stepper(model, fixed, offset, segment)
    torch.testing.assert_close(read_on(stepper, IDS_BT), want_BTD, atol=1e-5, rtol=1e-5)
    assert fixed.length == growing.length == 12
    for mine, theirs in zip(fixed.block(0), growing.block(0), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="holds 12 tokens, not 13"):
        stepper.read(IDS_BT[:, :1])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@torch.inference_mode()
def test_recorded_graphs_are_the_same_steps(small_config, loud):
    model, ids_BT = loud(Transformer(small_config())).cuda(), IDS_BT.cuda()
    plain, recorded = (
        read_on(Stepper(model, repeated(model, ids_BT), plain=n), ids_BT) for n in (99, 1)
    )
    torch.testing.assert_close(recorded, plain)
