"""What every recipe shares: the machine, the schedule, the log, and stopping and resuming."""

from __future__ import annotations

import csv
import ctypes
import math
import pickle
import platform
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ragformer.errors import DivergedError, InputError
from ragformer.nn.checkpoint import sync
from ragformer.nn.device import matmul_peak

T = TypeVar("T")

TILE = 32
"""Lengths are padded to a multiple: bfloat16 kernels are up to twice as fast on whole tiles."""


@contextmanager
def bf16(device: torch.device) -> Iterator[None]:
    """Matrix products in bfloat16, weights and sums in float32."""
    with torch.autocast(device.type, dtype=torch.bfloat16):
        yield


_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def reuse_memory() -> None:
    """Keep freed memory for the next step, on glibc: a CPU step is a tenth quicker.

    It would give large tensors back to the system, and each step pay for fresh pages.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def learning_rate(progress: float, peak: float, warmup: float = 0.05, decay: float = 0.4) -> float:
    """Warm up, stay, then fall straight to a fiftieth of the peak (warmup-stable-decay).

    progress: 0 to 1, the share of the budget used. Source: Hu et al. 2024, arXiv:2404.06395.
    """
    if progress < warmup:
        return peak * max(progress, 1e-3) / warmup
    if progress > 1 - decay:
        return peak * (0.02 + 0.98 * max(0.0, 1 - progress) / decay)
    return peak


class MuonAdamW:
    """Muon for the blocks' matrices, AdamW for tables, heads and vectors, with one rate.

    Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; scaled so
    that both take AdamW's rate (Liu et al. 2025, arXiv:2502.16982, section 2.2).
    """

    def __init__(self, model: nn.Module, peak: float, weight_decay: float) -> None:
        named = list(model.named_parameters())
        blocks = [p for name, p in named if p.dim() == 2 and "blocks." in name]
        others = [p for name, p in named if p.dim() == 2 and "blocks." not in name]
        vectors = [p for _, p in named if p.dim() != 2]
        groups = [
            {"params": others, "weight_decay": weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        self.parts: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(groups, lr=peak, betas=(0.9, 0.98), fused=True)
        ]
        if blocks:
            muon = torch.optim.Muon(
                blocks, lr=peak, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
            )
            self.parts.append(muon)

    def step(self, rate: float) -> None:
        """Update every weight at learning rate `rate` and forget the gradients."""
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = rate
            part.step()
            part.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict[str, Any]]:
        """What `load_state_dict` goes on from."""
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """Take over `states` of the same model."""
        for part, state in zip(self.parts, states, strict=True):
            part.load_state_dict(state)


@dataclass
class Budget:
    """When to stop: after `minutes` of work or `steps`, whichever is first; survives a restart."""

    minutes: float
    steps: int
    step: int = 0
    spent: float = 0.0
    _since: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Worked so far, before a restart too."""
        return self.spent + time.monotonic() - self._since

    @property
    def progress(self) -> float:
        """The share used of minutes or steps, whichever is larger: 0 to 1."""
        if self.minutes <= 0 or self.steps <= 0:
            return 1.0
        return min(1.0, max(self.seconds / (60 * self.minutes), self.step / self.steps))

    @property
    def done(self) -> bool:
        return self.progress >= 1.0


def train_step(loss: Tensor, model: nn.Module, optimizer: MuonAdamW, rate: float) -> float:
    """One backward pass and update; returns the loss."""
    return update(backward(loss), model, optimizer, rate)


def backward(loss: Tensor) -> Tensor:
    """Leave the gradients of a loss in the weights; returns it without its graph."""
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach()


def update(loss: Tensor, model: nn.Module, optimizer: MuonAdamW, rate: float) -> float:
    """Update by the gradients there are, clipped to norm 1; returns the loss they are of.

    Raises DivergedError where that is not finite; the weights have then been updated.
    """
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step(rate)
    value = float(loss)
    if not math.isfinite(value):
        raise DivergedError(
            f"the loss is {value}: the weights are spoiled; start again with a lower learning rate"
        )
    return value


def cached_backward(
    loss_of: Callable[[Tensor], Tensor],
    embed: Callable[[list[T]], Tensor],
    chunks: Sequence[list[T]],
) -> Tensor:
    """Backward through more texts than memory holds at once, chunk by chunk; returns the loss.

    The loss needs every vector, its gradient only the text's own chunk: embed without gradients,
    take the loss's gradient by each vector, then embed each chunk again and go on from there.
    Source: Gao et al. 2021, arXiv:2101.06983.
    """
    with torch.no_grad():
        vectors_ND = torch.cat([embed(chunk) for chunk in chunks])
    vectors_ND.requires_grad_()
    loss = backward(loss_of(vectors_ND))
    assert vectors_ND.grad is not None
    sizes = [len(chunk) for chunk in chunks]
    for chunk, grad_ND in zip(chunks, torch.split(vectors_ND.grad, sizes), strict=True):
        embed(chunk).backward(grad_ND)  # type: ignore[no-untyped-call]
    return loss


@dataclass(frozen=True, slots=True)
class Loss:
    """How far a fit is: the mean loss since the last such line."""

    label: str
    step: int
    steps: int
    value: float

    def __str__(self) -> str:
        return f"{self.label} step {self.step} of {self.steps}  loss {self.value:.3f}".strip()


def fit(
    model: nn.Module, loss_of: Callable[[], Tensor], steps: int, rate: float, label: str = ""
) -> Iterator[Loss]:
    """Train `model` on what `loss_of` gives for a batch it draws; says twenty times how it goes.

    rate: at its peak (`learning_rate`).
    """
    optimizer = MuonAdamW(model, rate, weight_decay=0.01)
    losses: list[float] = []
    for step in range(1, steps + 1):
        now = learning_rate((step - 1) / steps, rate)
        losses.append(train_step(loss_of(), model, optimizer, now))
        if step == steps or step % max(1, steps // 20) == 0:
            yield Loss(label, step, steps, sum(losses) / len(losses))
            losses.clear()


class Log:
    """A CSV of the run, a line every `every` steps."""

    def __init__(self, path: Path, model: nn.Module, device: torch.device, every: int = 10) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.every = path, every
        self.peak = matmul_peak(device)
        embeddings = sum(m.weight.numel() for m in model.modules() if isinstance(m, nn.Embedding))
        self.matrix_parameters = sum(p.numel() for p in model.parameters()) - embeddings
        self.losses: list[float] = []
        self.tokens, self._since = 0, time.monotonic()

    def add(self, stage: str, budget: Budget, loss: float, tokens: int, rate: float) -> str | None:
        """Count a step; every so often write a line and return it.

        share: 6 FLOP a token and matrix parameter (forward and backward), over the machine's
        measured bfloat16 peak; attention and embeddings are left out, so it errs low.
        """
        self.tokens += tokens
        self.losses.append(loss)
        if budget.step % self.every:
            return None
        speed = self.tokens / (time.monotonic() - self._since)
        row: dict[str, Any] = {
            "stage": stage,
            "step": budget.step,
            "minutes": round(budget.seconds / 60, 2),
            "loss": round(sum(self.losses) / len(self.losses), 4),
            "tokens_per_s": round(speed),
            "peak_share": round(6 * self.matrix_parameters * speed / self.peak, 3),
            "rate": f"{rate:.2e}",
        }
        self.tokens, self._since = 0, time.monotonic()
        self.losses.clear()
        return write_row(self.path, row)


def write_row(path: Path, row: dict[str, Any]) -> str:
    """Add a row to a CSV file, under a header where it is the first; returns it as a line."""
    fresh = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row))
        if fresh:
            writer.writeheader()
        writer.writerow(row)
    return "  ".join(f"{key} {value}" for key, value in row.items())


def save_state(
    path: Path,
    model: nn.Module,
    optimizer: MuonAdamW,
    budget: Budget,
    average: Averager | None = None,
) -> None:
    """Everything needed to go on, complete before it takes its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".partial")
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "step": budget.step,
        "seconds": budget.seconds,
        "average": average.average if average else {},
    }
    torch.save(state, scratch)
    sync(scratch)
    scratch.replace(path)


def load_state(
    path: Path,
    model: nn.Module,
    optimizer: MuonAdamW,
    budget: Budget,
    average: Averager | None = None,
) -> bool:
    """Go on from `path` if it is there; says whether it was."""
    if not path.is_file():
        return False
    try:
        state = torch.load(path, map_location=next(model.parameters()).device, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        budget.step, budget.spent = state["step"], state["seconds"]
        if average is not None:
            average.average = state["average"]
    except (
        RuntimeError,
        ValueError,
        LookupError,
        TypeError,
        EOFError,
        pickle.UnpicklingError,
    ) as error:
        fault = str(error).partition("\n")[0]
        raise InputError(
            f"{path} is no training state of these sizes: {fault}; delete it to start anew"
        ) from error
    return True


def prefetched(items: Iterator[T], depth: int = 4) -> Iterator[T]:
    """The same items, made in a thread a few ahead: data is prepared while matrices multiply."""
    with ThreadPoolExecutor(max_workers=1) as worker:
        waiting = deque(worker.submit(next, items) for _ in range(depth))
        while True:
            try:
                item = waiting.popleft().result()
            except StopIteration:
                return
            waiting.append(worker.submit(next, items))
            yield item


class Averager:
    """An exponential moving average of the weights, which generalises better than the last ones.

    Source: Polyak & Juditsky 1992; Izmailov et al. 2018, arXiv:1803.05407.
    """

    def __init__(self, model: nn.Module, decay: float = 0.995) -> None:
        self.decay = decay
        self.average = {name: p.detach().clone() for name, p in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Count in the model's weights as they are now."""
        for name, parameter in model.named_parameters():
            self.average[name].lerp_(parameter.detach(), 1 - self.decay)

    @torch.no_grad()
    def copy_to(self, model: nn.Module) -> None:
        """Give the model the average."""
        for name, parameter in model.named_parameters():
            parameter.copy_(self.average[name])

    @contextmanager
    def in_place_of(self, model: nn.Module) -> Iterator[None]:
        """The model has the averaged weights meanwhile, and its own again after."""
        own = {name: p.detach().clone() for name, p in model.named_parameters()}
        self.copy_to(model)
        try:
            yield
        finally:
            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    parameter.copy_(own[name])
