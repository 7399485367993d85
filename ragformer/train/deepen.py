"""A deeper model from a trained one, which computes the same until it is trained on."""

from __future__ import annotations

import re
from pathlib import Path

from torch import Tensor, nn

from ragformer.errors import WeightsError
from ragformer.nn.checkpoint import fill, read_tensors

_BLOCK = re.compile(r"(?<=blocks\.)\d+(?=\.)")


def load_deepened(model: nn.Module, folder: Path) -> None:
    """Fill `model` with the weights in `folder`, which may be of one with fewer blocks.

    Trained blocks are spread evenly, in order; those between keep their fresh weights, whose
    outputs are zero (`init_weights`). Raises WeightsError where the folder's model has more.
    Source: Chen et al. 2016, Net2Net, arXiv:1511.05641, section 2.3.
    """
    found = read_tensors(folder)
    trained, wanted = _n_blocks(found), _n_blocks(model.state_dict())
    if trained > wanted:
        raise WeightsError(
            f"the model in {folder} has {trained} layers; --n-layers {wanted} would drop some"
        )
    spread = {str(i): str(i * wanted // trained) for i in range(trained)}
    placed = {_BLOCK.sub(lambda m: spread[m.group()], name): t for name, t in found.items()}
    kept = set(spread.values())
    fresh = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if (block := _BLOCK.search(name)) and block.group() not in kept
    }
    fill(model, fresh | placed, folder)


def _n_blocks(tensors: dict[str, Tensor]) -> int:
    return len({block.group() for name in tensors if (block := _BLOCK.search(name))})
