"""A deeper model starts as the trained one it came from."""

import dataclasses
from pathlib import Path

import pytest
import torch

from ragformer.errors import WeightsError
from ragformer.nn.checkpoint import save_weights
from ragformer.nn.config import TransformerConfig
from ragformer.nn.heads import Decoder, new_decoder
from ragformer.train.deepen import load_deepened

SMALL = TransformerConfig(
    vocab_size=50, d_model=16, n_layers=2, n_heads=2, n_kv_heads=2, d_head=8, d_ff=24
)
IDS_BT = torch.arange(24).reshape(2, 12)


def _logits(model: Decoder) -> torch.Tensor:
    with torch.no_grad():
        return model.token_logits(model.transformer(IDS_BT))


@pytest.fixture
def trained(tmp_path: Path) -> Decoder:
    model = new_decoder(SMALL, 0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.1)
    save_weights(model, tmp_path)
    return model


@pytest.mark.parametrize("n_layers", [2, 3, 5])
def test_deeper_model_computes_the_same(tmp_path: Path, trained: Decoder, n_layers: int) -> None:
    deeper = new_decoder(dataclasses.replace(SMALL, n_layers=n_layers), 1)
    load_deepened(deeper, tmp_path)
    assert torch.equal(_logits(deeper), _logits(trained))


def test_every_block_of_a_deeper_model_learns(tmp_path: Path, trained: Decoder) -> None:
    deeper = new_decoder(dataclasses.replace(SMALL, n_layers=4), 1)
    load_deepened(deeper, tmp_path)
    deeper.token_logits(deeper.transformer(IDS_BT)).square().sum().backward()
    for block in deeper.transformer.blocks:
        assert block.mlp.down.weight.grad.abs().sum() > 0
        assert block.attn.o.weight.grad.abs().sum() > 0


def test_fewer_layers_are_refused(tmp_path: Path, trained: Decoder) -> None:
    with pytest.raises(WeightsError, match="has 2 layers; --n-layers 1 would drop some"):
        load_deepened(new_decoder(dataclasses.replace(SMALL, n_layers=1), 1), tmp_path)
