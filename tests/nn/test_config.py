"""A config goes to JSON and back, and what cannot be a transformer is refused by name."""

from __future__ import annotations

import json

import pytest

from ragformer.errors import WeightsError
from ragformer.nn.config import TransformerConfig, read_config


def test_a_config_reads_back_as_written(config, tmp_path):
    (tmp_path / "config.json").write_text(config.to_json())
    assert TransformerConfig.from_dict(read_config(tmp_path / "config.json")) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"vocab_size": 9, "n_embd": 4, "dropout": 0.1}, "unknown fields: dropout, n_embd"),
        ({"d_model": 8}, "no vocab_size"),
        ({"vocab_size": 0}, "vocab_size is 0"),
        ({"vocab_size": "9"}, "vocab_size is '9'"),
        ({"vocab_size": 9, "n_layers": None}, "n_layers is None"),
        ({"vocab_size": 9, "n_heads": 4, "n_kv_heads": 3}, "n_heads 4 is not a multiple"),
        ({"vocab_size": 9, "d_head": 7}, "an even d_head, not 7"),
        (
            {"vocab_size": 9, "position": "alibi"},
            "position is 'alibi'; it must be rope or learned or sinusoidal",
        ),
        ({"vocab_size": 9, "norm": "batch"}, "norm is 'batch'"),
        ({"vocab_size": 9, "norm_place": "both"}, "norm_place is 'both'"),
        ({"vocab_size": 9, "mlp": "relu"}, "mlp is 'relu'"),
    ],
)
def test_what_is_wrong_is_named(values, message):
    with pytest.raises(WeightsError, match=message):
        TransformerConfig.from_dict(values)


def test_learned_positions_take_any_head(small_config):
    assert small_config(position="learned", d_head=7).d_head == 7


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is the model folder complete"),
        (b"{", "is not JSON"),
        (b"\xff", "is not JSON"),
        (json.dumps([1]).encode(), "does not hold a JSON object"),
    ],
)
def test_a_damaged_config_file_is_one_sentence(tmp_path, content, message):
    path = tmp_path / "config.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        read_config(path)
