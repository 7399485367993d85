"""Drawing what a lesson shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ragformer.answer.cite import line_boxes, part_spans, place_of
from ragformer.errors import NotFoundError
from ragformer.pdf.render import render_page
from ragformer.types import Passage

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ragformer.store.store import Store


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


def draw_passage(
    axes: Any,
    store: Store,
    passage: Passage,
    share_of: Callable[[int, int], float],
    start: int,
    end: int,
) -> None:
    """The piece of the PDF's page on which start..end of the passage stands, framed.

    share_of: how much a word of the passage has of something, by its characters; the more, the
    darker it is.
    """
    from matplotlib.image import imread
    from matplotlib.patches import Rectangle

    place = place_of(passage, start, end)
    page = store.page(passage.document.id, place.page)
    drawn = render_page(passage.document.path, page.number)
    pixels = imread(BytesIO(drawn.png))
    high, wide = (n * drawn.pixel for n in pixels.shape[:2])
    axes.imshow(pixels, extent=(0, wide, high, 0))
    shares = {
        word.box: share_of(word.start - span.start + low, word.end - span.start + low)
        for low, _, span in part_spans(passage)
        for word in page.words
        if span.page == page.number and span.start <= word.start and word.end <= span.end
    }
    most = max(shares.values())
    for (x0, y0, x1, y1), share in shares.items():
        size, deep = (x1 - x0, y1 - y0), 0.7 * share / most
        axes.add_patch(Rectangle((x0, y0), *size, color="tab:blue", alpha=deep, linewidth=0))
    for x0, y0, x1, y1 in line_boxes(page, place.start, place.end):
        axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, color="tab:red"))
    lefts, tops, rights, bottoms = zip(*shares, strict=True)
    axes.set(xlim=(min(lefts) - 10, max(rights) + 10), ylim=(max(bottoms) + 10, min(tops) - 10))
    axes.set(xticks=[], yticks=[])


def draw_lines(axes: Any, lines: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> None:
    """Labelled curves, each of x and y values, on a light grid with a legend."""
    for label, (x, y) in lines.items():
        axes.plot(x, y, marker="." if len(x) < 40 else "", label=label)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
