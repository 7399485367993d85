"""Where to compute, and how fast that is at the two things everything else is made of."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from functools import cache

import torch

Clock = Callable[[], float]
"""Seconds, of which only differences count."""


def pick_device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast_dtype(device: torch.device) -> torch.dtype | None:
    """What matrix products on it are being cast to; None outside autocast."""
    if not torch.is_autocast_enabled(device.type):
        return None
    return torch.get_autocast_dtype(device.type)


_deciding = threading.Lock()


def bf16_is_faster() -> bool:
    """Whether this CPU multiplies bfloat16 matrices clearly faster than float32: measured when it
    is first asked, and then the same for every thread of the process."""
    with _deciding:
        return _bf16_is_faster()


@cache
def _bf16_is_faster() -> bool:
    return bf16_wins()


def bf16_wins(size: int = 512, clock: Clock = time.perf_counter) -> bool:
    """Products of both types by turns (about 15 ms), since no flag says it on every system. The
    best of six counts: other work holds up one or two, and the first finds nothing warm."""
    best = {torch.float32: math.inf, torch.bfloat16: math.inf}
    for _ in range(6):
        for dtype in best:
            a = torch.ones(size, size, dtype=dtype)
            start = clock()
            a @ a
            best[dtype] = min(best[dtype], clock() - start)
    return best[torch.bfloat16] < 0.7 * best[torch.float32]


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
