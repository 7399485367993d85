"""How good and how fast: eval and bench."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ragformer_cli.terminal import Command, json_option, say, say_json

_path = click.Path(path_type=Path)


def _limit_option(command: Command) -> Command:
    help_text = "Measure only so many questions.  [default: all]"
    return click.option("--limit", type=click.IntRange(1), metavar="N", help=help_text)(command)


def _seed_option(command: Command) -> Command:
    help_text = "Which questions a limit picks."
    return click.option("--seed", default=0, metavar="S", help=help_text)(command)


@click.group("eval")
def evaluate() -> None:
    """Measure how good the answers are, with 95 % intervals.

    \b
    Examples:
      ragformer eval retrieval squad-dev.jsonl.xz --limit 2000
      ragformer eval reading squad-dev.jsonl.xz --json
      ragformer eval pdfqa pdfqa-dev
    """


@evaluate.command()
@click.argument("path", required=False, type=_path, metavar="[DIR|FILE]")
@click.option("--reqa", type=_path, metavar="FILE", help="ReQA questions, with --corpus.")
@click.option("--corpus", type=_path, metavar="FILE", help="The corpus of --reqa.")
@click.option("--peer", type=_path, metavar="DIR", help="Measure a sentence-transformers too.")
@_limit_option
@_seed_option
@json_option
def retrieval(
    path: Path | None,
    reqa: Path | None,
    corpus: Path | None,
    peer: Path | None,
    limit: int | None,
    seed: int,
    as_json: bool,
) -> None:
    """Is the right passage found? A retrieval folder, or a reading file."""
    from ragformer.eval.retrieval import run

    if (path is None) == (reqa is None) or (reqa is None) != (corpus is None):
        raise click.UsageError("give DIR or FILE, or both --reqa and --corpus")
    result = run(path or reqa, corpus, limit, seed, peer=peer)  # type: ignore[arg-type]
    _say_result(result, as_json)


@evaluate.command()
@click.argument("path", type=_path, metavar="FILE")
@_limit_option
@_seed_option
@json_option
def reading(path: Path, limit: int | None, seed: int, as_json: bool) -> None:
    """Is the answer read off the given passage right? A reading file."""
    from ragformer.eval.reading import run

    _say_result(run(path, limit, seed), as_json)


@evaluate.command()
@click.argument("folder", type=_path, metavar="DIR")
@_limit_option
@_seed_option
@json_option
def pdfqa(folder: Path, limit: int | None, seed: int, as_json: bool) -> None:
    """Are questions to a folder of PDFs answered right? pdfs/ and questions.jsonl."""
    from ragformer.eval.pdfqa import run

    _say_result(run(folder, limit, seed), as_json)


def _say_result(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        say_json(result)
        return
    models = ", ".join(f"{kind} {key}" for kind, key in result["models"].items())
    say(f"{result['suite']}: {result['n']} questions, {models}, commit {result['commit']}")
    width = max(map(len, result["metrics"]), default=0)
    for name, metric in result["metrics"].items():
        say(f"{name:{width}}  {metric['value']:.3f}  ({metric['low']:.3f} to {metric['high']:.3f})")


@click.group()
def bench() -> None:
    """Measure how fast this machine does it.

    \b
    Examples:
      ragformer bench index ~/papers
      ragformer bench query squad-dev.jsonl.xz
      ragformer bench decode squad-dev.jsonl.xz
    """


@bench.command("index")
@click.argument("folder", type=_path, metavar="DIR")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N files.")
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True)
@json_option
def bench_index(folder: Path, limit: int | None, repeats: int, as_json: bool) -> None:
    """Pages and chunks a second, and each stage's share."""
    from ragformer.bench.index import run

    _say_figures(run(folder, limit, repeats), as_json)


@bench.command("query")
@click.argument("path", type=_path, metavar="DIR|FILE")
@click.option("--chunks", type=click.IntRange(1), default=100_000, show_default=True)
@click.option("--limit", type=click.IntRange(1), default=200, show_default=True, metavar="N")
@_seed_option
@json_option
def bench_query(path: Path, chunks: int, limit: int, seed: int, as_json: bool) -> None:
    """Milliseconds a search takes, stage by stage."""
    from ragformer.bench.query import run

    _say_figures(run(path, chunks, limit, seed), as_json)


@bench.command("decode")
@click.argument("path", type=_path, metavar="FILE")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, metavar="N")
@_seed_option
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


COMMANDS: tuple[click.Command, ...] = (evaluate, bench)
