"""A model small enough to make at test time, and texts to search in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ragformer.nn.checkpoint import save_weights
from ragformer.nn.config import TransformerConfig
from ragformer.nn.heads import new_encoder
from ragformer.text.tokenizer import Tokenizer

TOKENIZER = Path(__file__).parents[2] / "models" / "encoder" / "tokenizer.model"


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
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


@pytest.fixture
def reading_file(tmp_path: Path) -> Path:
    animals = ["otter", "falcon", "beetle", "salmon", "badger"]
    rows = [
        {
            "id": animal,
            "title": f"The {animal}",
            "context": f"By day the {animal} hunts for food at the river, alone.",
            "question": f"What does the {animal} hunt for?",
            "answers": [{"text": "food", "start": 0}],
            "answerable": True,
        }
        for animal in animals
    ]
    path = tmp_path / "reading.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path
