"""Decoders of other families give their reference's logits in our transformer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from ragformer.errors import WeightsError
from ragformer.nn.cache import KVCache
from ragformer.nn.config import TransformerConfig
from ragformer.nn.families import read_family, their_tensor
from ragformer.nn.heads import Decoder
from ragformer.nn.transformer import rope_table

SIZES = {
    "vocab_size": 90,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
}
STRETCHED = {
    "rope_type": "llama3",
    "rope_theta": 5000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
GPT2_SIZES = {"vocab_size": 90, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
CHECKPOINTS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2", GPT2_SIZES),
    "llama": ("Llama", SIZES),
    "llama3": ("Llama", SIZES | {"rope_parameters": STRETCHED, "head_dim": 16}),
    "smollm": ("Llama", SIZES | {"tie_word_embeddings": True, "num_key_value_heads": 4}),
    "qwen2": ("Qwen2", SIZES | {"tie_word_embeddings": True}),
    "qwen3": ("Qwen3", SIZES | {"head_dim": 12}),
}
IDS_BT = torch.randint(0, 90, (2, 40), generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=CHECKPOINTS)
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Any, Path]:
    """A reference model with loud random weights, and the folder where it saved itself."""
    transformers = pytest.importorskip("transformers")
    kind, values = CHECKPOINTS[request.param]
    model_class = getattr(transformers, f"{kind}LMHeadModel", None)
    model_class = model_class or getattr(transformers, f"{kind}ForCausalLM")
    torch.manual_seed(1)
    model = model_class(getattr(transformers, f"{kind}Config")(**values)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(1.0 if "norm" in name or "ln_" in name else 0.0, 0.2)
    model.save_pretrained(tmp_path)
    return model, tmp_path


def _ours(folder: Path) -> Decoder:
    family, config = read_family(folder)
    tensors = load_file(folder / "model.safetensors")
    model = Decoder(config).eval()
    names = model.state_dict()
    model.load_state_dict({n: their_tensor(n, family, tensors.__getitem__) for n in names})
    return model


@torch.no_grad()
def test_logits_are_the_references(saved: tuple[Any, Path]) -> None:
    reference, folder = saved
    model = _ours(folder)
    logits_BTV = model.token_logits(model.transformer(IDS_BT))
    torch.testing.assert_close(logits_BTV, reference(IDS_BT).logits, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_angles_far_into_a_text_are_the_references(saved: tuple[Any, Path]) -> None:
    """A position multiplies what a frequency is off by, be it in its last bit."""
    reference, folder = saved
    config = _ours(folder).config
    if config.position != "rope":
        pytest.skip("it has no angles")
    places_11 = torch.tensor([[100_000]])
    cos_1TE, sin_1TE = reference.model.rotary_emb(torch.zeros(1), places_11)
    cos, sin = rope_table(places_11, config.d_head, config.rope_theta, config.rope_scaling)
    torch.testing.assert_close(cos[:, 0], cos_1TE, atol=1e-6, rtol=0)
    torch.testing.assert_close(sin[:, 0], sin_1TE, atol=1e-6, rtol=0)


@torch.no_grad()
def test_greedy_text_is_the_references(saved: tuple[Any, Path]) -> None:
    reference, folder = saved
    model = _ours(folder)
    prompt_BT = IDS_BT[:1, :20]
    expected_BT = reference.generate(
        prompt_BT, max_new_tokens=12, do_sample=False, eos_token_id=None, pad_token_id=0
    )
    cache = KVCache(model.config, 1, 40)
    ids_BT, written = prompt_BT, []
    for _ in range(12):
        logits_BTV = model.token_logits(model.transformer(ids_BT, cache=cache))
        ids_BT = logits_BTV[:, -1:].argmax(-1)
        written.append(int(ids_BT))
    assert written == expected_BT[0, 20:].tolist()


def _write(folder: Path, **changes: Any) -> Path:
    values = {"model_type": "qwen2", "hidden_act": "silu", **SIZES, **changes}
    (folder / "config.json").write_text(json.dumps(values))
    return folder


def test_older_files_say_their_rotary_positions_elsewhere(tmp_path: Path) -> None:
    said = {"rope_theta": 5000.0, "rope_scaling": STRETCHED}
    _, old = read_family(_write(tmp_path, **said))
    _, new = read_family(_write(tmp_path, rope_parameters=STRETCHED))
    assert old == new
    assert (old.rope_theta, old.rope_scaling is None) == (5000.0, False)
    assert TransformerConfig.from_dict(json.loads(old.to_json())) == old


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "mamba"}, "is of model_type 'mamba'; this imports decoders of gpt2"),
        ({"hidden_act": "relu"}, "says hidden_act 'relu'; this imports 'silu'"),
        ({"use_sliding_window": True}, "says use_sliding_window True"),
        ({"sliding_window": 4096}, "says sliding_window 4096"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "layers of sliding_attention"),
        ({"quantization_config": {"bits": 4}}, "has quantization_config, which this does not know"),
        ({"rope_scaling": {"type": "yarn"}}, "rotary positions by 'yarn'"),
        ({"rope_scaling": {"rope_type": "llama3"}}, "without a usable 'factor'"),
        ({"num_key_value_heads": 3}, "n_heads 4 is not a multiple of n_kv_heads 3"),
        ({"hidden_size": "wide"}, "d_model is 'wide'"),
        ({"model_type": ["qwen2"]}, "is of model_type"),
        ({"layer_types": 5}, "layers of 5"),
        ({"tie_word_embeddings": "false"}, "tie_embeddings is 'false'; it is true or false"),
        ({"rms_norm_eps": "small"}, "norm_eps is 'small'; it must be a number above 0"),
        ({"rms_norm_eps": float("nan")}, "norm_eps is nan"),
        ({"rope_theta": "abc"}, "rope_theta is 'abc'"),
        ({"rope_theta": -5.0}, "rope_theta is -5.0"),
        ({"rope_scaling": "yarn"}, "rotary positions 'yarn', which is no object"),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "has partial_rotary_factor of its"),
        ({"rope_scaling": STRETCHED | {"attention_factor": 2.0}}, "has attention_factor of its"),
        ({"rope_scaling": STRETCHED | {"factor": 0}}, "factor is 0; it must be a number above 0"),
        ({"rope_scaling": STRETCHED | {"factor": "8"}}, "factor is '8'"),
        ({"rope_scaling": STRETCHED | {"high_freq_factor": 1.0}}, "low_freq_factor 1.0 is not"),
    ],
)
def test_what_is_not_our_network_is_refused_by_name(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(WeightsError, match=said):
        read_family(_write(tmp_path, **changes))


@pytest.mark.parametrize("shape", [(), (1,), (64,)])
def test_a_tensor_without_thirds_is_named(tmp_path: Path, shape: tuple[int, ...]) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "gpt2", "layer_norm_epsilon": 1e-5, **GPT2_SIZES})
    )
    family, _ = read_family(tmp_path)
    with pytest.raises(WeightsError, match=r"transformer\.h\.0\.attn\.c_attn\.bias has shape \["):
        their_tensor("transformer.blocks.0.attn.k.bias", family, lambda _: torch.zeros(shape))


def test_a_config_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(WeightsError, match="is not JSON"):
        read_family(tmp_path)


def test_a_missing_size_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama", "hidden_size": 8}')
    with pytest.raises(WeightsError, match="has no intermediate_size, max_position_embeddings"):
        read_family(tmp_path)


def test_a_window_that_is_switched_off_may_have_a_width(tmp_path: Path) -> None:
    read_family(_write(tmp_path, use_sliding_window=False, sliding_window=4096))
