"""Decoders of other families (GPT-2, Llama, SmolLM, Qwen2, Qwen3), written as one of ours.

    config.json -> a family -> tensors under our names -> tokenizer, chat template -> a folder

Nothing in the source's folder is run but its chat template, in a sandbox and in a process with
limits, in which its tokenizer is tried too; no pickle is opened. Tensors go from the source's files
to the new ones a shard at a time.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ragformer.errors import InputError, WeightsError
from ragformer.nn.checkpoint import fill, save_weights
from ragformer.nn.config import (
    TransformerConfig,
    check_file,
    read_config,
    read_optional_config,
    write_model_config,
)
from ragformer.nn.families import Family, read_family, their_name, their_tensor
from ragformer.nn.heads import Decoder
from ragformer.nn.names import few
from ragformer.retrieve.checkpoints import Imported
from ragformer.retrieve.placing import new_folder, place_for
from ragformer.retrieve.tokenizer_files import checkpoint_tokenizer
from ragformer.text.chat_template import ChatTemplate
from ragformer.text.checkpoint_tokenizer import ChatTokenizer

SHARD_BYTES = 256 * 2**20
PLAIN = "{% for message in messages %}{{ message.content }}\n\n{% endfor %}Answer:"
"""For a model that was not taught to converse, as GPT-2: it goes on from there."""
_SYMBOLS = ("bos_token", "eos_token", "unk_token", "pad_token")
# Of tensors that say nothing: masks and frequencies that older files saved.
_IDLE = (".attn.bias", ".attn.masked_bias", "rotary_emb.inv_freq")
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True, slots=True)
class Chat:
    """How a decoder is spoken to. stops: the symbols that end its reply."""

    template: str
    symbols: dict[str, str]
    stops: tuple[str, ...]


def import_decoder(source: Path, out: Path | None = None, name: str | None = None) -> Imported:
    """Write the decoder checkpoint in `source` as one of ours, by default in the home.

    name: what the home calls it, instead of the source's own folder name. Raises WeightsError for
    what is damaged or unknown, InputError where there is no folder.
    """
    if not source.is_dir():
        raise InputError(f"there is no folder {source}; give a checkpoint's folder")
    with TemporaryDirectory(prefix="ragformer-import-") as scratch:
        return _import(source, out, name or source.resolve().name, Path(scratch))


def _import(source: Path, out: Path | None, name: str, scratch: Path) -> Imported:
    place = place_for(out, name)
    family, config = read_family(source)
    tokenizer = checkpoint_tokenizer(ChatTokenizer, source, scratch, config.vocab_size)
    chat = _chat(source, tokenizer)
    with _tensors(source) as tensors:
        config = _untied(config, family, tensors)
        model, unused = _loaded(source, family, config, tensors)
        largest = max(tensor.nbytes for tensor in model.state_dict().values())
        with new_folder(place) as folder:
            save_weights(model, folder, shard_bytes=max(SHARD_BYTES, largest))
            shutil.copyfile(tokenizer.path, folder / "tokenizer.json")
            values = {"template": chat.template, "symbols": chat.symbols, "stops": list(chat.stops)}
            write_model_config(config, "decoder", folder, chat=values)
    return Imported(place, unused)


def _loaded(
    source: Path, family: Family, config: TransformerConfig, tensors: Mapping[str, Any]
) -> tuple[Decoder, list[str]]:
    """The model with the source's tensors, still on disk, and the names of those left over."""
    asked: set[str] = set()

    def read(name: str) -> Tensor:
        # Files saved without a head leave out the "model." or "transformer." in front.
        stored = name if name in tensors else name.partition(".")[2]
        if stored not in tensors:
            raise WeightsError(f"the weights in {source} lack {name}")
        asked.add(stored)
        tensor: Tensor = tensors[stored].get_tensor(stored)
        return tensor

    # Before a model is built of as many layers as a file says.
    read(their_name(f"transformer.blocks.{config.n_layers - 1}.attn_norm.weight", family))
    with torch.device("meta"):
        model = Decoder(config)
    found = {name: their_tensor(name, family, read) for name in model.state_dict()}
    for name, tensor in found.items():
        if tensor.dtype not in _DTYPES:
            raise WeightsError(f"{name} in {source} is {tensor.dtype}; this imports 16 and 32 bits")
    for name, parameter in model.named_parameters():  # each stays as fine as it was saved
        parameter.data = parameter.data.to(found[name].dtype)
    fill(model, found, source)
    left = sorted(name for name in set(tensors) - asked if not name.endswith(_IDLE))
    return model, [name for name in left if not (config.tie_embeddings and "lm_head" in name)]


def _untied(
    config: TransformerConfig, family: Family, tensors: Mapping[str, Any]
) -> TransformerConfig:
    """The config, not tied where the file says so and holds a head that is not its embeddings: the
    reference believes the head."""
    head, embed = (
        their_name(name, family) for name in ("lm_head.weight", "transformer.embed.weight")
    )
    stored = embed if embed in tensors else embed.partition(".")[2]
    if not config.tie_embeddings or head not in tensors or stored not in tensors:
        return config
    theirs, ours = tensors[head].get_tensor(head), tensors[stored].get_tensor(stored)
    same = theirs.dtype == ours.dtype and torch.equal(theirs, ours)
    return config if same else dataclasses.replace(config, tie_embeddings=False)


@contextmanager
def _tensors(folder: Path) -> Iterator[dict[str, Any]]:
    """The open file that each tensor of the checkpoint is in, by the tensor's name."""
    index = folder / "model.safetensors.index.json"
    paths = sorted(path for path in folder.glob("*.safetensors") if path.is_file())
    if index.is_file():
        listed = read_config(index).get("weight_map")
        if not isinstance(listed, dict):
            raise WeightsError(f"{index} has no weight_map")
        names = sorted({Path(str(name)).name for name in listed.values()})
        if missing := [name for name in names if not (folder / name).is_file()]:
            raise WeightsError(f"{folder} lacks {few(missing)}, which its index names")
        paths = [folder / name for name in names]
    if not paths:
        raise WeightsError(
            f"there is no safetensors file in {folder}; pickles are not opened, save the model as"
            " safetensors"
        )
    with ExitStack() as stack:
        found: dict[str, Any] = {}
        for path in paths:
            try:
                shard = stack.enter_context(safe_open(path, framework="pt"))
            except (SafetensorError, OSError) as error:
                raise WeightsError(f"{path} is damaged or no safetensors file: {error}") from error
            if twice := sorted(found.keys() & set(shard.keys())):
                raise WeightsError(
                    f"{twice[0]} stands in two files of {folder}, {path.name} is one; keep those of"
                    " one model"
                )
            found |= dict.fromkeys(shard.keys(), shard)
        yield found


def _chat(source: Path, tokenizer: ChatTokenizer) -> Chat:
    values = read_optional_config(source / "tokenizer_config.json")
    symbols = {name: text for name in _SYMBOLS if (text := _text(values.get(name)))}
    file = source / "chat_template.jinja"
    try:
        if own := file.is_file():
            check_file(file)
        template = file.read_text("utf-8") if own else _template(values) or PLAIN
    except UnicodeDecodeError as error:
        raise WeightsError(f"{file} is not UTF-8 text: {error}") from error
    asked = [{"role": role, "content": "?"} for role in ("system", "user")]
    ChatTemplate(template, symbols).parts(asked)
    stops = _stops(source, tokenizer)
    if eos := symbols.get("eos_token"):
        stops.setdefault(eos)
    if not any(tokenizer.symbol(stop) is not None for stop in stops):
        raise WeightsError(f"{source} names no symbol that ends a reply")
    return Chat(template, symbols, tuple(stops))


def _stops(source: Path, tokenizer: ChatTokenizer) -> dict[str, None]:
    """The symbols that generation_config.json and config.json end a reply with."""
    stops: dict[str, None] = {}
    for name in ("generation_config.json", "config.json"):
        said = read_optional_config(source / name).get("eos_token_id")
        for token in said if isinstance(said, list) else [said]:
            if not isinstance(token, int) or not 0 <= token < tokenizer.vocab_size:
                continue
            if text := tokenizer.text_of(token):
                stops[text] = None
    return stops


def _template(values: dict[str, Any]) -> str:
    """The template in tokenizer_config.json: one, or the default of several."""
    said = values.get("chat_template")
    if isinstance(said, list):
        named = [template for template in said if isinstance(template, dict)]
        said = next((t.get("template") for t in named if t.get("name") == "default"), None)
    return said if isinstance(said, str) else ""


def _text(said: Any) -> str:
    """A symbol is written as its text, or as an object with it."""
    text = said.get("content") if isinstance(said, dict) else said
    return text if isinstance(text, str) else ""


def chat_of(folder: Path) -> Chat | None:
    """How the decoder in `folder` is spoken to; None for our own, which is not spoken to."""
    values = read_config(folder / "config.json").get("chat")
    if values is None:
        return None
    try:
        return Chat(values["template"], dict(values["symbols"]), tuple(values["stops"]))
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{folder / 'config.json'} has a chat without {error}") from error
