"""One training run over several processes, data parallel, started by `torchrun`; alone it does
nothing.

each process draws the same whole batch -> takes its rows -> its part of the loss and gradients
-> summed over all -> the same update everywhere

So a step is that of one process on the whole batch, however many share it, and a state that one of
them has saved is that of all: any number may go on from it. Where a loss compares the rows of a
batch with each other, their vectors are gathered, and every process has the whole loss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from ragformer.errors import InputError
from ragformer.train.loop import MuonAdamW, update

T = TypeVar("T")
Rows = TypeVar("Rows", list[Any], Tensor)


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

    def share(self, rows: Rows) -> Rows:
        """This process's rows of a batch."""
        return rows[self.rank :: self.n]

    def part(self, loss: Tensor, n_rows: int, n_all: int) -> Tensor:
        """A mean over n_rows rows as its part of the mean over n_all."""
        return loss if self.n == 1 else loss * (n_rows / n_all)

    def embed(self, embed: Callable[[list[T]], Tensor], rows: list[T]) -> Tensor:
        """The vectors of all rows [N, D], each embedded by the process whose share it is in.

        Gradients go back through it, for a loss that every process takes of all of them and
        gives to `update` as its `part(loss, 1, n)`.
        """
        if self.n == 1:
            return embed(rows)
        share = self.share(rows)
        own_MD = embed(share or rows[:1])[: len(share)]
        vectors_ND: Tensor = _Gathered.apply(own_MD, len(rows), self)  # type: ignore[no-untyped-call]
        return vectors_ND

    def agreed(self, value: T) -> T:
        """The first process's value: clocks differ, and all must stop at one step."""
        if self.n == 1:
            return value
        told = [value]
        dist.broadcast_object_list(told, src=0)
        return told[0]

    def update(self, part: Tensor, model: nn.Module, optimizer: MuonAdamW, rate: float) -> float:
        """`update` by the sum of all processes' gradients; returns the sum of their parts."""
        loss = part.clone()
        if self.n > 1:
            whole = [p for p in model.parameters() if not isinstance(p, DTensor)]  # see parts.py
            _sum_gradients([p for p in whole if p.requires_grad])
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


class _Gathered(torch.autograd.Function):
    """Each process's rows -> the rows of all, in the order of the batch they were shared from."""

    @staticmethod
    def forward(ctx: Any, own_MD: Tensor, n_rows: int, spread: Spread) -> Tensor:
        ctx.spread = spread
        padded_MD = F.pad(own_MD, (0, 0, 0, -(-n_rows // spread.n) - len(own_MD)))
        every = [torch.empty_like(padded_MD) for _ in range(spread.n)]
        dist.all_gather(every, padded_MD)
        return torch.stack(every, 1).flatten(0, 1)[:n_rows]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        # All processes took the same loss, and each an nth of it: what the others would send for
        # these rows is what is here.
        return grads[0][ctx.spread.rank :: ctx.spread.n] * ctx.spread.n, None, None


def _sum_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Sum over all processes; a parameter that none has used keeps no gradient."""
    if not parameters:
        return
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
