"""Decoders of other families in our transformer: GPT-2, Llama, SmolLM, Qwen2, Qwen3.

    config.json -> a family of this table -> TransformerConfig, and where each tensor is found

A family is data: what its fields mean, which must hold for the network to be ours, which say
nothing about it. A field of none of these kinds is refused by name, as it may change the network.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from reprlib import repr as brief
from typing import Any

from torch import Tensor

from ragformer.errors import WeightsError
from ragformer.nn.config import RopeScaling, TransformerConfig, read_config
from ragformer.nn.names import few, filled_row

_LLAMA_NAMES = {
    "transformer.embed.*": "model.embed_tokens.*",
    "transformer.norm.*": "model.norm.*",
    "transformer.blocks.#.attn_norm.*": "model.layers.#.input_layernorm.*",
    "transformer.blocks.#.mlp_norm.*": "model.layers.#.post_attention_layernorm.*",
    "transformer.blocks.#.attn.q.*": "model.layers.#.self_attn.q_proj.*",
    "transformer.blocks.#.attn.k.*": "model.layers.#.self_attn.k_proj.*",
    "transformer.blocks.#.attn.v.*": "model.layers.#.self_attn.v_proj.*",
    "transformer.blocks.#.attn.o.*": "model.layers.#.self_attn.o_proj.*",
    "transformer.blocks.#.attn.q_norm.*": "model.layers.#.self_attn.q_norm.*",
    "transformer.blocks.#.attn.k_norm.*": "model.layers.#.self_attn.k_norm.*",
    "transformer.blocks.#.mlp.gate.*": "model.layers.#.mlp.gate_proj.*",
    "transformer.blocks.#.mlp.up.*": "model.layers.#.mlp.up_proj.*",
    "transformer.blocks.#.mlp.down.*": "model.layers.#.mlp.down_proj.*",
    "lm_head.*": "lm_head.*",
}
# GPT-2 keeps queries, keys and values in one matrix, of which each is a third.
_GPT2_NAMES = {
    "transformer.embed.*": "transformer.wte.*",
    "transformer.positions.*": "transformer.wpe.*",
    "transformer.norm.*": "transformer.ln_f.*",
    "transformer.blocks.#.attn_norm.*": "transformer.h.#.ln_1.*",
    "transformer.blocks.#.mlp_norm.*": "transformer.h.#.ln_2.*",
    "transformer.blocks.#.attn.q.*": "transformer.h.#.attn.c_attn.*[0]",
    "transformer.blocks.#.attn.k.*": "transformer.h.#.attn.c_attn.*[1]",
    "transformer.blocks.#.attn.v.*": "transformer.h.#.attn.c_attn.*[2]",
    "transformer.blocks.#.attn.o.*": "transformer.h.#.attn.c_proj.*",
    "transformer.blocks.#.mlp.up.*": "transformer.h.#.mlp.c_fc.*",
    "transformer.blocks.#.mlp.down.*": "transformer.h.#.mlp.c_proj.*",
    "lm_head.*": "lm_head.*",
}
_LLAMA_SIZES = {
    "vocab_size": "vocab_size",
    "d_model": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "n_kv_heads": "num_key_value_heads",
    "d_ff": "intermediate_size",
    "max_seq_len": "max_position_embeddings",
    "norm_eps": "rms_norm_eps",
}
_GPT2_SIZES = {
    "vocab_size": "vocab_size",
    "d_model": "n_embd",
    "n_layers": "n_layer",
    "n_heads": "n_head",
    "max_seq_len": "n_positions",
    "norm_eps": "layer_norm_epsilon",
}
# Of how a model was trained, saved or is written with, not of what it computes.
_SILENT = frozenset(
    """architectures model_type dtype torch_dtype transformers_version _name_or_path use_cache
    bos_token_id eos_token_id pad_token_id unk_token_id initializer_range attention_dropout
    pretraining_tp tie_word_embeddings rope_theta rope_scaling rope_parameters head_dim
    is_llama_config transformers.js_config _attn_implementation_autoset output_attentions
    output_hidden_states return_dict chunk_size_feed_forward is_encoder_decoder id2label label2id
    problem_type gradient_checkpointing n_ctx resid_pdrop embd_pdrop attn_pdrop
    summary_activation summary_first_dropout summary_proj_to_labels summary_type summary_use_proj
    task_specific_params max_window_layers""".split()  # noqa: SIM905
)


@dataclass(frozen=True, slots=True)
class Family:
    """How a family's config.json is read and its tensors are found.

    sizes: our field to theirs. fixed: their field to the values under which the network is ours;
    a field left out counts as the first. choices: our fields, the same for all. tied: whether the
    output table is the input's where the file does not say. names: our tensor to theirs; `#` is a
    layer, `*` weight or bias, [i] the i-th third. transposed: matrices lie input by output.
    """

    sizes: Mapping[str, str]
    names: Mapping[str, str]
    choices: Mapping[str, Any] = field(default_factory=dict)
    fixed: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    tied: bool = False
    transposed: bool = False


_SILU = {"hidden_act": ("silu",)}
_NO_WINDOW = {"use_sliding_window": (False,), "sliding_window": (None,)}
FAMILIES = {
    "gpt2": Family(
        _GPT2_SIZES,
        _GPT2_NAMES,
        {"position": "learned", "norm": "layer", "mlp": "gelu_tanh", "bias": True},
        {
            "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
            "scale_attn_weights": (True,),
            "scale_attn_by_inverse_layer_idx": (False,),
            "reorder_and_upcast_attn": (False,),
            "add_cross_attention": (False,),
        },
        tied=True,
        transposed=True,
    ),
    "llama": Family(
        _LLAMA_SIZES,
        _LLAMA_NAMES,
        fixed={**_SILU, "attention_bias": (False,), "mlp_bias": (False,)},
    ),
    "qwen2": Family(_LLAMA_SIZES, _LLAMA_NAMES, {"qkv_bias": True}, {**_SILU, **_NO_WINDOW}),
    "qwen3": Family(
        _LLAMA_SIZES,
        _LLAMA_NAMES,
        {"qk_norm": True},
        {**_SILU, **_NO_WINDOW, "attention_bias": (False,)},
    ),
}


def read_family(folder: Path) -> tuple[Family, TransformerConfig]:
    """The family and the transformer of the checkpoint in `folder`.

    Raises WeightsError with the name of a field that is missing, unknown or not what ours can do.
    """
    path = folder / "config.json"
    values = read_config(path)
    name = values.get("model_type")
    if name not in list(FAMILIES):  # a list can be asked for anything that JSON holds
        raise WeightsError(
            f"{path} is of model_type {brief(name)}; this imports decoders of {', '.join(FAMILIES)}"
        )
    family = FAMILIES[name]
    if missing := sorted(set(family.sizes.values()) - set(values) - {"num_key_value_heads"}):
        raise WeightsError(f"{path} has no {', '.join(missing)}")
    _refuse_unknown(values, family, path)
    tied = values.get("tie_word_embeddings")
    sizes = {ours: values[theirs] for ours, theirs in family.sizes.items() if theirs in values}
    theta, scaling = _rope(values, path)
    config = TransformerConfig(
        **{"n_kv_heads": sizes["n_heads"], **sizes, **family.choices},
        rope_theta=theta,
        rope_scaling=scaling,
        tie_embeddings=family.tied if tied is None else tied,
    )
    # Where GPT-2 says no width of its MLP, and others none of a head, it follows from d_model.
    d_head = values.get("head_dim") or config.d_model // config.n_heads
    d_ff = sizes.get("d_ff") or values.get("n_inner") or 4 * config.d_model
    return family, dataclasses.replace(config, d_head=d_head, d_ff=d_ff)


def their_tensor(ours: str, family: Family, read: Callable[[str], Tensor]) -> Tensor:
    """The tensor that `ours` is called here, out of those that `read` gives by their names.

    Raises WeightsError where it is a third of one that has no thirds.
    """
    name, _, third = filled_row(ours, family.names).partition("[")
    tensor = read(name)
    if family.transposed and tensor.dim() == 2 and ".blocks." in ours:
        tensor = tensor.T
    if not third:
        return tensor
    if not tensor.dim() or len(tensor) % 3:
        raise WeightsError(f"{name} has shape {list(tensor.shape)}, of which there is no third")
    return tensor.chunk(3)[int(third[0])]


def their_name(ours: str, family: Family) -> str:
    """What the family calls the tensor that `ours` is called here."""
    return filled_row(ours, family.names).partition("[")[0]


def _refuse_unknown(values: Mapping[str, Any], family: Family, path: Path) -> None:
    for name, allowed in family.fixed.items():
        # A window that is switched off may still have a width.
        idle = name == "sliding_window" and values.get("use_sliding_window") is False
        if values.get(name, allowed[0]) not in allowed and not idle:
            raise WeightsError(
                f"{path} says {name} {brief(values[name])}; this imports {allowed[0]!r}"
            )
    layers = values.get("layer_types") or []
    kinds = {str(kind) for kind in (layers if isinstance(layers, list) else [layers])}
    if other := sorted(kinds - {"full_attention"}):
        raise WeightsError(f"{path} has layers of {few(other)}; full_attention only")
    known = {*family.sizes.values(), *family.fixed, *_SILENT, "layer_types", "n_inner"}
    # Nothing is said by a field that is null, false or empty.
    if unknown := sorted(name for name in set(values) - known if values[name]):
        raise WeightsError(
            f"{path} has {few(unknown)}, which this does not know and will not ignore"
        )


_ROPE = frozenset(
    """rope_type type rope_theta factor low_freq_factor high_freq_factor
    original_max_position_embeddings""".split()  # noqa: SIM905
)


def _rope(values: Mapping[str, Any], path: Path) -> tuple[float, RopeScaling | None]:
    """The base of the rotary frequencies, and how they are scaled; older files and newer ones."""
    scaling = values.get("rope_parameters") or values.get("rope_scaling") or {}
    if not isinstance(scaling, dict):
        raise WeightsError(
            f"{path} says of its rotary positions {brief(scaling)}, which is no object"
        )
    theta = scaling.get("rope_theta") or values.get("rope_theta") or 10_000.0
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind not in ("default", "llama3"):
        raise WeightsError(
            f"{path} scales its rotary positions by {brief(kind)}; this knows 'llama3'"
        )
    if unknown := sorted(set(scaling) - _ROPE):
        raise WeightsError(
            f"{path} has {few(unknown)} of its rotary positions, which this does not know and will"
            " not ignore"
        )
    if kind == "default":
        return theta, None
    try:
        return theta, RopeScaling(
            factor=scaling["factor"],
            low_freq_factor=scaling["low_freq_factor"],
            high_freq_factor=scaling["high_freq_factor"],
            trained_seq_len=scaling["original_max_position_embeddings"],
        )
    except KeyError as error:
        raise WeightsError(f"{path} has a rope_scaling without a usable {error}") from error
