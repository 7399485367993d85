"""The same weights in the package transformers, run by its own `generate`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ragformer.bench.runtime import Seconds, Side, Weights, now
from ragformer.errors import InputError, NotFoundError
from ragformer.nn.config import TransformerConfig
from ragformer.nn.families import FAMILIES, their_name

_SEGMENTS = "transformer.segments.weight"


def transformers_sides(
    config: TransformerConfig, weights: Weights, device: torch.device
) -> list[Side]:
    """Sides named transformers-bfloat16 and, on a CPU, transformers-float32: which of them is
    its best depends on the machine."""
    dtypes = [torch.bfloat16] if device.type == "cuda" else [torch.bfloat16, torch.float32]
    return [_side(config, weights, device, dtype) for dtype in dtypes]


def _side(
    config: TransformerConfig, weights: Weights, device: torch.device, dtype: torch.dtype
) -> Side:
    model = reference(config, weights, dtype).to(device)

    def write(ids_1T: Tensor, n: int) -> tuple[Seconds, Seconds]:
        stamps = []

        def stamp(ids_BT: Tensor, *_: object, **__: object) -> Tensor:
            stamps.append(now(device))
            return torch.zeros(len(ids_BT), dtype=torch.bool, device=device)

        start = now(device)
        model.generate(
            ids_1T,
            attention_mask=torch.ones_like(ids_1T),
            max_new_tokens=n,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
            stopping_criteria=[stamp],
        )
        return stamps[0].since(start), stamps[-1].since(stamps[0])

    table = config.vocab_size * config.d_model * (0 if config.tie_embeddings else 1)
    read = sum(weight.numel() for weight in weights.values()) - table
    name = f"transformers-{str(dtype).removeprefix('torch.')}"
    return Side(name, write, None, read * dtype.itemsize, dtype)


def reference(config: TransformerConfig, weights: Weights, dtype: torch.dtype) -> Any:
    """A Qwen2 or Qwen3 of transformers with these weights, for greedy text.

    Segments are those of segment 0, added to each token's embedding. Raises InputError for a
    decoder that neither of them is.
    """
    try:
        import transformers
    except ImportError as error:
        raise NotFoundError(
            "the peer is the package transformers; run: pip install transformers"
        ) from error
    # config says all that a family fixes: these two differ in biases and norms of heads.
    family = {(False, True): "Qwen3", (True, False): "Qwen2"}.get((config.qkv_bias, config.qk_norm))
    if family is None or config.mlp != "swiglu" or config.norm != "rms":
        raise InputError("transformers is compared on Qwen2 and Qwen3 shapes only")
    segments = weights.get(_SEGMENTS)
    tied = config.tie_embeddings and segments is None
    theirs = getattr(transformers, f"{family}Config")(
        vocab_size=config.vocab_size,
        hidden_size=config.d_model,
        num_hidden_layers=config.n_layers,
        num_attention_heads=config.n_heads,
        num_key_value_heads=config.n_kv_heads,
        head_dim=config.d_head,
        intermediate_size=config.d_ff,
        max_position_embeddings=config.max_seq_len,
        rms_norm_eps=config.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
        tie_word_embeddings=tied,
    )
    with torch.device("meta"):  # or it draws weights of its own first
        model = getattr(transformers, f"{family}ForCausalLM")(theirs).to(dtype).eval()
    names = FAMILIES[family.lower()]
    table = weights["transformer.embed.weight"]
    found = {
        their_name(name, names): weight.to(dtype)
        for name, weight in weights.items()
        if name != _SEGMENTS and "pointer" not in name
    }
    if segments is not None:
        found["model.embed_tokens.weight"] = (table + segments[0]).to(dtype)
    if config.tie_embeddings:
        found["lm_head.weight"] = table.to(dtype)
    model.load_state_dict(found, assign=True)
    model.tie_weights()
    model.model.rotary_emb = type(model.model.rotary_emb)(theirs)  # its table is in no state dict
    return model
