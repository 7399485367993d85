"""The installation itself: doctor, paths, models."""

from __future__ import annotations

import platform
import sqlite3
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ragformer.errors import ConfigError
from ragformer_cli.terminal import collection_option, json_option, say, say_json

if TYPE_CHECKING:
    from ragformer.library import Library

_PACKAGES = ("ragformer", "torch", "faiss-cpu", "numpy", "sentencepiece", "pypdfium2", "pypdf")


@click.command()
@click.option("--check", is_flag=True, help="Test every promise of the store; exit 1 on a fault.")
@click.option("--repair", is_flag=True, help="Make anew what can be made from the stored text.")
@collection_option
@json_option
@click.pass_context
def doctor(
    context: click.Context, check: bool, repair: bool, collection: str | None, as_json: bool
) -> None:
    """Show what is installed and every setting with where it comes from; check a collection.

    \b
    Examples:
      ragformer doctor
      ragformer doctor --check -c contracts
    """
    from ragformer.library import open_library

    with open_library(collection) as library:
        repairs = library.repair() if repair else []
        faults = library.store.check() if check or repair else []
        findings = {
            "versions": _versions(),
            "settings": _settings(library),
            "notes": _notes(library),
            "repairs": repairs,
            "faults": faults,
        }
    if as_json:
        say_json(findings)
    else:
        _say_findings(findings, check or repair)
    if faults:
        context.exit(1)


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    return found | {package: version(package) for package in _PACKAGES}


def _settings(library: Library) -> dict[str, dict[str, Any]]:
    settings = library.settings
    values = {name: getattr(settings, name) for name in settings.origins}
    return {
        name: {"value": str(value) if isinstance(value, Path) else value, "origin": origin}
        for (name, value), origin in zip(values.items(), settings.origins.values(), strict=True)
    }


def _notes(library: Library) -> list[str]:
    """What a user should know of this machine."""
    from ragformer.cluster.layout import count_shards, is_sharded
    from ragformer.pdf.child import memory_is_limited

    notes = []
    if not memory_is_limited():
        notes.append("this system does not bound the memory of the PDF readers; time is bounded")
    if is_sharded(library.folder):
        shards = count_shards(library.folder)
        notes.append(f"{library.folder} is {shards} shards, written by index --engine ray only")
    elif library.exists and library.store.readonly:
        notes.append(f"{library.folder} can be read but not written")
    try:
        remote = library.settings.remote_model()
    except ConfigError as error:
        notes.append(str(error))
    else:
        if remote is not None:
            notes.append(f"questions and the passages found for them go to {remote.address}")
    return notes


def _say_findings(findings: dict[str, Any], checked: bool) -> None:
    for package, number in findings["versions"].items():
        say(f"{package} {number}")
    for name, setting in findings["settings"].items():
        say(f"{name} = {setting['value']}  ({setting['origin']})")
    for line in findings["notes"] + findings["repairs"]:
        say(line)
    for fault in findings["faults"]:
        say(f"fault: {fault}")
    if checked and not findings["faults"]:
        say("the collection is sound")


@click.command()
@collection_option
@json_option
def paths(collection: str | None, as_json: bool) -> None:
    """Show where everything lies."""
    from ragformer.config import PROJECT_FILE, models_folder, user_config_file
    from ragformer.library import open_library

    with open_library(collection) as library:
        found = {
            "home": library.settings.home,
            "collection": library.folder,
            "models": models_folder(),
            "project_config": Path(PROJECT_FILE).absolute(),
            "user_config": user_config_file(),
        }
    if as_json:
        say_json({name: str(path) for name, path in found.items()})
        return
    for name, path in found.items():
        say(f"{name}: {path}")


COMMANDS: tuple[click.Command, ...] = (doctor, paths)
