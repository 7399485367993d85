"""Where to compute, and how fast that is at the two things everything else is made of."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch

Clock = Callable[[], float]
"""Seconds, of which only differences count."""


def pick_device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def matmul_peak(
    device: torch.device,
    size: int = 2048,
    times: int = 12,
    dtype: torch.dtype = torch.bfloat16,
    clock: Clock = time.perf_counter,
) -> float:
    """FLOP/s of the quickest of some square matrix products: what this machine can do."""
    a = torch.randn(size, size, device=device, dtype=dtype)
    return 2 * size**3 / _quickest(lambda: a @ a, device, times, clock)


def copy_bandwidth(
    device: torch.device, n_bytes: int = 2**28, times: int = 8, clock: Clock = time.perf_counter
) -> float:
    """Bytes/s, read and written both counted, of the quickest of some copies."""
    source = torch.zeros(n_bytes, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * n_bytes / _quickest(lambda: target.copy_(source), device, times, clock)


def _quickest(work: Callable[[], object], device: torch.device, times: int, clock: Clock) -> float:
    best = math.inf
    for _ in range(times):
        synchronize(device)
        start = clock()
        work()
        synchronize(device)
        best = min(best, clock() - start)
    return best


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has done what it was given; a clock read before that tells nothing."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
