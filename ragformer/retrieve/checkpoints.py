"""Sentence encoders of the BERT family (MiniLM, BGE, E5, GTE), written as an encoder of ours.

    modules.json -> config.json, tensors renamed, pooling, prefixes -> a folder of our own form

The source is a folder as sentence-transformers saves it. Its transformer runs in our code, its
pooling becomes the token weights of our mean, its texts keep their prefixes. What would not give
the reference's vectors, scaled to length 1, is refused.
"""

from __future__ import annotations

import dataclasses
import json
import pickle
import shutil
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from ragformer.errors import InputError, WeightsError
from ragformer.nn.checkpoint import fill, read_tensors, save_weights
from ragformer.nn.config import (
    TransformerConfig,
    read_config,
    read_optional_config,
    write_model_config,
)
from ragformer.nn.heads import SentenceEncoder
from ragformer.nn.names import BERT, bert_config, renamed
from ragformer.retrieve.embed import Encoder, TextForm, load_encoder
from ragformer.retrieve.placing import new_folder, place_for
from ragformer.retrieve.tokenizer_files import checkpoint_tokenizer
from ragformer.text.checkpoint_tokenizer import CheckpointTokenizer

_MODULES = ["Transformer", "Pooling", "Normalize"]  # in this order, the last may be left out
_OLD_POOLING = "pooling_mode_"
_SILENT = -1000.0  # a log weight that is 0 in float32
_PREFIX = "bert."  # of the tensors, where the checkpoint was saved with a head
# What a damaged pickle was seen to raise: torch says no more than "unpickling errors".
_UNPICKLING = (
    *(pickle.UnpicklingError, struct.error, RuntimeError, ValueError, EOFError, OSError),
    *(LookupError, TypeError, AttributeError),
)


@dataclass(frozen=True, slots=True)
class Imported:
    """The folder that was written, and the source's tensors that have no place in it."""

    folder: Path
    unused: list[str]


@dataclass(frozen=True, slots=True)
class _Source:
    """What the files of a sentence-transformers folder say, apart from the weights."""

    folder: Path
    config: TransformerConfig
    tokenizer: CheckpointTokenizer
    pooling: str
    form: TextForm


def import_encoder(
    source: Path,
    out: Path | None = None,
    query_prefix: str | None = None,
    passage_prefix: str | None = None,
    name: str | None = None,
) -> Imported:
    """Write the sentence-transformers encoder in `source` as one of ours, by default in the home.

    The prefixes replace those of the source's own files, which many E5 and BGE lack. name: what
    the home calls it, instead of the source's own folder name. Raises WeightsError for what is
    damaged or no BERT sentence encoder.
    """
    with TemporaryDirectory(prefix="ragformer-import-") as scratch:
        place = place_for(out, name or source.resolve().name)
        read = _read_source(source, Path(scratch))
        form = read.form
        if query_prefix is not None:
            form = dataclasses.replace(form, query_prefix=query_prefix)
        if passage_prefix is not None:
            form = dataclasses.replace(form, passage_prefix=passage_prefix)
        model, unused = _load_model(read)
        with new_folder(place) as folder:
            save_weights(model, folder, shard_bytes=sys.maxsize)
            shutil.copyfile(read.tokenizer.path, folder / "tokenizer.json")
            write_model_config(read.config, "encoder", folder, texts=dataclasses.asdict(form))
    return Imported(place, unused)


def load_peer(source: Path) -> Encoder:
    """The sentence-transformers encoder in `source`; what its import writes is thrown away."""
    with TemporaryDirectory(prefix="ragformer-peer-") as scratch:
        return load_encoder(import_encoder(source, Path(scratch) / "encoder").folder)


def _read_source(source: Path, scratch: Path) -> _Source:
    if not source.is_dir():
        raise InputError(f"there is no folder {source}; give one that sentence-transformers saved")
    modules = _modules(source)
    folder = modules["Transformer"]
    config = bert_config(folder)
    texts = read_optional_config(folder / "sentence_bert_config.json")
    tokenizer = checkpoint_tokenizer(CheckpointTokenizer, folder, scratch, config.vocab_size)
    if texts.get("do_lower_case") and tokenizer.encode("A") != tokenizer.encode("a"):
        raise WeightsError(f"{folder} asks for lower case and its tokenizer keeps capitals")
    prompts = _prompts(source, normalized="Normalize" in modules)
    passage = next(filter(None, map(prompts.get, ("document", "passage", "corpus"))), "")
    form = TextForm.from_dict(
        {
            "query_prefix": prompts.get("query") or "",
            "passage_prefix": passage,
            "max_tokens": texts.get("max_seq_length") or config.max_seq_len,
            "float32": True,
        }
    )
    form = dataclasses.replace(form, max_tokens=min(form.max_tokens, config.max_seq_len))
    return _Source(folder, config, tokenizer, _pooling(modules["Pooling"], prompts), form)


def _modules(source: Path) -> dict[str, Path]:
    """The folder of each module by its kind, in the order of modules.json."""
    path = source / "modules.json"
    try:
        modules = json.loads(path.read_text(encoding="utf-8"))
        folders = {module["type"].rpartition(".")[2]: source / module["path"] for module in modules}
    except FileNotFoundError as error:
        raise WeightsError(
            f"there is no {path}; give a folder that sentence-transformers saved"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path} is no list of modules: {error}") from error
    if list(folders) not in (_MODULES, _MODULES[:2]):
        found = ", ".join(folders) or "nothing"
        raise WeightsError(f"{path} lists {found}; this imports {', '.join(_MODULES)} only")
    return folders


def _prompts(source: Path, normalized: bool) -> dict[str, str]:
    """What stands before a text, by the kind of text. Normalized vectors compare alike by dot
    product and cosine; others must have been trained for the cosine."""
    path = source / "config_sentence_transformers.json"
    values = read_optional_config(path)
    similarity = values.get("similarity_fn_name") or "cosine"
    if similarity != "cosine" and not (similarity == "dot" and normalized):
        raise WeightsError(f"{path} compares vectors by {similarity}, ragformer by cosine")
    prompts = values.get("prompts") or {}
    if not isinstance(prompts, dict):
        raise WeightsError(f"{path} has prompts that are no object")
    return prompts


def _pooling(folder: Path, prompts: dict[str, str]) -> str:
    """mean or cls."""
    values = read_config(folder / "config.json")
    old = [name for name, on in values.items() if name.startswith(_OLD_POOLING) and on]
    named = {f"{_OLD_POOLING}cls_token": "cls", f"{_OLD_POOLING}mean_tokens": "mean"}
    modes = values.get("pooling_mode") or [named.get(name, name) for name in old] or "mean"
    mode = modes[0] if isinstance(modes, list) and len(modes) == 1 else modes
    if mode not in ("mean", "cls"):
        raise WeightsError(f"{folder} pools by {mode}; this imports mean and cls")
    if values.get("include_prompt") is False and any(prompts.values()):
        raise WeightsError(f"{folder} leaves prompts out of the mean, which this does not import")
    return mode


def _load_model(read: _Source) -> tuple[SentenceEncoder, list[str]]:
    """The encoder with the source's weights, and the names of those without a place."""
    with torch.device("meta"):  # nothing is made of a size that only a file says
        model = SentenceEncoder(read.config)
    theirs = {n.removeprefix(_PREFIX): t for n, t in _read_weights(read.folder).items()}
    found, unused = renamed(theirs, BERT, model.transformer.state_dict(), read.folder)
    tensors = {f"transformer.{name}": tensor for name, tensor in found.items()}
    # Class pooling is a mean in which only the symbol that opens every text has a weight.
    weights_V1 = torch.zeros(read.config.vocab_size, 1)
    if read.pooling == "cls":
        weights_V1.fill_(_SILENT)[read.tokenizer.first] = 0.0
    fill(model, {**tensors, "token_weight.weight": weights_V1}, read.folder)
    return model, unused


def _read_weights(folder: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint: safetensors where there are any, else a pickle of tensors."""
    path = folder / "pytorch_model.bin"
    if any(folder.glob("model*.safetensors")) or not path.is_file():
        return read_tensors(folder)
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except _UNPICKLING as error:
        raise WeightsError(f"{path} is damaged or holds more than tensors") from error
    if not isinstance(tensors, dict) or not all(torch.is_tensor(t) for t in tensors.values()):
        raise WeightsError(f"{path} holds more than tensors")
    return tensors
