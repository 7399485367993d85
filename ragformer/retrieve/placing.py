"""Where an imported model is written: a folder that is there whole or not at all."""

from __future__ import annotations

import errno
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ragformer.config import load_settings
from ragformer.errors import InputError
from ragformer.nn.checkpoint import sync
from ragformer.store.files import disk_error

IN_THE_BOX = ("box", "encoder", "decoder")
"""What `models use` and `models info` call the models that came with the program."""
UNFINISHED = ".ragformer-import-"
"""Begins the name of a folder that is being written, or was when its process was killed."""
_A_DAY = 86_400.0
_MOST_BYTES = 100


def place_for(out: Path | None, name: str) -> Path:
    """The folder for an imported model: `out`, or one of this name in the home.

    Raises InputError for a name that is none, and where something is there already.
    """
    if out is None and not _is_plain(name):
        raise InputError(
            f"a model cannot be called {name[:_MOST_BYTES]!r}; give a plain name, by --name"
        )
    if out is None and name in IN_THE_BOX:
        raise InputError(f"{name!r} means a model in the box; give this one another name by --name")
    folder = load_settings().models_home / name if out is None else out
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise _taken(folder)
    return folder


def _is_plain(name: str) -> bool:
    """Whether it is a folder's name on any system, and one that can be typed."""
    if not name.isprintable() or name != name.strip() or name.startswith((".", "-")):
        return False
    return not set(name) & set("/\\:") and 0 < len(name.encode()) <= _MOST_BYTES


def _taken(folder: Path) -> InputError:
    return InputError(f"{folder} is there already; remove it, or write elsewhere with --out")


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """An empty folder that becomes `folder` once what is written into it is whole.

    Raises InputError where another import was quicker, StoreError where nothing can be written.
    """
    beside = folder.absolute().parent
    try:
        home = load_settings().home
        if beside.is_relative_to(home):
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside.mkdir(parents=True, exist_ok=True)
        for old in beside.glob(f"{UNFINISHED}*"):
            if time.time() - old.stat().st_mtime > _A_DAY:
                shutil.rmtree(old, ignore_errors=True)
        scratch = TemporaryDirectory(prefix=UNFINISHED, dir=beside, ignore_cleanup_errors=True)
    except OSError as error:
        raise disk_error(beside, error) from error
    with scratch:
        made = Path(scratch.name) / "model"
        try:
            made.mkdir()
            yield made
            for file in made.iterdir():
                sync(file)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise disk_error(beside, error) from error
            raise
        _give(made, folder)


def _give(made: Path, folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):  # the user may stand in it
        for file in sorted(made.iterdir(), key=lambda file: file.name == "config.json"):
            file.replace(folder / file.name)
        return
    try:
        made.rename(folder)
    except OSError as error:
        if folder.exists():
            raise _taken(folder) from error
        raise
