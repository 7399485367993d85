"""The models that do the work: those in the box, and imported ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from ragformer_cli.terminal import json_option, say, say_json, warn

if TYPE_CHECKING:
    from ragformer.answer.installed import Installed

KINDS: tuple[Literal["encoder", "decoder"], ...] = ("encoder", "decoder")
BOX = "box"


@click.group()
def models() -> None:
    """The encoder and the decoder that do the work, and imported ones in their place."""


@models.command("list")
@json_option
def list_models(as_json: bool) -> None:
    """List the models in use and the imported ones."""
    from ragformer.answer.installed import installed
    from ragformer.config import load_settings

    found = [_model(kind) for kind in KINDS]
    imported = installed(load_settings())
    if as_json:
        ours = [{key: model[key] for key in ("kind", "id", "path", "bytes")} for model in found]
        say_json(ours + [_form(model) for model in imported])
        return
    for model in found:
        say(f"{model['kind']} {model['id']}  {model['bytes'] / 1e6:.1f} MB  {model['path']}")
    for other in imported:
        used = ", in use" if other.in_use else ""
        said = other.fault or f"{other.role} {other.id}  {other.bytes / 1e6:.1f} MB"
        say(f"imported {other.name}{used}: {said}")


def _form(model: Installed) -> dict[str, Any]:
    return {
        "kind": model.role,
        "id": model.id,
        "path": str(model.folder),
        "bytes": model.bytes,
        "name": model.name,
        "in_use": model.in_use,
        "fault": model.fault,
    }


@models.command()
@click.argument("kind", metavar="encoder|decoder|NAME")
@json_option
def info(kind: str, as_json: bool) -> None:
    """Show the configuration and the card of a model in use, or of an imported one."""
    from ragformer.answer.installed import find_model
    from ragformer.config import load_settings

    if kind in ("encoder", "decoder"):
        model = _model("encoder" if kind == "encoder" else "decoder")
    else:
        found = find_model(load_settings(), kind)
        model = _described(found.role or "unknown", found.folder)
    if as_json:
        say_json(model)
        return
    say(f"{model['kind']} {model['id']}\n{model['path']}")
    for name, value in model["config"].items():
        say(f"{name} = {value}")
    if model["card"]:
        say(f"\n{model['card']}")


@models.command("import")
@click.argument("source", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--name", metavar="N", help="What to call it.  [default: the folder's name]")
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
    name: str | None,
    out: Path | None,
    query_prefix: str | None,
    passage_prefix: str | None,
    as_json: bool,
) -> None:
    """Bring a model of another family, from a folder on this machine.

    An encoder of the BERT family as sentence-transformers saves it (MiniLM, BGE, E5, GTE): pooling,
    prefixes and length are read from its files. Or a decoder (GPT-2, Llama, SmolLM, Qwen2, Qwen3)
    to write answers, with safetensors, tokenizer.json and a chat template. No code of it is run.

    \b
    Examples:
      ragformer models import e5-small-v2 --query-prefix "query: " --passage-prefix "passage: "
      ragformer models import Qwen3-0.6B --name qwen && ragformer models use qwen
    """
    from ragformer.answer.installed import import_model
    from ragformer.nn.names import few

    role, imported = import_model(source, out, name, query_prefix, passage_prefix)
    if as_json:
        say_json({"path": str(imported.folder), "unused": imported.unused, "kind": role})
        return
    if imported.unused:
        warn(f"not used: {few(imported.unused, most=20)}")
    how = (
        f"`ragformer models use {imported.folder.name}`"
        if out is None
        else f"set RAGFORMER_{role.upper()} to this folder"
    )
    say(f"wrote {imported.folder}; to use it: {how}")


@models.command()
@click.argument("name")
@json_option
def use(name: str, as_json: bool) -> None:
    """Use an imported model from now on; "box" goes back to those that came with the program.

    It is written into your config.toml, which `ragformer paths` shows.
    """
    from ragformer.answer.installed import use_model, use_own_models
    from ragformer.config import load_settings

    if name == BOX:
        use_own_models()
        said, form = "the models in the box are in use", {"in_use": BOX}
    else:
        model = use_model(load_settings(), name)
        reembed = "; run `ragformer index --reembed`" if model.role == "encoder" else ""
        said, form = f"{name} is in use as the {model.role}{reembed}", {"in_use": name}
    if as_json:
        say_json(form)
    else:
        say(said)


@models.command()
@click.argument("name")
@json_option
def rm(name: str, as_json: bool) -> None:
    """Delete an imported model."""
    from ragformer.answer.installed import remove_model
    from ragformer.config import load_settings

    model = remove_model(load_settings(), name)
    if as_json:
        say_json({"removed": model.name, "path": str(model.folder)})
    else:
        say(f"removed {model.folder}")


def _model(kind: Literal["encoder", "decoder"]) -> dict[str, Any]:
    from ragformer.config import model_folder

    return _described(kind, model_folder(kind))


def _described(kind: str, folder: Path) -> dict[str, Any]:
    from ragformer.nn.config import read_config
    from ragformer.nn.identity import weight_files, weights_id

    card = folder / "CARD.md"
    return {
        "kind": kind,
        "id": weights_id(folder),
        "path": str(folder),
        "bytes": sum(file.stat().st_size for file in weight_files(folder)),
        "config": read_config(folder / "config.json"),
        "card": card.read_text("utf-8") if card.is_file() else "",
    }


COMMANDS: tuple[click.Command, ...] = (models,)
