"""Every tensor of ours has a place in a BERT, and a foreign or damaged one is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ragformer.errors import WeightsError
from ragformer.nn.config import TransformerConfig
from ragformer.nn.names import BERT, bert_config, filled_row, renamed
from ragformer.nn.transformer import Transformer

HERE = Path("model")
FILE = {
    "model_type": "bert",
    "vocab_size": 20,
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 24,
    "max_position_embeddings": 8,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "some_new_field": None,
}


def write(folder: Path, **changes: object) -> Path:
    (folder / "config.json").write_text(json.dumps(FILE | changes))
    return folder


@given(st.integers(1, 12))
def test_every_tensor_has_one_place_of_its_own(n_layers):
    config = TransformerConfig(
        5, 4, n_layers, 1, 1, 4, 4, 6, False, position="learned", norm="layer",
        norm_place="post", mlp="gelu", bias=True, n_segments=2,
    )  # fmt: skip
    names = list(Transformer(config).state_dict())
    theirs = [filled_row(name, BERT) for name in names]
    assert len(set(theirs)) == len(names)
    found, unused = renamed({name: torch.ones(1) for name in theirs}, BERT, names, HERE)
    assert (list(found), unused) == (names, [])


def test_what_is_missing_is_named_and_what_is_unused_told():
    names = ["embed.weight", "blocks.11.attn.q.bias", "blocks.1.mlp_norm.weight"]
    theirs = [
        "embeddings.word_embeddings.weight",
        "encoder.layer.11.attention.self.query.bias",
        "encoder.layer.1.output.LayerNorm.weight",
    ]
    tensors = {name: torch.tensor(i) for i, name in enumerate(theirs)}
    found, unused = renamed({**tensors, "z": torch.ones(1), "a": torch.ones(1)}, BERT, names, HERE)
    assert found == {name: torch.tensor(i) for i, name in enumerate(names)}
    assert unused == ["a", "z"]
    with pytest.raises(WeightsError, match=f"in model lack {theirs[0]}, {theirs[1]}$"):
        renamed({theirs[2]: torch.ones(1)}, BERT, names, HERE)
    with pytest.raises(WeightsError, match=r"query\.bias and 1 more$"):
        renamed({}, BERT, ["norm.weight", "norm.bias", *names[1:]], HERE)


def test_a_bert_is_described_by_its_own_file(tmp_path):
    config = bert_config(write(tmp_path))
    assert (config.d_model, config.n_heads, config.n_kv_heads, config.d_head) == (12, 3, 3, 4)
    assert (config.norm_eps, config.n_segments, config.max_seq_len) == (1e-12, 2, 8)
    assert not config.causal


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "xlm-roberta"}, "says model_type 'xlm-roberta'; this imports 'bert' only"),
        ({"hidden_act": "gelu_new"}, "says hidden_act 'gelu_new'"),
        ({"position_embedding_type": "relative_key"}, "says position_embedding_type"),
        ({"is_decoder": True}, "says is_decoder True"),
        ({"hidden_size": "12"}, "d_model is '12'"),
        ({"num_attention_heads": 0}, "n_heads is 0"),
    ],
)
def test_a_network_that_is_not_ours_is_refused(tmp_path, changes, said):
    with pytest.raises(WeightsError, match=said):
        bert_config(write(tmp_path, **changes))


def test_a_file_that_lacks_something_is_refused(tmp_path):
    for name in ("layer_norm_eps", "model_type"):
        short = {key: value for key, value in FILE.items() if key != name}
        (tmp_path / "config.json").write_text(json.dumps(short))
        with pytest.raises(WeightsError, match=name):
            bert_config(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(WeightsError, match=r"there is no .*config\.json"):
        bert_config(tmp_path)
