"""How fast this machine does it: bench."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ragformer_cli.terminal import json_option, path_type, say, say_json, seed_option


@click.group()
def bench() -> None:
    """Measure how fast this machine does it.

    \b
    Examples:
      ragformer bench index ~/papers
      ragformer bench rerun
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
@click.argument("path", type=path_type, metavar="FILE")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, metavar="N")
@seed_option
@json_option
def bench_decode(path: Path, limit: int, seed: int, as_json: bool) -> None:
    """Tokens a second when reading a prompt, writing, and answering."""
    from ragformer.bench.decode import run

    _say_figures(run(path, limit, seed), as_json)


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
        label = f"{front}{name}"
        pairs += _flat(value, f"{label} ") if isinstance(value, dict) else [(label, value)]
    return pairs


COMMANDS: tuple[click.Command, ...] = (bench,)
