"""The training recipes, each field of a recipe's Config an option; adapt and calibrate."""

from __future__ import annotations

import dataclasses
import importlib
import math
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

import click

from ragformer import forms
from ragformer.errors import InputError
from ragformer_cli.terminal import collection_option, json_option, say, say_json, warn

if TYPE_CHECKING:
    from ragformer.train.adapt import Adapted
    from ragformer.train.calibrate import Calibrated

RECIPES = ("tokenizer", "embeddings", "encoder", "decoder", "confidence")
MAY_BE_NONE = {"chunk", "seed", "steps", "bag_steps", "masked_steps", "paragraphs_per_file"}
"""Whole numbers of a recipe that may be 0; all others are sizes."""


class Finite(click.FloatRange):
    """A number in a range: "nan" is below no least one, and "inf" not above an open end."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number


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
    name = f"--{field.name.replace('_', '-')}"
    click_type = _number_type(field.name, kind) if kind in (int, float) else _click_type(kind)
    if field.default is dataclasses.MISSING:
        return click.Option([name], type=click_type, required=True)
    return click.Option([name], type=click_type, default=field.default, show_default=True)


def _number_type(name: str, kind: type) -> click.ParamType[Any]:
    """The range of a number: no recipe has a use for one below 0."""
    if kind is int:
        return click.IntRange(0 if name in MAY_BE_NONE else 1)
    if name.endswith("minutes"):
        return Finite(0)
    return Finite(0, 1)  # a share, or a learning rate


def _click_type(kind: Any) -> click.ParamType[Any] | type:
    if kind is Path:
        return click.Path(path_type=Path)
    if get_origin(kind) is Literal:
        return click.Choice(get_args(kind))
    if get_origin(kind) is types.UnionType:  # T | None: an option that may be left out
        return _click_type(get_args(kind)[0])
    return kind  # type: ignore[no-any-return]


@click.command()
@click.option("--minutes", type=Finite(0.1), default=3.0, show_default=True)
@click.option("--undo", is_flag=True, help="Go back to the encoder in the box.")
@collection_option
@json_option
def adapt(minutes: float, undo: bool, collection: str | None, as_json: bool) -> None:
    """Teach the search by meaning the documents of a collection.

    It makes questions of the documents' own text, learns from most of them and measures on those
    of other documents. What was learned is kept only where it finds more than before; else nothing
    changes. Stop it at any time: the next run goes on from there.

    \b
    Examples:
      ragformer adapt
      ragformer adapt --minutes 10 -c contracts
      ragformer adapt --undo
    """
    from ragformer.train import adapt as recipe

    config = recipe.Config(collection, minutes=minutes)
    for step in recipe.undo(config) if undo else recipe.main(config):
        if isinstance(step, str):
            warn(step)
        elif as_json:
            say_json(forms.adapted_form(step))
        else:
            say(adapted_text(step))


def adapted_text(adapted: Adapted) -> str:
    """A line for each metric before and after, and what came of it."""
    ends = {
        "kept": f"kept: this collection now has its own encoder, {adapted.encoder_id}; "
        "`ragformer adapt --undo` goes back",
        "rolled_back": "not kept, as it finds no more than before: nothing was changed",
        "undone": f"this collection uses the encoder in the box again, {adapted.encoder_id}",
        "unchanged": "this collection uses the encoder in the box; there is nothing to undo",
    }
    lines = [
        f"{name:16} {adapted.before[name]:.3f}  {adapted.after[name]:.3f}"
        for name in adapted.before
    ]
    head = [f"{adapted.questions} questions   before  after"] * bool(lines)
    return "\n".join([*head, *lines, ends[adapted.status]])


@click.command()
@click.option(
    "--error-rate",
    type=Finite(0.01, 0.9),
    default=0.2,
    show_default=True,
    metavar="SHARE",
    help="At most this share of the answers given may be wrong.",
)
@click.option(
    "--questions", type=click.IntRange(40), default=200, show_default=True, help="To make, at most."
)
@click.option("--undo", is_flag=True, help="Go back to the confidence in the box.")
@collection_option
@json_option
def calibrate(
    error_rate: float, questions: int, undo: bool, collection: str | None, as_json: bool
) -> None:
    """Fit the confidence to a collection, and choose from which one on to answer.

    It makes questions of the documents' own text and asks half of them with the document they are
    of left out, so that they have no answer. Half of all fit the confidence, the others choose the
    lowest threshold that keeps to the error rate. Nothing changes where none does.

    \b
    Examples:
      ragformer calibrate
      ragformer calibrate --error-rate 0.1 -c contracts
      ragformer calibrate --undo
    """
    from ragformer.train import calibrate as recipe

    config = recipe.Config(collection, error_rate=error_rate, questions=questions)
    if undo:
        status = "undone" if recipe.undo(config) else "unchanged"
        say_json({"status": status}) if as_json else say(UNDONE[status])
        return
    for step in recipe.main(config):
        if isinstance(step, str):
            warn(step)
        else:
            _say_calibrated(step, as_json)


UNDONE = {
    "undone": "this collection uses the confidence in the box again",
    "unchanged": "this collection uses the confidence in the box; there is nothing to undo",
}


def _say_calibrated(calibrated: Calibrated, as_json: bool) -> None:
    """The risk-coverage table and what came of it; raises InputError where nothing did."""
    if as_json:
        say_json(forms.calibrated_form(calibrated))
    else:
        say(calibrated_text(calibrated))
    if calibrated.chosen is None:
        raise InputError(
            f"no threshold keeps the share of wrong answers at {calibrated.error_rate:.0%} on the "
            f"{calibrated.held_out} questions held out, so nothing was changed; give a higher "
            "--error-rate"
        )


def calibrated_text(calibrated: Calibrated) -> str:
    """Share wrong and unanswerable refused at every share answered, before and after."""
    before, after, chosen = calibrated.before, calibrated.after, calibrated.chosen
    lines = [
        f"{calibrated.held_out} questions held out, of {calibrated.questions}",
        f"{'answerable answered':20}{'answers wrong':>20}{'unanswerable refused':>24}",
        f"{'':20}{'before   after':>20}{'before   after':>24}",
    ]
    for a, b in zip(before.points, after.points, strict=True):
        share = f"{max(a.coverage, b.coverage):.2f}"
        lines.append(
            f"{share:20}{f'{a.risk:.2f}    {b.risk:.2f}':>20}"
            f"{f'{a.refusal or 0:.2f}    {b.refusal or 0:.2f}':>24}"
        )
    lines.append(f"calibration error{f'{before.ece:.3f}   {after.ece:.3f}':>23}")
    if chosen is not None:
        lines.append(
            f"kept: from a confidence of {chosen.threshold:.3f} on it answers; "
            f"{chosen.risk:.0%} of those answers are wrong and {chosen.coverage:.0%} of the "
            "answerable questions get one; `ragformer calibrate --undo` goes back"
        )
    return "\n".join(lines)


COMMANDS: tuple[click.Command, ...] = (train, adapt, calibrate)
