"""Checkpoints of other families in our names: a table a family, one row a tensor.

We walk our own names and look theirs up, so that a tensor that is missing is named and one that
nobody asked for is reported. In a row `#` is the number of the layer and `*` weight or bias.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from reprlib import repr as brief

from torch import Tensor

from ragformer.errors import WeightsError
from ragformer.nn.config import TransformerConfig, read_config

# Devlin et al. 2018, arXiv:1810.04805, as the Hugging Face library names its tensors.
BERT = {
    "embed.*": "embeddings.word_embeddings.*",
    "positions.*": "embeddings.position_embeddings.*",
    "segments.*": "embeddings.token_type_embeddings.*",
    "norm.*": "embeddings.LayerNorm.*",
    "blocks.#.attn.q.*": "encoder.layer.#.attention.self.query.*",
    "blocks.#.attn.k.*": "encoder.layer.#.attention.self.key.*",
    "blocks.#.attn.v.*": "encoder.layer.#.attention.self.value.*",
    "blocks.#.attn.o.*": "encoder.layer.#.attention.output.dense.*",
    "blocks.#.attn_norm.*": "encoder.layer.#.attention.output.LayerNorm.*",
    "blocks.#.mlp.up.*": "encoder.layer.#.intermediate.dense.*",
    "blocks.#.mlp.down.*": "encoder.layer.#.output.dense.*",
    "blocks.#.mlp_norm.*": "encoder.layer.#.output.LayerNorm.*",
}
# What a config.json must say, or leave out, for the table to mean the same network as ours.
_BERT = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "position_embedding_type": "absolute",
    "is_decoder": False,
}
_BERT_SIZES = {
    "vocab_size": "vocab_size",
    "d_model": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "n_kv_heads": "num_attention_heads",
    "d_ff": "intermediate_size",
    "max_seq_len": "max_position_embeddings",
    "n_segments": "type_vocab_size",
    "norm_eps": "layer_norm_eps",
}


def bert_config(folder: Path) -> TransformerConfig:
    """The transformer that a BERT's config.json describes; one that ours is not is refused."""
    path = folder / "config.json"
    values = read_config(path)
    if "model_type" not in values:
        raise WeightsError(f"{path} names no model_type; this imports {_BERT['model_type']} only")
    for name, ours in _BERT.items():
        if values.get(name, ours) != ours:
            raise WeightsError(
                f"{path} says {name} {brief(values[name])}; this imports {ours!r} only"
            )
    if missing := sorted(set(_BERT_SIZES.values()) - set(values)):
        raise WeightsError(f"{path} has no {', '.join(missing)}")
    config = TransformerConfig(
        **{name: values[theirs] for name, theirs in _BERT_SIZES.items()},
        causal=False,
        position="learned",
        norm="layer",
        norm_place="post",
        mlp="gelu",
        bias=True,
    )
    return dataclasses.replace(config, d_head=config.d_model // config.n_heads)


def renamed(
    tensors: Mapping[str, Tensor], table: Mapping[str, str], wanted: Iterable[str], folder: Path
) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors under our `wanted` names, and their names that nobody asked for.

    Raises WeightsError with their names of what is missing; `folder` is where from.
    """
    theirs = {name: filled_row(name, table) for name in wanted}
    if missing := [name for name in theirs.values() if name not in tensors]:
        raise WeightsError(f"the weights in {folder} lack {few(missing)}")
    unused = sorted(set(tensors) - set(theirs.values()))
    return {name: tensors[their] for name, their in theirs.items()}, unused


def few(names: Sequence[str], most: int = 3) -> str:
    """The first of the names that a stranger's file has, for a sentence, and how many more."""
    said = ", ".join(name if len(name) < 100 else f"{name[:100]}…" for name in names[:most])
    return f"{said} and {len(names) - most} more" if len(names) > most else said


def filled_row(ours: str, table: Mapping[str, str]) -> str:
    """The row of `table` for the tensor that `ours` is called here: its layer for #, weight or bias
    for *."""
    stem, _, kind = ours.rpartition(".")
    layer = re.search(r"\d+", stem)
    row = table[re.sub(r"\d+", "#", stem) + ".*"]
    return row.replace("#", layer[0] if layer else "").replace("*", kind)
