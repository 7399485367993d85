"""Drawing what a lesson shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ragformer.errors import NotFoundError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def canvas(rows: int = 1, columns: int = 1, size: tuple[float, float] = (8, 4)) -> tuple[Any, Any]:
    """A matplotlib Figure of `size` inches, and its axes: one, or a list of them row by row.

    Raises NotFoundError without matplotlib; draw first what a lesson can draw before it trains.
    """
    need("matplotlib")
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten().tolist()
    return figure, axes[0] if rows * columns == 1 else axes


def need(package: str) -> None:
    """Raises NotFoundError where a package of the extra `lessons` is missing."""
    from importlib.util import find_spec

    if find_spec(package) is None:
        raise NotFoundError(f"this lesson needs {package}; pip install 'ragformer[lessons]'")


def save(figure: Figure, path: Path) -> Path:
    """Write a PNG and return its path."""
    figure.savefig(path, dpi=120)
    return path


def draw_weights(
    axes: Any, weights_TS: Tensor, rows: Sequence[str], columns: Sequence[str], title: str = ""
) -> None:
    """An attention matrix: a row for each that looks, a column for each looked at."""
    axes.imshow(weights_TS.detach().numpy(), cmap="Blues", vmin=0, aspect="auto")
    axes.set_xticks(range(len(columns)), columns, rotation=90 if max(map(len, columns)) > 1 else 0)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0, labelsize="small")
    axes.set_title(title, fontsize="medium")


def draw_lines(axes: Any, lines: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> None:
    """Labelled curves, each of x and y values, on a light grid with a legend."""
    for label, (x, y) in lines.items():
        axes.plot(x, y, marker="." if len(x) < 40 else "", label=label)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
