"""Writing to the terminal: text made safe, JSON, progress, and the options that commands share."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from ragformer.config import Backend
    from ragformer.types import FileOutcome, Progress, Report

    Steps = Iterator[Progress | Report | FileOutcome]

LOOK_SECONDS = 0.5  # between two looks at whether another process still indexes
Command = TypeVar("Command", bound=Callable[..., Any])

# All control characters but tab and newline, and those that turn the direction of writing:
# a terminal obeys them, and the text of a PDF may hold any.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
# What ends a line, all that str.splitlines knows: a file's name may hold any.
_LINE_ENDS = re.compile(r"[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")


def collection_option(command: Command) -> Command:
    help_text = "The collection to use.  [default: default]"
    return click.option("-c", "--collection", metavar="NAME", help=help_text)(command)


path_type = click.Path(path_type=Path)


def seed_option(command: Command) -> Command:
    """--seed, for commands with a --limit."""
    help_text = "Which questions a limit picks."
    return click.option("--seed", default=0, metavar="S", help=help_text)(command)


def json_option(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def within_option(command: Command) -> Command:
    help_text = "Only these files: a name, a folder or a pattern (2024/*.pdf). Repeatable."
    return click.option("--in", "within", multiple=True, metavar="GLOB", help=help_text)(command)


def k_option(help_text: str) -> Callable[[Command], Command]:
    return click.option("-k", type=click.IntRange(1, 100), metavar="N", help=help_text)


def backend_options(command: Command) -> Command:
    """--backend and --model, to be given to `chosen_backend`."""
    help_text = (
        "What writes the answer: a decoder here, or a server that speaks the OpenAI protocol."
    )
    backend = click.option("--backend", type=click.Choice(["local", "openai"]), help=help_text)
    model = click.option("--model", metavar="M", help="The server's model, or an imported one.")
    return backend(model(command))


def chosen_backend(backend: str | None, model: str | None) -> Backend:
    """What these options and the configuration lead to; raises ConfigError where that cannot be."""
    from ragformer.config import load_settings

    settings = load_settings(backend=backend, openai_model=model)
    if remote := settings.remote_model():
        return remote
    if model is None:
        return "local"
    from ragformer.answer.installed import find_model

    return find_model(settings, model).folder


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


def read_password(given: str) -> str:
    """The password given, or for "-" the one that is typed or stands on stdin."""
    if given != "-":
        return given
    if is_terminal(sys.stdin):
        return str(click.prompt("Password", hide_input=True, err=True))
    return sys.stdin.readline().rstrip("\r\n")


def short_path(path: Path) -> str:
    """The path as short as it can be typed here, on one line."""
    with suppress(FileNotFoundError, ValueError):  # the working folder is gone, or elsewhere
        path = path.relative_to(Path.cwd())
    return one_line(str(path))


def one_line(text: str) -> str:
    """`text` with what would end the line escaped."""
    return _LINE_ENDS.sub(lambda found: ascii(found[0])[1:-1], text)


def follow(steps: Steps, as_json: bool = False) -> Report:
    """Run an indexing up to its Report behind a progress bar; returns that.

    as_json: the steps as JSON lines on stderr in place of the bar.
    """
    from ragformer.types import Progress, Report

    with nullcontext(_warn_step) if as_json else _bar() as show:
        for step in steps:
            if isinstance(step, Report):
                return step
            if isinstance(step, Progress):
                show(step)
    raise AssertionError("the stream ended without a Report")


def follow_in_turn(run: Callable[[], Steps], as_json: bool = False) -> tuple[Report, Steps]:
    """As `follow`, for the first run that no other indexer bars; stderr says for whom it waits.

    Returns what comes after the Report, too.
    """
    from ragformer.errors import StoreBusyError

    said = ""
    while True:
        steps = run()
        try:
            return follow(steps, as_json), steps
        except StoreBusyError as error:
            waits = f"waiting: {str(error).partition(';')[0]}"
            if waits != said:
                warn(waits)
            said = waits
        time.sleep(LOOK_SECONDS)


def _warn_step(step: Progress) -> None:
    """A line of JSON: the step's counts."""
    names = ("files_done", "files_total", "pages_done", "pages_read", "pages_total")
    warn(json.dumps({name: getattr(step, name) for name in names}))


@contextmanager
def _bar() -> Iterator[Callable[[Progress], None]]:
    """Files, pages a second and time left, on stderr; silent when that is no terminal."""
    from tqdm import tqdm

    shape = {"desc": "indexing", "bar_format": "{desc} |{bar:20}|", "miniters": 0, "leave": False}
    began = time.monotonic()  # the clock of the rate starts with the first page's embedding
    with tqdm(**shape, disable=not is_terminal(sys.stderr)) as bar:

        def show(step: Progress) -> None:
            nonlocal began
            now = time.monotonic()
            if not step.pages_done:
                began = now
            bar.total = step.pages_total or None
            bar.set_description_str(progress_line(step, now - began), refresh=False)
            bar.update(step.pages_done - bar.n)
            if step.files_done == step.files_total:
                bar.refresh()  # update leaves out what follows the last line too closely

        yield show


def progress_line(step: Progress, seconds: float) -> str:
    """What the bar says of a step, `seconds` after the first page began to be embedded."""
    from tqdm import tqdm

    parts = [f"indexing {step.files_done:,}/{step.files_total:,} files"]
    if step.pages_done and seconds > 0:
        rate = step.pages_done / seconds
        left = tqdm.format_interval((step.pages_total - step.pages_done) / rate)
        parts += [f"{rate:,.1f} pages/s", f"{left} left"]
    elif step.pages_read:
        parts.append(f"{step.pages_read:,} of {step.pages_total:,} pages read")
    return ", ".join(parts)
