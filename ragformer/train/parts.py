"""A model that does not fit one process: each holds a part of every weight, of its gradient and of
the optimizer's state (FSDP2).

    a block's parts -> gathered for its forward and again for its backward -> gradients summed and
    cut -> each process updates its part -> a state in as many files, which any number may load

Source: Zhao et al. 2023, arXiv:2304.11277; torch.distributed.fsdp.fully_shard.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from ragformer.errors import InputError
from ragformer.nn.heads import Decoder
from ragformer.store.files import keep_names
from ragformer.train.loop import Averager, Budget, MuonAdamW

T = TypeVar("T")


class _Root(nn.Module):
    """Calls what it is given while the weights outside the blocks are whole."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, work: Callable[[], T]) -> T:
        return work()


def in_parts(model: Decoder) -> Callable[[Callable[[], T]], T]:
    """Leave each process its parts of the model; what is returned calls what needs all of it.

    Gradients are summed over the processes, not averaged.
    """
    device = model.transformer.embed.weight.device
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    root = _Root(model)
    for module in (*model.transformer.blocks, root):
        fully_shard(module, mesh=mesh)
        assert isinstance(module, FSDPModule)
        module.set_gradient_divide_factor(1.0)
        module.set_force_sum_reduction_for_comms(True)  # gloo has no other
    return root


def whole_weights(model: nn.Module) -> dict[str, Any]:
    """The weights put together on the CPU, {} in every process but the first. All must call it."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    return get_model_state_dict(model, options=options)


def save_parts(
    folder: Path, model: nn.Module, optimizer: MuonAdamW, budget: Budget, average: Averager
) -> None:
    """As `save_state`, a file for each process; all must call it."""
    scratch, before = folder.with_suffix(".partial"), _before(folder)
    first = dist.get_rank() == 0
    if first:
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
    dist.barrier()
    save(_state(model, optimizer, budget, average), checkpoint_id=scratch)
    if first:
        if folder.is_dir():  # else `before` is the state there is
            shutil.rmtree(before, ignore_errors=True)
            folder.replace(before)
        scratch.replace(folder)
        keep_names(folder)
        shutil.rmtree(before, ignore_errors=True)
    dist.barrier()


def _before(folder: Path) -> Path:
    """Where the state before lies while the next one takes its name."""
    return folder.with_suffix(".before")


def load_parts(
    folder: Path, model: nn.Module, optimizer: MuonAdamW, budget: Budget, average: Averager
) -> bool:
    """Go on from what any number of processes saved, in one or in any number; says whether."""
    folder = folder if folder.is_dir() else _before(folder)
    if not folder.is_dir():
        return False
    state = _state(model, optimizer, budget, average)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled")  # it may be
            load(state, checkpoint_id=folder)
    except (CheckpointException, RuntimeError, ValueError, OSError) as error:
        raise InputError(
            f"{folder} is no training state of these sizes; delete it to start anew"
        ) from error
    model.load_state_dict(state["model"])
    set_optimizer_state_dict(model, optimizer.parts, state["optimizer"])
    average.average = state["average"]
    budget.step, budget.spent = state["step"], state["seconds"]
    return True


def _state(
    model: nn.Module, optimizer: MuonAdamW, budget: Budget, average: Averager
) -> dict[str, Any]:
    return {
        "model": get_model_state_dict(model),
        "optimizer": get_optimizer_state_dict(model, optimizer.parts),
        "average": average.average,
        "step": budget.step,
        "seconds": budget.seconds,
    }
