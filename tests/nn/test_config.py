"""A config goes to JSON and back, and what cannot be a transformer is refused by name."""

from __future__ import annotations

import json

import pytest
import torch

from ragformer.errors import WeightsError
from ragformer.nn.config import TransformerConfig, read_config
from ragformer.nn.heads import Decoder


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
        ({"vocab_size": 9, "n_layers": 10**12}, "n_layers is 1000000000000; this takes up to"),
        ({"vocab_size": 10**30}, "vocab_size is 10+; this takes up to"),
        ({"vocab_size": 9, "d_ff": True}, "d_ff is True; it must be a whole number"),
        ({"vocab_size": 9, "norm_eps": True}, "norm_eps is True; it must be a number"),
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


def test_the_largest_sizes_together_are_still_sizes_of_a_tensor():
    """So that what only a file says is compared with its tensors, and breaks nothing before."""
    most = dict.fromkeys(("d_model", "n_heads", "n_kv_heads", "d_head", "d_ff"), 10**6)
    config = TransformerConfig(vocab_size=10**7, n_layers=1, max_seq_len=10**9, **most)
    with torch.device("meta"):
        assert Decoder(config).transformer.blocks[0].attn.q.weight.numel() == 10**18
