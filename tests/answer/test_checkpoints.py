"""Importing a decoder: what its files hold is kept or refused, by name."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from chat_checkpoint import SYMBOLS, write_checkpoint
from safetensors.torch import load_file, save_file
from torch import Tensor

from ragformer.answer.checkpoints import chat_of, import_decoder
from ragformer.errors import WeightsError
from ragformer.nn.checkpoint import read_tensors
from ragformer.nn.config import model_config
from ragformer.text.checkpoint_tokenizer import ChatTokenizer

EMBED, UP, HEAD = "model.embed_tokens.weight", "model.layers.0.mlp.up_proj.weight", "lm_head.weight"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A Qwen2 whose head is its embeddings, of two layers."""
    return write_checkpoint(tmp_path / "Qwen", ["The notice period is two months."])


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def change_tensors(source: Path, change: Callable[[dict[str, Tensor]], Any]) -> dict[str, Tensor]:
    """The tensors of the checkpoint, changed there too."""
    path = source / "model.safetensors"
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    change(tensors)
    save_file(tensors, path)
    return tensors


def change_json(path: Path, **changes: Any) -> None:
    values = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(values | changes))


def test_each_tensor_stays_as_fine_as_it_was_saved(source: Path, out: Path) -> None:
    """Some keep norms in float32 beside 16 bits; in float16 a large one would be infinite."""

    def mix(tensors: dict[str, Tensor]) -> None:
        tensors[EMBED] = tensors[EMBED].half()
        tensors["model.norm.weight"] = torch.full((32,), 1e6)

    theirs = change_tensors(source, mix)
    ours = read_tensors(import_decoder(source, out).folder)
    assert ours["transformer.embed.weight"].dtype == torch.float16
    assert torch.equal(ours["transformer.norm.weight"], theirs["model.norm.weight"])
    assert torch.equal(ours["transformer.blocks.0.mlp.up.weight"], theirs[UP])


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn, torch.float64])
def test_a_tensor_of_another_kind_of_number_is_named(
    source: Path, out: Path, dtype: torch.dtype
) -> None:
    change_tensors(source, lambda tensors: tensors.update({UP: tensors[UP].to(dtype)}))
    with pytest.raises(WeightsError, match=r"blocks\.0\.mlp\.up\.weight in .* is torch\."):
        import_decoder(source, out)
    assert not out.exists()


def test_a_head_of_its_own_counts_though_the_config_says_tied(source: Path, out: Path) -> None:
    """As in the reference, which ties two tensors only where they are equal."""
    transformers = pytest.importorskip("transformers")
    change_tensors(source, lambda tensors: tensors.update({HEAD: 1.0 - tensors[EMBED]}))
    folder = import_decoder(source, out).folder
    assert not model_config(folder, "decoder").tie_embeddings
    reference = transformers.AutoModelForCausalLM.from_pretrained(source)
    assert torch.equal(read_tensors(folder)[HEAD], reference.lm_head.weight)


def test_a_head_that_is_the_embeddings_is_kept_once(source: Path, out: Path) -> None:
    change_tensors(source, lambda tensors: tensors.update({HEAD: tensors[EMBED].clone()}))
    imported = import_decoder(source, out)
    assert imported.unused == []
    assert model_config(imported.folder, "decoder").tie_embeddings
    assert HEAD not in read_tensors(imported.folder)


def test_older_files_of_the_tokenizer_make_the_same_model(source: Path, out: Path) -> None:
    ours = ChatTokenizer(import_decoder(source, out).folder / "tokenizer.json")
    model = json.loads((source / "tokenizer.json").read_text())["model"]
    (source / "tokenizer.json").unlink()
    (source / "vocab.json").write_text(json.dumps(model["vocab"]))
    (source / "merges.txt").write_text("\n".join(map(" ".join, model["merges"])))
    told = {"tokenizer_class": "GPT2Tokenizer", "additional_special_tokens": SYMBOLS}
    change_json(source / "tokenizer_config.json", **told)
    older = import_decoder(source, out.with_name("older")).folder
    again = ChatTokenizer(older / "tokenizer.json")
    said = "The notice period, <|im_end|> she said, is two months."
    assert again.encode(said) == ours.encode(said)
    assert [again.symbol(symbol) for symbol in SYMBOLS] == [ours.symbol(s) for s in SYMBOLS]
    assert again.token_bytes == ours.token_bytes
    assert chat_of(older) == chat_of(out)


def test_layers_that_are_not_there_are_not_built(source: Path, out: Path) -> None:
    change_json(source / "config.json", num_hidden_layers=10**4)
    with pytest.raises(WeightsError, match=r"lack model\.layers\.9999\.input_layernorm"):
        import_decoder(source, out)


def test_a_tensor_in_two_files_is_refused(source: Path, out: Path) -> None:
    save_file({UP: torch.zeros(48, 32)}, source / "other.safetensors")
    with pytest.raises(WeightsError, match=r"up_proj\.weight stands in two files of"):
        import_decoder(source, out)


@pytest.mark.parametrize("token", [-1, 400, 2**70, "x", True, None])
def test_an_end_that_is_no_token_is_passed_over(source: Path, out: Path, token: Any) -> None:
    change_json(source / "generation_config.json", eos_token_id=[token])
    chat = chat_of(import_decoder(source, out).folder)
    assert chat is not None
    assert SYMBOLS[1] in chat.stops


def test_of_several_templates_the_default_counts(source: Path, out: Path) -> None:
    named = [{"name": "tools", "template": "{{ 1 / 0 }}"}]
    default = {"name": "default", "template": "{{ messages[0].content }}"}
    path = source / "tokenizer_config.json"
    change_json(path, chat_template=["no object", *named, default])
    chat = chat_of(import_decoder(source, out).folder)
    assert chat is not None
    assert chat.template == default["template"]


def test_a_template_that_is_no_text_is_refused(source: Path, out: Path) -> None:
    (source / "chat_template.jinja").write_bytes(b"\xff\xfe")
    with pytest.raises(WeightsError, match=r"chat_template\.jinja is not UTF-8"):
        import_decoder(source, out)


def test_a_tensor_larger_than_a_shard_has_one_to_itself(
    source: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The embeddings of a small Qwen2 alone take more than 256 MB."""
    monkeypatch.setattr("ragformer.answer.checkpoints.SHARD_BYTES", 5_000)
    theirs = load_file(source / "model.safetensors")
    ours = read_tensors(import_decoder(source, out).folder)
    assert len(list(out.glob("*.safetensors"))) > 1
    assert torch.equal(ours["transformer.embed.weight"], theirs[EMBED])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_pipe_is_not_waited_for(source: Path, out: Path, name: str) -> None:
    (source / name).unlink()
    os.mkfifo(source / name)
    with pytest.raises(WeightsError, match="there is no "):
        import_decoder(source, out)


def test_a_head_of_another_kind_of_number_is_named(source: Path, out: Path) -> None:
    def add(tensors: dict[str, Tensor]) -> None:
        tensors[HEAD] = tensors[EMBED].to(torch.float8_e5m2)

    change_tensors(source, add)
    with pytest.raises(WeightsError, match=r"lm_head\.weight in .* is torch\.float8_e5m2"):
        import_decoder(source, out)


@pytest.mark.parametrize(
    "said",
    [
        {f"unknown_{n}": 1 for n in range(10_000)},
        {"layer_types": [f"kind {n}" for n in range(10_000)]},
        {"model_type": "x" * 10_000},
        {"hidden_act": "x" * 10_000},
        {"vocab_size": "x" * 10_000},
        {"rope_scaling": {"rope_type": "x" * 10_000}},
        {"x" * 10_000: 1},
    ],
)
def test_a_refusal_is_a_sentence_however_much_a_file_says(
    source: Path, out: Path, said: dict[str, Any]
) -> None:
    change_json(source / "config.json", **said)
    with pytest.raises(WeightsError) as refused:
        import_decoder(source, out)
    assert len(str(refused.value)) < 500 + len(str(source))


def test_a_config_of_a_hundred_megabytes_is_not_read(source: Path, out: Path) -> None:
    with (source / "config.json").open("r+b") as file:
        file.truncate(100 * 2**20)
    with pytest.raises(WeightsError, match=r"config\.json takes 104,857,600 bytes"):
        import_decoder(source, out)


def test_a_template_that_fails_on_what_is_asked_is_not_imported(source: Path, out: Path) -> None:
    template = "{% if messages[0].role == 'user' %}{{ 1 / 0 }}{% endif %}"
    change_json(source / "tokenizer_config.json", chat_template=template)
    with pytest.raises(WeightsError, match="chat template fails"):
        import_decoder(source, out)
    assert not out.exists()
