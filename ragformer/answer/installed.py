"""The models that were imported into the home, and which of them are in use."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as brief
from typing import Literal

from ragformer.answer.checkpoints import chat_of, import_decoder
from ragformer.config import Settings, set_for_user
from ragformer.errors import InputError, NotFoundError, RagformerError, WeightsError
from ragformer.nn.config import read_config
from ragformer.nn.families import FAMILIES
from ragformer.nn.identity import weight_files, weights_id
from ragformer.retrieve.checkpoints import Imported, import_encoder
from ragformer.retrieve.placing import UNFINISHED

Role = Literal["encoder", "writer"]
"""What an imported model does: embed texts, or write answers."""


@dataclass(frozen=True, slots=True)
class Installed:
    """An imported model: its name, what it does, where it lies, its weights' id and size on disk,
    and whether the configuration names it. fault: why it cannot be used."""

    name: str
    role: Role | None
    folder: Path
    id: str
    bytes: int
    in_use: bool
    fault: str = ""


def import_model(
    source: Path,
    out: Path | None = None,
    name: str | None = None,
    query_prefix: str | None = None,
    passage_prefix: str | None = None,
) -> tuple[Role, Imported]:
    """Import the sentence encoder or decoder checkpoint in `source`; says which it was.

    Prefixes are an encoder's, see `import_encoder`. Raises WeightsError for neither.
    """
    if not any((source / file).is_file() for file in ("modules.json", "config.json")):
        raise InputError(
            f"there is no model in {source}; give a folder with a decoder's config.json,"
            " safetensors and tokenizer.json, or an encoder that sentence-transformers saved"
        )
    if (source / "modules.json").is_file():
        return "encoder", import_encoder(source, out, query_prefix, passage_prefix, name)
    kind = read_config(source / "config.json").get("model_type")
    if kind == "bert":
        raise WeightsError(
            f"{source} is a BERT without modules.json, so nothing says how it makes a vector of a"
            " text; give a folder that sentence-transformers saved"
        )
    if kind not in list(FAMILIES):
        raise WeightsError(
            f"{source} is of model_type {brief(kind)}; this imports decoders of"
            f" {', '.join(FAMILIES)}, and encoders that sentence-transformers saved"
        )
    return "writer", import_decoder(source, out, name)


def installed(settings: Settings) -> list[Installed]:
    """Every model imported into the home, by name."""
    folder = settings.models_home
    paths = [path for path in sorted(folder.glob("*")) if not path.name.startswith(UNFINISHED)]
    return [_look(path, settings) for path in paths if path.is_dir()]


def _look(folder: Path, settings: Settings) -> Installed:
    used = folder in (settings.encoder, settings.writer)
    try:
        role: Role = "encoder"
        if read_config(folder / "config.json").get("kind") == "decoder":
            role = "writer"
            if chat_of(folder) is None:
                raise WeightsError(f"{folder} is a decoder that does not converse")
        size = sum(path.stat().st_size for path in weight_files(folder))
        return Installed(folder.name, role, folder, weights_id(folder), size, used)
    except RagformerError as error:
        return Installed(folder.name, None, folder, "", 0, used, str(error))


def find_model(settings: Settings, name: str) -> Installed:
    """The imported model of that name. Raises NotFoundError naming those there are."""
    models = {model.name: model for model in installed(settings)}
    if name not in models:
        names = ", ".join(models) or "none yet; `ragformer models import DIR` makes one"
        raise NotFoundError(f"no imported model is called {name}; there are: {names}")
    return models[name]


def use_model(settings: Settings, name: str) -> Installed:
    """Name it in the user's configuration, from where it is used in each run; says which it was."""
    model = find_model(settings, name)
    if model.role is None:
        raise WeightsError(model.fault)
    set_for_user(model.role, str(model.folder))
    return model


def use_own_models() -> None:
    """Go back to the models in the box: the user's configuration names no other."""
    set_for_user("encoder", None)
    set_for_user("writer", None)


def remove_model(settings: Settings, name: str) -> Installed:
    """Delete an imported model's folder, and its name from the user's configuration."""
    model = find_model(settings, name)
    if model.in_use and model.role is not None:
        set_for_user(model.role, None)
    if model.folder.is_symlink():
        model.folder.unlink()
    else:
        shutil.rmtree(model.folder)
    return model
