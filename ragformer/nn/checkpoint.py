"""Weights on disk: safetensors shards, every name and shape checked both ways."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ragformer.errors import WeightsError
from ragformer.nn.identity import weight_files, weights_id

__all__ = ["fill", "load_weights", "read_tensors", "save_weights", "weight_files", "weights_id"]

MAX_SHARD_BYTES = 47 * 2**20


def save_weights(
    model: nn.Module,
    folder: Path,
    dtype: torch.dtype | None = None,
    shard_bytes: int | None = None,
) -> list[Path]:
    """Write model*.safetensors into `folder` and return the files.

    dtype: convert floating tensors to it; None keeps every bit. shard_bytes: no file holds more;
    None keeps each below 48 MiB. Each file is complete before it takes its name, and shards of
    an earlier save are removed last.
    """
    tensors = {
        name: _converted(tensor.detach().cpu(), dtype).contiguous()
        for name, tensor in model.state_dict().items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    shards = _split(tensors, shard_bytes or MAX_SHARD_BYTES)
    names = (
        ["model.safetensors"]
        if len(shards) == 1
        else [f"model-{i:05}-of-{len(shards):05}.safetensors" for i in range(1, len(shards) + 1)]
    )
    files = [_save_shard(folder / name, shard) for name, shard in zip(names, shards, strict=True)]
    for old in set(folder.glob("model*.safetensors")) - set(files):
        old.unlink()
    return files


def _converted(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    return tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor


def sync(file: Path) -> None:
    """Have what was written to the file outlast a power cut."""
    with file.open("r+b") as opened:  # to write: Windows syncs no other
        os.fsync(opened.fileno())


def _save_shard(path: Path, tensors: dict[str, Tensor]) -> Path:
    scratch = path.with_suffix(".partial")
    try:
        save_file(tensors, scratch)
    except SafetensorError as error:
        raise WeightsError(f"{path} cannot be written: {error}; see that there is space") from error
    sync(scratch)
    scratch.replace(path)
    return path


def _split(tensors: dict[str, Tensor], shard_bytes: int) -> list[dict[str, Tensor]]:
    """Tensors in order, cut into groups below the shard size (a single larger one raises)."""
    shards: list[dict[str, Tensor]] = [{}]
    room = shard_bytes
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        if size > shard_bytes:
            raise WeightsError(f"{name} alone takes {size} bytes; a shard holds {shard_bytes}")
        if size > room:
            shards.append({})
            room = shard_bytes
        shards[-1][name] = tensor
        room -= size
    return shards


def load_weights(model: nn.Module, folder: Path) -> None:
    """Fill `model` from the shards in `folder`; names the tensor that is missing, extra or wrong.

    Values are converted to the model's dtype. Nothing is changed unless everything fits. A model
    on the meta device takes the tensors themselves, which are read from disk as they are used.
    """
    fill(model, read_tensors(folder), folder)


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Every tensor in the shards in `folder`, by its name."""
    found: dict[str, Tensor] = {}
    for path in weight_files(folder):
        try:
            with safe_open(path, framework="pt") as shard:
                for name in shard.keys():  # noqa: SIM118 (a safe_open is no dict)
                    if name in found:
                        raise WeightsError(
                            f"{name} stands in two files of {folder}, {path.name} is one; "
                            "they are of different models, save or copy the folder again"
                        )
                    found[name] = shard.get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise WeightsError(f"{path} is damaged or no safetensors file: {error}") from error
    return found


def fill(model: nn.Module, found: dict[str, Tensor], folder: Path) -> None:
    """`load_weights` for tensors that have been read; `folder` is where from, for messages."""
    wanted = model.state_dict()
    if missing := sorted(set(wanted) - set(found)):
        raise WeightsError(f"the weights in {folder} lack {', '.join(missing)}")
    if extra := sorted(set(found) - set(wanted)):
        raise WeightsError(f"the weights in {folder} have unknown {', '.join(extra)}")
    for name, tensor in found.items():
        if tensor.shape != wanted[name].shape:
            raise WeightsError(
                f"{name} in {folder} has shape {list(tensor.shape)}, "
                f"the configuration says {list(wanted[name].shape)}"
            )
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise WeightsError(f"{name} in {folder} holds values that are not finite")
    if not any(tensor.is_meta for tensor in wanted.values()):
        model.load_state_dict(found)
        return
    model.load_state_dict({n: t.to(wanted[n].dtype) for n, t in found.items()}, assign=True)
