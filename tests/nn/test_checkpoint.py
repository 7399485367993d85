"""Weights read back bit for bit, or the file and the tensor at fault are named."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ragformer.errors import WeightsError
from ragformer.nn import checkpoint
from ragformer.nn.checkpoint import load_weights, save_weights, weight_files, weights_id
from ragformer.nn.heads import Decoder


@pytest.fixture
def decoder(small_config, loud):
    """decoder(seed): a small decoder with random weights."""
    return lambda seed=0: loud(Decoder(small_config(d_pointer=8)), seed)


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(checkpoint, "MAX_SHARD_BYTES", 12_000)


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(
        torch.equal(x, y)
        for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


def test_saved_weights_read_back_bit_for_bit(decoder, tmp_path):
    written, read = decoder(0), decoder(1)
    assert not same(written, read)
    assert save_weights(written, tmp_path / "new") == [tmp_path / "new" / "model.safetensors"]
    load_weights(read, tmp_path / "new")
    assert same(written, read)


@pytest.mark.usefixtures("small_shards")
def test_many_shards_are_one_model_each_below_the_limit(decoder, tmp_path):
    written, read = decoder(0), decoder(1)
    files = save_weights(written, tmp_path)
    assert len(files) > 2
    assert files == weight_files(tmp_path)
    sizes = [sum(t.nbytes for t in load_file(file).values()) for file in files]
    assert max(sizes) <= checkpoint.MAX_SHARD_BYTES
    load_weights(read, tmp_path)
    assert same(written, read)


def test_a_tensor_larger_than_a_shard_is_named(decoder, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "MAX_SHARD_BYTES", 100)
    with pytest.raises(WeightsError, match=r"transformer.embed.weight alone takes 5120 bytes"):
        save_weights(decoder(), tmp_path)


def test_shards_of_an_earlier_save_go_away(decoder, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "MAX_SHARD_BYTES", 12_000)
        save_weights(decoder(1), tmp_path)
    save_weights(decoder(0), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


@pytest.mark.usefixtures("small_shards")
def test_a_caller_may_want_larger_files(decoder, tmp_path):
    assert save_weights(decoder(), tmp_path, shard_bytes=2**30) == [tmp_path / "model.safetensors"]


@pytest.mark.usefixtures("small_shards")
def test_files_of_two_saves_are_never_mixed(decoder, tmp_path):
    save_weights(decoder(0), tmp_path)
    save_file(decoder(1).state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match="stands in two files"):
        load_weights(decoder(2), tmp_path)


def test_only_floating_tensors_are_converted(tmp_path):
    model = nn.BatchNorm1d(3)
    model.running_mean.fill_(1 / 3)
    model.num_batches_tracked.fill_(1_000_001)
    save_weights(model, tmp_path, torch.bfloat16)
    stored = load_file(tmp_path / "model.safetensors")
    assert stored["running_mean"].dtype == torch.bfloat16
    read = nn.BatchNorm1d(3)
    load_weights(read, tmp_path)
    assert read.num_batches_tracked == 1_000_001
    assert torch.equal(read.running_mean, torch.full((3,), 1 / 3).bfloat16().float())


NAME = "transformer.norm.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop(NAME), rf"lack {NAME}"),
        (lambda tensors: tensors.update(other=torch.ones(1)), "unknown other"),
        (
            lambda tensors: tensors.update({NAME: torch.ones(31)}),
            rf"{NAME} .* shape \[31\].*\[32\]",
        ),
        (lambda tensors: tensors[NAME].fill_(float("nan")), rf"{NAME} .* not finite"),
        (lambda tensors: tensors[NAME].fill_(float("-inf")), rf"{NAME} .* not finite"),
    ],
    ids=["missing", "extra", "misshapen", "nan", "inf"],
)
def test_a_tensor_that_does_not_fit_is_named_and_nothing_changes(
    decoder, tmp_path, change, message
):
    tensors = decoder(1).state_dict()
    change(tensors)
    save_file(tensors, tmp_path / "model.safetensors")
    model = decoder(0)
    with pytest.raises(WeightsError, match=message):
        load_weights(model, tmp_path)
    assert same(model, decoder(0))


@pytest.mark.parametrize("damage", ["empty", "cut", "header", "text"])
def test_a_damaged_file_is_named(decoder, tmp_path, damage):
    (path,) = save_weights(decoder(), tmp_path)
    whole = path.read_bytes()
    damaged = {
        "empty": b"",
        "cut": whole[:-5],
        "header": b"\xff" * 8 + whole[8:],
        "text": json.dumps({"a": 1}).encode(),
    }
    path.write_bytes(damaged[damage])
    with pytest.raises(WeightsError, match=r"model\.safetensors is damaged"):
        load_weights(decoder(), tmp_path)


def test_a_folder_without_weights_says_so(decoder, tmp_path):
    with pytest.raises(WeightsError, match="no weights"):
        load_weights(decoder(), tmp_path)


def test_an_id_names_the_weights(decoder, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        save_weights(decoder(seed), tmp_path / name)
    a, b, c = (weights_id(tmp_path / name) for name in "abc")
    assert a == b != c
    assert len(a) == 12
    ids = {a}
    for name in ("config.json", "tokenizer.model", "tokenizer.json"):
        for content in (b"{}", b"{ }"):
            (tmp_path / "a" / name).write_bytes(content)
            ids.add(weights_id(tmp_path / "a"))
    assert len(ids) == 7
