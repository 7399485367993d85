"""One training run over several processes, started by `torchrun`; alone, all of it does nothing.

each process draws the same whole batch -> takes its rows -> its part of the loss and gradients
-> summed over all -> the same update everywhere

So a step is that of one process on the whole batch, however many share it, and a state that one of
them has saved is that of all: any number may go on from it. The weights fit each process; models
that do not are not spread.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ragformer.errors import InputError
from ragformer.train.loop import MuonAdamW, train_step, update

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Spread:
    """This process's number among n; `spreading` finds out."""

    rank: int = 0
    n: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that logs, measures and saves."""
        return self.rank == 0

    def check(self, batch: int) -> None:
        """Raises InputError where a batch has fewer rows than there are processes."""
        if batch < self.n:
            raise InputError(f"a batch of {batch} rows cannot be shared by {self.n} processes")

    def share(self, rows: Sequence[T]) -> Sequence[T]:
        """This process's rows of a batch."""
        return rows[self.rank :: self.n]

    def part(self, loss: Tensor, n_rows: int, n_all: int) -> Tensor:
        """A mean over n_rows rows as its part of the mean over n_all."""
        return loss if self.n == 1 else loss * (n_rows / n_all)

    def agreed(self, value: float) -> float:
        """The first process's value: clocks differ, and all must stop at one step."""
        if self.n == 1:
            return value
        told = torch.tensor([value], dtype=torch.float64, device=_device())
        dist.broadcast(told, src=0)
        return float(told)

    def train_step(
        self, part: Tensor, model: nn.Module, optimizer: MuonAdamW, rate: float
    ) -> float:
        """`train_step` for the sum of all processes' parts of a loss; returns that."""
        if self.n == 1:
            return train_step(part, model, optimizer, rate)
        part.backward()  # type: ignore[no-untyped-call]
        _sum_gradients([p for p in model.parameters() if p.requires_grad])
        loss = part.detach().clone()
        dist.all_reduce(loss)
        return update(loss, model, optimizer, rate)


@contextmanager
def spreading() -> Iterator[Spread]:
    """The processes that `torchrun` has started, joined for as long as this is open."""
    if not dist.is_torchelastic_launched():
        yield Spread()
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(dist.get_node_local_rank(0))
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield Spread(dist.get_rank(), dist.get_world_size())
        dist.barrier()  # nobody leaves while the first still writes
    finally:
        dist.destroy_process_group()


def _sum_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Sum over all processes; a parameter that none has used keeps no gradient."""
    used = torch.tensor([float(p.grad is not None) for p in parameters], device=_device())
    dist.all_reduce(used, dist.ReduceOp.MAX)
    some = [p for p, is_used in zip(parameters, used.tolist(), strict=True) if is_used]
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in some]
    if not gradients:
        return
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    parts = torch.split(flat, [p.numel() for p in some])
    for parameter, summed in zip(some, parts, strict=True):
        parameter.grad = summed.view_as(parameter)


def _device() -> torch.device:
    """Where what is sent has to lie."""
    return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")
