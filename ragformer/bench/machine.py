"""What a figure was measured on, and how figures that vary are told."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
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


def peak_bytes() -> int:
    """The most memory this process ever had; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
