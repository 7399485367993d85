"""Writing to the terminal: text made safe, JSON, progress, and the options that commands share."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from ragformer.types import Progress, Report

Command = TypeVar("Command", bound=Callable[..., Any])

# All control characters but tab and newline, and those that turn the direction of writing:
# a terminal obeys them, and the text of a PDF may hold any.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def collection_option(command: Command) -> Command:
    help_text = "The collection to use.  [default: default]"
    return click.option("-c", "--collection", metavar="NAME", help=help_text)(command)


def json_option(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def within_option(command: Command) -> Command:
    help_text = "Only these files: a name, a folder or a pattern (2024/*.pdf). Repeatable."
    return click.option("--in", "within", multiple=True, metavar="GLOB", help=help_text)(command)


def k_option(help_text: str) -> Callable[[Command], Command]:
    return click.option("-k", type=click.IntRange(1, 100), metavar="N", help=help_text)


def is_terminal(stream: IO[str]) -> bool:
    return stream.isatty()


def safe(text: str, stream: IO[str]) -> str:
    """`text` as it may be written to `stream`: a terminal gets no control characters."""
    return _CONTROLS.sub("", text) if is_terminal(stream) else text


def say(text: str = "", *, end: str = "\n") -> None:
    """Write to stdout at once."""
    sys.stdout.write(safe(text, sys.stdout) + end)
    sys.stdout.flush()


def warn(text: str) -> None:
    """Write a line to stderr."""
    sys.stderr.write(safe(text, sys.stderr) + "\n")
    sys.stderr.flush()


def say_json(value: object) -> None:
    """One line of JSON in ASCII: safe on any terminal, and a path that is not UTF-8 survives."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def short_path(path: Path) -> str:
    """The path as short as it can be typed here."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def follow(steps: Iterator[Progress | Report]) -> Report:
    """Run an indexing to its end behind a progress bar; returns its Report."""
    from ragformer.types import Report

    with _bar() as show:
        for step in steps:
            if isinstance(step, Report):
                return step
            show(step)
    raise AssertionError("the stream ended without a Report")


@contextmanager
def _bar() -> Iterator[Callable[[Progress], None]]:
    """Files, pages a second and time left, on stderr; silent when that is no terminal."""
    from tqdm import tqdm

    layout = "{desc}{n_fmt}/{total_fmt} files |{bar:20}| {remaining} left{postfix}"
    silent = not is_terminal(sys.stderr)
    with tqdm(total=0, desc="indexing ", bar_format=layout, disable=silent, leave=False) as bar:

        def show(step: Progress) -> None:
            bar.total = step.files_total
            elapsed = bar.format_dict.get("elapsed") or 0.0 if not silent else 0.0
            if elapsed:
                bar.set_postfix_str(f"{step.pages_done / elapsed:.0f} pages/s", refresh=False)
            bar.update(step.files_done - bar.n)

        yield show
