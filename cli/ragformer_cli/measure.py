"""How good the answers are: eval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from shutil import get_terminal_size
from typing import Any

import click

from ragformer_cli.terminal import Command, json_option, path_type, say, say_json, seed_option


def _limit_option(command: Command) -> Command:
    help_text = "Measure only so many questions.  [default: all]"
    return click.option("--limit", type=click.IntRange(1), metavar="N", help=help_text)(command)


@click.group("eval")
def evaluate() -> None:
    """Measure how good the answers are, with 95 % intervals.

    \b
    Examples:
      ragformer eval retrieval squad-dev.jsonl.xz --limit 2000
      ragformer eval reading squad-dev.jsonl.xz --passages 5 --json
      ragformer eval pdfqa pdfqa-dev
      ragformer eval extract truth
    """


@evaluate.command()
@click.argument("path", required=False, type=path_type, metavar="[DIR|FILE]")
@click.option("--reqa", type=path_type, metavar="FILE", help="ReQA questions, with --corpus.")
@click.option(
    "--corpus",
    "corpora",
    type=path_type,
    multiple=True,
    metavar="FILE",
    help="The corpus of --reqa; or search the passages of this reading or pairs file too."
    " Repeatable.",
)
@click.option(
    "--held-out",
    is_flag=True,
    help="Only questions that training leaves out, among at most 20,000 passages.",
)
@click.option(
    "--dims",
    type=click.IntRange(1),
    metavar="N",
    help="Measure the first N dimensions of the vectors too.",
)
@click.option("--peer", type=path_type, metavar="DIR", help="Measure a sentence-transformers too.")
@click.option("--no-rerank", is_flag=True, help="Leave the reranked out, which take longest.")
@_limit_option
@seed_option
@json_option
def retrieval(
    path: Path | None,
    reqa: Path | None,
    corpora: tuple[Path, ...],
    held_out: bool,
    dims: int | None,
    peer: Path | None,
    no_rerank: bool,
    limit: int | None,
    seed: int,
    as_json: bool,
) -> None:
    """Is the right passage found? A retrieval folder, a reading file or a pairs file.

    fused-better is fused less the better of words and vectors, question by question.
    """
    from ragformer.eval.cases import held_out_part, read_retrieval
    from ragformer.eval.retrieval import run

    source = path or reqa
    if source is None or (path and reqa) or (reqa and not corpora):
        raise click.UsageError("give DIR or FILE, or both --reqa and --corpus")
    found = read_retrieval(source, corpora)
    if held_out:
        found = held_out_part(found)
    _say_result(run(found, limit, seed, peer=peer, dims=dims, reread=not no_rerank), as_json)


@evaluate.command()
@click.argument("paths", nargs=-1, required=True, type=path_type, metavar="FILE...")
@click.option(
    "--passages",
    type=click.IntRange(1, 32),
    multiple=True,
    metavar="N",
    help="Read the question's passage among N: the others are the file's that share its words."
    " Repeatable.  [default: as in the file]",
)
@click.option("--no-gold", is_flag=True, help="Leave the right one of --passages out.")
@click.option("--held-out", is_flag=True, help="Only questions that training leaves out.")
@click.option("--decoding", type=click.Choice(["span", "free"]), default="span", show_default=True)
@_limit_option
@seed_option
@json_option
def reading(
    paths: tuple[Path, ...],
    passages: tuple[int, ...],
    no_gold: bool,
    held_out: bool,
    decoding: str,
    limit: int | None,
    seed: int,
    as_json: bool,
) -> None:
    """Is the answer read off the given passage right? Reading files; of several, a row each.

    \b
    Examples:
      ragformer eval reading squad-dev.jsonl.xz --passages 1 --passages 5 --passages 20
      ragformer eval reading data/qa/*.jsonl.xz --held-out --limit 200
    """
    from ragformer.eval.neighbours import Neighbours
    from ragformer.eval.reading import Way, run
    from ragformer.eval.reading_metrics import MEANINGS

    if no_gold and not passages:
        raise click.UsageError("--no-gold needs --passages")
    ways = [Way(Neighbours(n, not no_gold), held_out) for n in passages]
    ways = ways or [Way(held_out=held_out)]
    _say_result(run(paths, limit, seed, ways=ways, free=decoding == "free"), as_json, MEANINGS)


@evaluate.command()
@click.argument("folder", type=path_type, metavar="DIR")
@_limit_option
@seed_option
@json_option
def pdfqa(folder: Path, limit: int | None, seed: int, as_json: bool) -> None:
    """Are questions to a folder of PDFs answered right? pdfs/ and questions.jsonl."""
    from ragformer.eval.pdfqa import run

    _say_result(run(folder, limit, seed), as_json)


@evaluate.command()
@click.argument("folder", type=path_type, metavar="DIR")
@json_option
def extract(folder: Path, as_json: bool) -> None:
    """Is the text read from PDFs true? Each x.pdf in DIR against its text in x.txt.

    Beside ours, pypdf's and pypdfium2's plain text. An order error is a part of the text that
    would have to move; least-ahead is ours less the better of the two, on the worst file.
    """
    from ragformer.eval.extract import run

    result = run(folder)
    if as_json:
        say_json(result)
        return
    say(f"{result['suite']}: {result['n']} files, commit {result['commit']}")
    for name, found in [*result["files"].items(), ("all", result["all"])]:
        for reader, read in found.items():
            errors = f"{read['order_errors']:g} order errors"
            say(f"{name:28} {reader:10} {read['similarity']:.4f}  {errors}")
    say(f"least-ahead: {result['least_ahead']:+.4f}")


def _say_result(
    result: dict[str, Any], as_json: bool, meanings: Mapping[str, str] | None = None
) -> None:
    """Print a table of ways and metrics; or where there is one way, a line for each metric, with a
    few words on what it means where there are some."""
    if as_json:
        say_json(result)
        return
    models = ", ".join(f"{kind} {key}" for kind, key in result["models"].items())
    say(f"{result['suite']}: {result['n']} questions, {models}, commit {result['commit']}")
    if any("/" in name for name in result["metrics"]):
        _say_table(result["metrics"])
        return
    width = max(map(len, result["metrics"]), default=0)
    for name, metric in result["metrics"].items():
        value, low, high = (_short(metric[part]) for part in ("value", "low", "high"))
        meaning = meanings[name] if meanings else ""
        say(f"{name:{width}}  {value}  {f'({low} to {high})':16}  {meaning}".rstrip())


def _say_table(metrics: Mapping[str, Mapping[str, float]]) -> None:
    """A row for each way, a column for each metric, half its interval's width underneath.

    Columns that the terminal has no room for follow below, with the ways that have them.
    """
    rows: dict[str, dict[str, Mapping[str, float]]] = {}
    for name, metric in metrics.items():
        way, _, column = name.rpartition("/")
        rows.setdefault(way, {})[column] = metric
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    label = max(map(len, rows))
    for heads in _blocks(columns, get_terminal_size().columns - label):
        say(f"\n{'':{label}}{''.join(heads.values())}")
        for way, row in rows.items():
            found = [(row.get(column), len(head)) for column, head in heads.items()]
            values = ["" if m is None else f"{m['value']:.3f}" for m, _ in found]
            halves = ["" if m is None else f"±{(m['high'] - m['low']) / 2:.3f}" for m, _ in found]
            if any(values):
                for title, cells in ((way, values), ("", halves)):
                    padded = [f"{cell:>{n}}" for cell, (_, n) in zip(cells, found, strict=True)]
                    say(f"{title:{label}}{''.join(padded)}".rstrip())


def _blocks(columns: Sequence[str], room: int) -> list[dict[str, str]]:
    """The columns in as many tables as they need, each with its head: "@5" after "recall@1"."""
    blocks: list[dict[str, str]] = []
    before, left = "", 0
    for column in columns:
        kind, _, cutoff = column.partition("@")
        head = f"  {f'@{cutoff}' if cutoff and kind == before else column:>6}"
        if not blocks or len(head) > left:
            head, left = f"  {column:>6}", room
            blocks.append({})
        blocks[-1][column] = head
        before, left = kind, left - len(head)
    return blocks


def _short(value: float) -> str:
    return f"{value:5.3f}" if abs(value) < 10 else f"{value:5.0f}"


COMMANDS: tuple[click.Command, ...] = (evaluate,)
