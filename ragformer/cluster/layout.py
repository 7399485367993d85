"""Where the shards of a collection lie, and which of them a document belongs to.

collections/NAME/shards.json             how many there are; fixed for good
collections/NAME/shards/00000/store.db   each an ordinary store
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from ragformer.errors import InputError, StoreError
from ragformer.store.files import DATABASE, disk_error, keep_names

LABEL = "shards.json"
_SHARDS = "shards"
MOST = 10_000
_FORMAT = 1


def is_sharded(folder: Path) -> bool:
    """Whether the collection in `folder` is kept in shards, even if their label was lost."""
    return (folder / LABEL).is_file() or (folder / _SHARDS).is_dir()


def refuse_shards(folder: Path) -> None:
    """Raises InputError where the collection in `folder` is kept in shards."""
    if is_sharded(folder):
        raise InputError(
            f"collection {folder.name} is kept in shards: index with --engine ray, "
            "or into another collection with -c"
        )


def count_shards(folder: Path) -> int:
    """How many shards the collection in `folder` has; raises StoreError if that is unreadable."""
    file = folder / LABEL
    try:
        told = json.loads(file.read_text("utf-8"))
        form, n = told["format"], told["shards"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise StoreError(
            f"{file} does not say how many shards the collection has ({error}); "
            "put it back, or move the folder away and index the files again"
        ) from error
    if form != _FORMAT or not isinstance(n, int) or not 1 <= n <= MOST:
        raise StoreError(
            f"{file} is of format {form} with {n} shards, and this ragformer reads format "
            f"{_FORMAT} with up to {MOST}; upgrade ragformer to open it"
        )
    return n


def make_shards(folder: Path, n: int | None, usual: int) -> int:
    """Make the collection in `folder` one of n shards, `usual` where None, and return how many.

    Nothing happens where it is one already. Raises InputError where it is one of another number, or
    an ordinary store.
    """
    if is_sharded(folder):
        held = count_shards(folder)
        if n not in (None, held):
            raise InputError(
                f"the collection in {folder} has {held} shards, not {n}; "
                "leave --shards out, or index into another collection with -c"
            )
        return held
    if (folder / DATABASE).exists():
        raise InputError(
            f"the collection in {folder} is one store, which cannot become shards; "
            "index the files into another collection with -c, or without --engine ray"
        )
    n = n or usual
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        scratch = folder / f"{LABEL}.partial"
        with scratch.open("w", encoding="utf-8") as file:
            json.dump({"format": _FORMAT, "shards": n}, file)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(folder / LABEL)
        keep_names(folder)
    except OSError as error:
        raise disk_error(folder, error) from error
    return n


def shard_folder(folder: Path, number: int) -> Path:
    """number: from 0."""
    return folder / _SHARDS / f"{number:05d}"


def shard_of(document_id: str, n: int) -> int:
    """The shard, from 0, that the document with this sha256 belongs to."""
    return int(document_id[:15], 16) % n
