"""The course on transformers: lessons."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ragformer_cli.terminal import json_option, path_type, say, say_json, warn

if TYPE_CHECKING:
    from ragformer.lessons.lesson import Result


@click.group()
def lessons() -> None:
    """Learn how transformers work: small ones, trained before your eyes.

    \b
    Examples:
      ragformer lessons list
      ragformer lessons run attention
      ragformer lessons run language --data ~/texts
    """


@lessons.command("list")
@json_option
def list_lessons(as_json: bool) -> None:
    """What there is to learn, in the order of the course."""
    from ragformer.lessons.lesson import LESSONS, lesson_text, summary

    if as_json:
        say_json([{"name": name, "text": lesson_text(name)} for name in LESSONS])
        return
    for name in LESSONS:
        say(f"{name:11} {summary(name)}")


@lessons.command()
@click.argument("name", metavar="NAME")
@click.option(
    "--out", type=path_type, metavar="DIR", help="For the pictures.  [default: runs/lessons/NAME]"
)
@click.option("--quick", is_flag=True, help="Toy sizes: seconds, and it learns little.")
@click.option(
    "--data", type=path_type, metavar="DIR", help="Learn from the .txt files in DIR (on text only)."
)
@json_option
def run(name: str, out: Path | None, quick: bool, data: Path | None, as_json: bool) -> None:
    """Train what lesson NAME is about, say what it learned and draw it.

    With --json what is said goes to stderr.
    """
    from ragformer.forms import lesson_form
    from ragformer.lessons.lesson import Result, Setting, lesson_text, run_lesson

    tell = warn if as_json else say
    tell(lesson_text(name) + "\n")
    for item in run_lesson(name, Setting(out or Path("runs/lessons") / name, quick, data)):
        if not isinstance(item, Result):
            tell(str(item))
        elif as_json:
            say_json(lesson_form(item))
        else:
            say(_result_text(item))


def _result_text(result: Result) -> str:
    """The figure beside its target, what it took, and where the pictures are."""
    outcome = result.outcome
    target = f"{'below' if outcome.at_most else 'at least'} {outcome.target:.4g}"
    verdict = "reached" if outcome.reached else "not reached"
    lines = [
        f"\n{outcome.figure}: {outcome.value:.4g} (target {target}: {verdict})",
        f"{result.seconds:.0f} s, {result.cpu_seconds:.0f} s of processor time, "
        f"{result.peak_bytes / 2**20:.0f} MiB of memory at most",
        *(f"wrote {path}" for path in outcome.files),
    ]
    return "\n".join(lines)


COMMANDS: tuple[click.Command, ...] = (lessons,)
