"""The training recipes: each field of a recipe's Config is an option."""

from __future__ import annotations

import dataclasses
import importlib
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import click

from ragformer_cli.terminal import say

RECIPES = ("tokenizer", "embeddings", "encoder", "decoder", "confidence")


class _Recipes(click.Group):
    """Loads a recipe, and torch with it, when its command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(RECIPES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in RECIPES:
            return None
        return recipe_command(cmd_name)


@click.command(cls=_Recipes)
def train() -> None:
    """Train the models from scratch, on CPU or one GPU.

    \b
    Example:
      ragformer train encoder --data data --out models/encoder --work runs/encoder
    """


def recipe_command(name: str) -> click.Command:
    """The command for `ragformer.train.<name>`: options from its Config, log to stdout."""
    recipe = importlib.import_module(f"ragformer.train.{name}")

    def run(**values: Any) -> None:
        result = recipe.main(recipe.Config(**values))
        if isinstance(result, Iterator):
            for line in result:
                say(line)
        else:
            say(f"wrote {result}")

    kinds = get_type_hints(recipe.Config, vars(sys.modules[recipe.__name__]))
    fields = dataclasses.fields(recipe.Config)
    summary = str(recipe.__doc__).partition("\n\n")[0].replace("\n", " ")
    about = f"{summary}\n\n{recipe.Config.__doc__}"
    return click.Command(
        name, callback=run, params=[_option(f, kinds[f.name]) for f in fields], help=about
    )


def _option(field: dataclasses.Field[Any], kind: Any) -> click.Option:
    name, click_type = f"--{field.name.replace('_', '-')}", _click_type(kind)
    if field.default is dataclasses.MISSING:
        return click.Option([name], type=click_type, required=True)
    return click.Option([name], type=click_type, default=field.default, show_default=True)


def _click_type(kind: Any) -> click.ParamType[Any] | type:
    if kind is Path:
        return click.Path(path_type=Path)
    if get_origin(kind) is Literal:
        return click.Choice(get_args(kind))
    if get_origin(kind) is types.UnionType:  # T | None: an option that may be left out
        return _click_type(get_args(kind)[0])
    return kind  # type: ignore[no-any-return]


COMMANDS: tuple[click.Command, ...] = (train,)
