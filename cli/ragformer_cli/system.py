"""The installation itself: doctor, paths, models."""

from __future__ import annotations

import platform
import sqlite3
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from ragformer_cli.terminal import collection_option, json_option, say, say_json, warn

if TYPE_CHECKING:
    from ragformer.library import Library

KINDS: tuple[Literal["encoder", "decoder"], ...] = ("encoder", "decoder")
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
    from ragformer.pdf.child import memory_is_limited

    notes = []
    if not memory_is_limited():
        notes.append("this system does not bound the memory of the PDF readers; time is bounded")
    if library.exists and library.store.readonly:
        notes.append(f"{library.folder} can be read but not written")
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


@click.group()
def models() -> None:
    """The encoder and the decoder that do the work."""


@models.command("list")
@json_option
def list_models(as_json: bool) -> None:
    """List the models in use."""
    found = [_model(kind) for kind in KINDS]
    if as_json:
        say_json([{key: model[key] for key in ("kind", "id", "path", "bytes")} for model in found])
        return
    for model in found:
        say(f"{model['kind']} {model['id']}  {model['bytes'] / 1e6:.1f} MB  {model['path']}")


@models.command()
@click.argument("kind", type=click.Choice(KINDS))
@json_option
def info(kind: Literal["encoder", "decoder"], as_json: bool) -> None:
    """Show a model's configuration and its card."""
    model = _model(kind)
    if as_json:
        say_json(model)
        return
    say(f"{kind} {model['id']}\n{model['path']}")
    for name, value in model["config"].items():
        say(f"{name} = {value}")
    if model["card"]:
        say(f"\n{model['card']}")


@models.command("import")
@click.argument("source", type=click.Path(path_type=Path), metavar="DIR")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where to write it.  [default: models/<its name> in the home]",
)
@click.option("--query-prefix", metavar="TEXT", help="Put before every question, not its own.")
@click.option("--passage-prefix", metavar="TEXT", help="Put before every passage, not its own.")
@json_option
def import_model(
    source: Path,
    out: Path | None,
    query_prefix: str | None,
    passage_prefix: str | None,
    as_json: bool,
) -> None:
    """Make an encoder of a sentence-transformers folder of the BERT family.

    MiniLM, BGE, E5 and GTE, for example. Pooling, prefixes and length are read from its files.

    \b
    Example:
      ragformer models import e5-small-v2 --query-prefix "query: " --passage-prefix "passage: "
    """
    from ragformer.retrieve.checkpoints import import_encoder

    imported = import_encoder(source, out, query_prefix, passage_prefix)
    if as_json:
        say_json({"path": str(imported.folder), "unused": imported.unused})
        return
    if imported.unused:
        warn(f"not used: {', '.join(imported.unused)}")
    say(f"wrote {imported.folder}; to use it set RAGFORMER_ENCODER to this folder")


def _model(kind: Literal["encoder", "decoder"]) -> dict[str, Any]:
    from ragformer.config import model_folder
    from ragformer.nn.checkpoint import weight_files, weights_id
    from ragformer.nn.config import read_config

    folder = model_folder(kind)
    card = folder / "CARD.md"
    return {
        "kind": kind,
        "id": weights_id(folder),
        "path": str(folder),
        "bytes": sum(file.stat().st_size for file in weight_files(folder)),
        "config": read_config(folder / "config.json"),
        "card": card.read_text("utf-8") if card.is_file() else "",
    }


COMMANDS: tuple[click.Command, ...] = (doctor, paths, models)
