"""What does the Ray engine cost on one machine, beside indexing without it?

    small PDFs, made here -> in turns: one store, shards on a Ray that is running -> seconds

Both sides are warm: what loads once a process is loaded by a few other files of the same
collection before the clock starts.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ragformer.bench.machine import machine, median_of, tree_seconds
from ragformer.bench.rerun import write_pdfs
from ragformer.library import open_library
from ragformer.types import OnRay, Report

SIDES: dict[str, OnRay | None] = {"one store": None, "ray": OnRay("local")}
WARM_FILES = 16  # that every shard has some


def run(n_files: int = 1000, repeats: int = 3) -> dict[str, Any]:
    """Index `n_files` made-up PDFs on both sides, `repeats` times in turns.

    Seconds are wall time of the index run, the walk included; processor_seconds are of this
    process and all below it. overhead: how much more the median of "ray" is, as a share.
    """
    taken: dict[str, list[tuple[float, float]]] = {side: [] for side in SIDES}
    with TemporaryDirectory(prefix="ragformer-bench-") as name:
        docs, warm = Path(name) / "docs", Path(name) / "warm"
        write_pdfs(docs, range(n_files))
        write_pdfs(warm, range(n_files, n_files + WARM_FILES))
        for repeat in range(repeats):
            for side, on_ray in SIDES.items():
                home = Path(name) / f"{side}-{repeat}"
                taken[side].append(_index(docs, warm, home, on_ray, n_files))
    sides = {side: _figures(seconds) for side, seconds in taken.items()}
    one, ray = (sides[side] for side in SIDES)
    return {
        "suite": "cluster",
        "machine": machine(),
        "files": n_files,
        "repeats": repeats,
        **sides,
        "overhead": {name: ray[name]["median"] / one[name]["median"] - 1 for name in one},
    }


def _index(
    docs: Path, warm: Path, home: Path, on_ray: OnRay | None, n_files: int
) -> tuple[float, float]:
    """Wall and processor seconds."""
    with open_library(home=home) as library:
        list(library.index([warm], on_ray=on_ray))
        start, start_all = time.perf_counter(), tree_seconds()
        *_, report = library.index([docs], on_ray=on_ray)
        taken = time.perf_counter() - start, tree_seconds() - start_all
    assert isinstance(report, Report)
    assert [outcome.status for outcome in report.files] == ["added"] * n_files
    return taken


def _figures(runs: Sequence[tuple[float, float]]) -> dict[str, Any]:
    walls, processors = zip(*runs, strict=True)
    return {"seconds": median_of(walls), "processor_seconds": median_of(processors)}
