"""How fast this machine does it: bench."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ragformer.config import WRITER_DTYPES
from ragformer_cli.terminal import json_option, path_type, say, say_json, seed_option


@click.group()
def bench() -> None:
    """Measure how fast this machine does it.

    \b
    Examples:
      ragformer bench index ~/papers
      ragformer bench rerun
      ragformer bench cluster
      ragformer bench read ~/papers
      ragformer bench embed squad-dev.jsonl.xz
      ragformer bench query squad-dev.jsonl.xz
      ragformer bench decode squad-dev.jsonl.xz
      ragformer bench ask squad-dev.jsonl.xz --limit 1 --repeats 50
    """


@bench.command("index")
@click.argument("folder", type=path_type, metavar="DIR")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N files.")
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True)
@json_option
def bench_index(folder: Path, limit: int | None, repeats: int, as_json: bool) -> None:
    """Pages and chunks a second, and each stage's share."""
    from ragformer.bench.index import run

    _say_figures(run(folder, limit, repeats), as_json)


@bench.command("read")
@click.argument("folder", type=path_type, metavar="DIR")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N files.")
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True)
@json_option
def bench_read(folder: Path, limit: int | None, repeats: int, as_json: bool) -> None:
    """Pages a second of parsing alone, beside pypdf's extract_text, on one core."""
    from ragformer.bench.read import run

    _say_figures(run(folder, limit, repeats), as_json)


@bench.command("rerun")
@click.option("--files", type=click.IntRange(1), default=1000, show_default=True, metavar="N")
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True)
@json_option
def bench_rerun(files: int, repeats: int, as_json: bool) -> None:
    """Seconds to index a folder again: unchanged, and with one file edited. It makes the files."""
    from ragformer.bench.rerun import run

    _say_figures(run(files, repeats), as_json)


@bench.command("cluster")
@click.option("--files", type=click.IntRange(1), default=1000, show_default=True, metavar="N")
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True)
@json_option
def bench_cluster(files: int, repeats: int, as_json: bool) -> None:
    """What --engine ray costs on this machine, beside indexing without it. It makes the files."""
    from ragformer.bench.cluster import run

    _say_figures(run(files, repeats), as_json)


@bench.command("embed")
@click.argument("path", type=path_type, metavar="DIR|FILE")
@click.option("--peer", type=path_type, metavar="DIR", help="Time a sentence-transformers too.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only N paragraphs.")
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True)
@seed_option
@json_option
def bench_embed(
    path: Path, peer: Path | None, limit: int | None, repeats: int, seed: int, as_json: bool
) -> None:
    """Paragraphs and tokens a second that the encoder embeds.

    --peer runs the package sentence-transformers (pip install 'ragformer[bench]') on the same
    texts in turns with it; times_peer is how many times as fast the encoder is.
    """
    from ragformer.bench.embed import run

    _say_figures(run(path, limit, repeats, seed, peer=peer), as_json)


@bench.command("query")
@click.argument("path", type=path_type, metavar="DIR|FILE")
@click.option(
    "--chunks",
    type=click.IntRange(1),
    multiple=True,
    default=[100_000],
    show_default="100000",
    metavar="N",
    help="How many to search in. Repeatable: the store grows from one to the next.",
)
@click.option("--limit", type=click.IntRange(1), default=200, show_default=True, metavar="N")
@click.option("--text", type=path_type, metavar="DIR|FILE", help="Make the chunks of this text.")
@click.option(
    "--real",
    type=click.IntRange(1),
    default=100_000,
    show_default=True,
    metavar="N",
    help="Embed so many chunks of --text; the others are noisy copies.",
)
@click.option(
    "--saved", type=path_type, metavar="DIR", help="Keep what --text embeds for next time."
)
@click.option("--plot", type=path_type, metavar="FILE", help="Draw how the cost grows, as a PNG.")
@seed_option
@json_option
def bench_query(
    path: Path,
    chunks: tuple[int, ...],
    limit: int,
    text: Path | None,
    real: int,
    saved: Path | None,
    plot: Path | None,
    seed: int,
    as_json: bool,
) -> None:
    """Milliseconds a search takes, stage by stage, and recall@10 of the vectors against flat.

    Chunks are texts of the file, and of as many as are missing noisy copies. --text (needs --saved)
    takes documents in their place: JSON Lines, plain or .xz, of {"title", "sections": [{"heading",
    "text"}]}. Up to 50 million numbers of vectors the search is flat.
    """
    from ragformer.bench.growth import draw_growth, need_matplotlib
    from ragformer.bench.query import RealText, run

    if (text is None) != (saved is None):
        raise click.UsageError("--text and --saved go together")
    if plot is not None:
        need_matplotlib()
    real_text = RealText(text, real, saved) if text and saved else None
    figures = run(path, chunks, limit, seed, real=real_text)
    if plot is not None:
        draw_growth(figures["sizes"], plot)
    _say_figures(figures, as_json)


@bench.command("ask")
@click.argument("path", type=path_type, metavar="FILE")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, metavar="N")
@click.option("--repeats", type=click.IntRange(1), default=1, show_default=True)
@seed_option
@json_option
def bench_ask(path: Path, limit: int, repeats: int, seed: int, as_json: bool) -> None:
    """Seconds from a question to its first words and its last; whether answers stay the same.

    The sources of the reading file are the collection. It also counts the quotes that re-read.
    """
    from ragformer.bench.ask import run

    _say_figures(run(path, limit, repeats, seed), as_json)


@bench.command("decode")
@click.argument("path", type=path_type, metavar="[FILE]", required=False)
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, metavar="N")
@click.option(
    "--dtype",
    "forms",
    type=click.Choice(WRITER_DTYPES[1:]),  # all but "auto"
    multiple=True,
    help="What the weights are in. Repeatable.  [default: all that the device has]",
)
@click.option("--shape", type=click.Choice(["qwen2-0.5b"]), help="Random weights of this shape.")
@click.option("--peer", type=click.Choice(["transformers"]), help="Run the same weights there too.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--prompt", type=click.IntRange(2), metavar="N", help="Tokens read.")
@click.option("--new", type=click.IntRange(2), default=32, show_default=True, help="Written.")
@click.option(
    "--batch", "batches", type=click.IntRange(1), multiple=True, default=[1, 8, 64], metavar="N"
)
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True)
@click.option("--answers", type=click.IntRange(0), default=20, show_default=True, metavar="N")
@seed_option
@json_option
def bench_decode(
    path: Path | None,
    limit: int,
    forms: tuple[str, ...],
    shape: str | None,
    peer: str | None,
    device: str,
    prompt: int | None,
    new: int,
    batches: tuple[int, ...],
    repeats: int,
    answers: int,
    seed: int,
    as_json: bool,
) -> None:
    """Tokens a second when reading a prompt and writing, for each dtype of the weights.

    With shares of the device's own peaks, measured in the same run. On a CPU, shares and times of
    another dtype count this process's seconds of all processors. A reading FILE adds what each
    dtype loses on its texts, what guessing from the prompt gains on --answers N of its answers,
    and --limit N whole questions.
    """
    import torch

    from ragformer.bench import decode, runtime
    from ragformer.bench.machine import machine
    from ragformer.bench.peer import transformers_sides

    where = torch.device(device)
    chosen = forms or runtime.FORMS_ON[device]
    work = runtime.Work(prompt, new, batches, repeats)
    sides = transformers_sides if peer else None
    figures: dict[str, Any] = {"suite": "decode", "machine": machine()}
    if path is not None:
        figures = decode.run(path, limit, seed)
    figures["runtime"] = runtime.run(shape, chosen, sides, work, where)
    if path is not None:
        lost = decode.losses(path, chosen, shape, answers, seed=seed, device=where)
        for form, values in lost.items():
            figures["runtime"]["sides"][form] |= values
    if as_json:
        say_json(figures)
        return
    table = figures["runtime"].pop("sides")
    _say_figures(figures, False)
    _say_table(table)


def _say_table(sides: dict[str, dict[str, Any]]) -> None:
    """A line for each figure that any side has, a column for each side; medians."""
    columns = {side: dict(_flat(_medians(values))) for side, values in sides.items()}
    names = list(dict.fromkeys(name for column in columns.values() for name in column))
    width = max(map(len, names))
    say(" ".join([" " * width, *(f"{side:>21}" for side in columns)]))
    for name in names:
        cells = (column.get(name, "") for column in columns.values())
        told = (f"{cell:>21.4g}" if isinstance(cell, float) else f"{cell:>21}" for cell in cells)
        say(" ".join([f"{name:<{width}}", *told]))


def _medians(values: dict[str, Any]) -> dict[str, Any]:
    """Nested figures, a median in place of itself and its spread."""
    if "median" in values:
        return {"": values["median"]}
    return {
        name: _medians(value) if isinstance(value, dict) else value
        for name, value in values.items()
    }


@bench.command("cost")
@click.option(
    "--set", "pairs", multiple=True, metavar="NAME=NUMBER", help="In place of one assumed."
)
@json_option
def bench_cost(pairs: tuple[str, ...], as_json: bool) -> None:
    """Hours and money for 1, 10 and 100 million pages on a cluster, and all that is assumed.

    \b
    Example:
      ragformer bench cost --set pages_per_core_s=20 --set core_hour=0.03
    """
    from ragformer.bench.cost import run

    given = {}
    for pair in pairs:
        name, _, number = pair.partition("=")
        try:
            given[name] = float(number)
        except ValueError:
            raise click.UsageError(f"--set takes NAME=NUMBER, not {pair}") from None
    _say_figures(run(given), as_json)


def _say_figures(figures: dict[str, Any], as_json: bool) -> None:
    if as_json:
        say_json(figures)
        return
    for name, value in _flat(figures):
        say(f"{name}: {value:.4g}" if isinstance(value, float) else f"{name}: {value}")


def _flat(values: dict[str, Any], front: str = "") -> list[tuple[str, Any]]:
    """Nested figures as ("outer inner", value) pairs."""
    pairs: list[tuple[str, Any]] = []
    for name, value in values.items():
        label = f"{front}{name}".rstrip()
        pairs += _flat(value, f"{label} ") if isinstance(value, dict) else [(label, value)]
    return pairs


COMMANDS: tuple[click.Command, ...] = (bench,)
