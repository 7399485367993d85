"""Adapters: nothing at first, all that learns, and gone once they are merged."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ragformer.nn.config import TransformerConfig
from ragformer.nn.heads import Decoder, new_decoder
from ragformer.nn.lora import Adapter, add_adapters, merge_adapters

RANK = 2
CONFIG = TransformerConfig(50, d_model=16, n_layers=2, n_heads=2, n_kv_heads=1, d_head=8, d_ff=24)


@pytest.fixture
def model() -> Decoder:
    return new_decoder(CONFIG, seed=0)


def logits(model: Decoder) -> Tensor:
    ids_BT = torch.arange(12).view(2, 6)
    return model.token_logits(model.transformer(ids_BT))


def test_until_it_has_learned_the_model_says_what_it_said(model: Decoder) -> None:
    before = logits(model)
    add_adapters(model, RANK, seed=0)
    assert torch.equal(logits(model), before)


def test_only_the_adapters_learn_and_they_are_counted(model: Decoder) -> None:
    linears = [m for m in model.modules() if isinstance(m, torch.nn.Linear)]
    sizes = sum(RANK * (linear.in_features + linear.out_features) for linear in linears)
    learned = add_adapters(model, RANK, seed=0)
    assert sum(p.numel() for p in learned) == sizes
    assert {id(p) for p in model.parameters() if p.requires_grad} == {id(p) for p in learned}
    logits(model).square().mean().backward()
    ups = [m.up for m in model.modules() if isinstance(m, Adapter)]
    assert len(ups) == len(linears)
    assert any(up.grad is not None and up.grad.abs().sum() > 0 for up in ups)


def test_merged_it_says_the_same_with_the_weights_it_had_names_for(model: Decoder) -> None:
    names = list(model.state_dict())
    for parameter in add_adapters(model, RANK, seed=0):
        parameter.data.normal_(generator=torch.Generator().manual_seed(1))
    adapted, plain = logits(model), logits(new_decoder(CONFIG, seed=0))
    assert not torch.allclose(adapted, plain, atol=1e-2)
    merge_adapters(model)
    assert list(model.state_dict()) == names
    torch.testing.assert_close(logits(model), adapted, atol=1e-4, rtol=1e-4)
    merge_adapters(model)  # twice is once
    torch.testing.assert_close(logits(model), adapted, atol=1e-4, rtol=1e-4)
