"""What a figure was measured on, and how figures that vary are told."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np


def machine() -> dict[str, str | int]:
    """The processor, its cores, torch's version, threads and device."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count() or 1,
        "device": device,
        "system": platform.system(),
        "torch": torch.__version__,
        "torch_threads": torch.get_num_threads(),
    }


def _cpu_name(table: Path = Path("/proc/cpuinfo")) -> str:
    """The model name where Linux tells it, else what Python knows."""
    if table.is_file():
        for line in table.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def median_of(values: Sequence[float]) -> dict[str, float]:
    """The median, and the least and greatest as its spread."""
    return {"median": float(np.median(values)), "low": min(values), "high": max(values)}


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50 and p95."""
    p50, p95 = np.quantile(values, [0.5, 0.95])
    return {"p50": float(p50), "p95": float(p95)}


def resident_bytes(table: Path = Path("/proc/self/statm")) -> int:
    """Memory this process has at the moment, mapped files included; 0 where Linux does not tell."""
    if not table.is_file():
        return 0
    return int(table.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def tree_seconds(processes: Path = Path("/proc")) -> float:
    """Processor time of this process, of those below it, and of what they have waited for; nan
    where Linux does not tell."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for file in processes.glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            fields = file.read_text("utf-8", "replace").rpartition(")")[2].split()
            process = int(file.parent.name)
            parents[process], ticks[process] = int(fields[1]), sum(map(int, fields[11:15]))
    ours, last = {os.getpid()}, set[int]()
    while ours != last:
        last, ours = ours, ours | {p for p, parent in parents.items() if parent in ours}
    if os.getpid() not in ticks:
        return math.nan
    return sum(ticks.get(process, 0) for process in ours) / os.sysconf("SC_CLK_TCK")


def peak_bytes() -> int:
    """The most memory this process ever had; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
