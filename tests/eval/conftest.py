"""A model small enough to make at test time: random, so only its form is real."""

from __future__ import annotations

from pathlib import Path

import pytest

from ragformer.nn.checkpoint import save_weights
from ragformer.nn.config import TransformerConfig
from ragformer.nn.heads import new_encoder
from ragformer.text.tokenizer import Tokenizer

TOKENIZER = Path(__file__).parents[2] / "models" / "encoder" / "tokenizer.model"


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained, it finds a text by the pieces it shares with the question."""
    folder = tmp_path_factory.mktemp("models") / "encoder"
    folder.mkdir()
    tokenizer = Tokenizer(TOKENIZER)
    config = TransformerConfig(
        vocab_size=tokenizer.vocab_size,
        d_model=64,
        n_layers=1,
        n_heads=1,
        n_kv_heads=1,
        d_head=64,
        d_ff=64,
        causal=False,
    )
    save_weights(new_encoder(config, tokenizer.surprisal, seed=0), folder)
    (folder / "tokenizer.model").write_bytes(TOKENIZER.read_bytes())
    (folder / "config.json").write_text(
        '{"kind": "encoder", "transformer": ' + config.to_json() + "}"
    )
    return folder
