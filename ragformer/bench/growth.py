"""How the cost of a search grows with the collection, drawn from what `bench query` measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ragformer.errors import NotFoundError


def need_matplotlib() -> None:
    """Raises NotFoundError where nothing can be drawn: better before an hour's run than after."""
    try:
        import matplotlib.figure  # noqa: F401 (only whether it is there)
    except ImportError as error:
        raise NotFoundError("matplotlib is missing; pip install 'ragformer[train]'") from error


def draw_growth(sizes: Mapping[str, Mapping[str, Any]], picture: Path) -> None:
    """A PNG: left the milliseconds of each stage (median), right the megabytes on disk.

    sizes: "sizes" of `bench.query.run`. A stage under 0.01 ms is not shown.
    """
    need_matplotlib()
    from matplotlib.figure import Figure

    counts = sorted(map(int, sizes))
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, values in _times(sizes, counts).items():
        left.plot(counts, values, marker=".", linestyle="--" if "flat" in name else "-", label=name)
    for name, values in _megabytes(sizes, counts).items():
        right.plot(counts, values, marker=".", label=name)
    for axes, unit in ((left, "ms, median"), (right, "MB on disk")):
        axes.set(xscale="log", yscale="log", xlabel="chunks", ylabel=unit)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    figure.savefig(picture, dpi=100)


def _times(sizes: Mapping[str, Mapping[str, Any]], counts: list[int]) -> dict[str, list[float]]:
    """Medians by stage, with `found` (all but the rerank) and the flat search beside ours."""
    rows = [sizes[str(n)] for n in counts]
    stages = ("words", "vectors", "fuse", "found", "all")
    times = {name: [row["milliseconds"][name]["p50"] for row in rows] for name in stages}
    times["vectors, flat"] = [row["flat_milliseconds"]["p50"] for row in rows]
    return {name: [max(value, 0.01) for value in values] for name, values in times.items()}


def _megabytes(sizes: Mapping[str, Mapping[str, Any]], counts: list[int]) -> dict[str, list[float]]:
    """By file; one that a size does not have leaves a gap."""
    names = sorted({name for row in sizes.values() for name in row["megabytes_on_disk"]})
    gap = float("nan")
    return {
        name: [sizes[str(n)]["megabytes_on_disk"].get(name, gap) for n in counts] for name in names
    }
