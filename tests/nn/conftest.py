"""Small transformers of every kind, with weights that are not the quiet ones of a fresh model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from ragformer.nn.config import TransformerConfig

SIZES = {
    "vocab_size": 40,
    "d_model": 32,
    "n_layers": 2,
    "n_heads": 4,
    "n_kv_heads": 4,
    "d_head": 8,
    "d_ff": 48,
    "max_seq_len": 32,
}
KINDS = {
    "plain": {},
    "grouped": {"n_kv_heads": 2},
    "one key head": {"n_kv_heads": 1, "qk_norm": True},
    "learned": {"position": "learned", "n_segments": 3},
    "sinusoidal": {"position": "sinusoidal"},
    "qk_norm": {"qk_norm": True, "qkv_bias": True},
    "bert": {
        "norm": "layer",
        "norm_place": "post",
        "mlp": "gelu",
        "bias": True,
        "position": "learned",
        "n_segments": 2,
    },
    "gpt2": {"norm": "layer", "mlp": "gelu", "bias": True, "position": "learned"},
    "post rms": {"norm_place": "post", "tie_embeddings": False},
}


@pytest.fixture
def small_config() -> Callable[..., TransformerConfig]:
    """small_config(**changes): a config of two narrow layers."""
    return lambda **changes: TransformerConfig(**(SIZES | changes))


@pytest.fixture(params=KINDS.values(), ids=KINDS.keys())
def config(request: pytest.FixtureRequest) -> TransformerConfig:
    """Every family of choices in turn."""
    return TransformerConfig(**(SIZES | request.param))


@pytest.fixture
def loud() -> Callable[..., nn.Module]:
    """loud(model, seed=0): the model for evaluation, with every weight drawn at random.

    A fresh model's blocks add nothing, so that half of these laws would hold of it by accident.
    """

    def randomize(model: nn.Module, seed: int = 0) -> nn.Module:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.normal_(0.0, 0.2, generator=generator)
                if "norm" in name and name.endswith("weight"):
                    parameter += 1.0
        return model.eval()

    return randomize


@pytest.fixture
def tokens_a_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[nn.Module], list[int]]:
    """tokens_a_step(model): a list that grows by the tokens of each step the model takes."""

    def watch(model: nn.Module) -> list[int]:
        steps: list[int] = []
        forward = model.transformer.forward

        def counted(ids_BT: torch.Tensor, **rest: Any) -> torch.Tensor:
            steps.append(ids_BT.shape[1])
            return forward(ids_BT, **rest)

        monkeypatch.setattr(model.transformer, "forward", counted)
        return steps

    return watch
