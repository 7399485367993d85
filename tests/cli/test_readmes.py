"""The READMEs: what they link to exists, and the command line takes every command they show."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
from ragformer_cli.main import main

ROOT = Path(__file__).parents[2]
READMES = [
    file
    for folder in (".", "cli", "ui", "ragformer/*", "models/*")
    for file in sorted(ROOT.glob(f"{folder}/*.md"))
]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def anchors(text: str) -> set[str]:
    """What GitHub calls the headings of a document."""
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("readme", READMES, ids=name)
def test_every_link_leads_somewhere(readme: Path) -> None:
    text = readme.read_text("utf-8")
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    for link in links:
        target, _, heading = link.partition("#")
        file = (readme.parent / target).resolve() if target else readme
        assert file.exists(), link
        assert not heading or heading in anchors(file.read_text("utf-8")), link


def shown(text: str) -> list[str]:
    """The commands a document shows: lines of its blocks, and what stands between backticks."""
    blocks = re.findall(r"^```\n(.*?)^```", text, re.M | re.S)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)
    found = [re.search(r"(?:^|[ /])(ragformer [a-z].*)", line) for line in lines]
    return [match[1].partition("  #")[0] for match in found if match]


def check(words: list[str]) -> None:
    """Raises where a word names no command, or an option is none of the command's."""
    command: click.Command = main
    context = click.Context(main)
    while isinstance(command, click.Group) and words:
        found = command.get_command(context, words[0])
        assert found is not None, words
        command, words = found, words[1:]
    takes = {option for parameter in command.params for option in parameter.opts}
    options = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    assert options <= takes | {"--help"}, (command.name, options - takes)


@pytest.mark.parametrize("readme", READMES, ids=name)
def test_every_command_that_is_shown_exists(readme: Path) -> None:
    for line in shown(readme.read_text("utf-8")):
        words = shlex.split(line.partition(" > ")[0])[1:]
        check([word for word in words if word != "..."])


def test_a_command_that_is_none_is_noticed() -> None:
    assert shown("`make` and `.venv/bin/ragformer ask --no`\n```\n$ ragformer x\n```\n") == [
        "ragformer x",
        "ragformer ask --no",
    ]
    with pytest.raises(AssertionError):
        check(["ask", "--no"])
    with pytest.raises(AssertionError):
        check(["x"])
