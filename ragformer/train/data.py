"""The training files: JSON Lines, plain or xz."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ragformer.errors import InputError
from ragformer.text.jsonl import read_jsonl


def jsonl_files(folder: Path) -> list[Path]:
    """The .jsonl and .jsonl.xz files right in `folder`, sorted by name."""
    files = sorted([*folder.glob("*.jsonl"), *folder.glob("*.jsonl.xz")])
    if not files:
        raise InputError(f"{folder} holds no .jsonl or .jsonl.xz file")
    return files


def read_rows(path: Path, *fields: str) -> Iterator[dict[str, Any]]:
    """The rows of a data file; InputError for the first that lacks one of `fields`."""
    for number, row in enumerate(read_jsonl(path), 1):
        if missing := [field for field in fields if field not in row]:
            raise InputError(f"{path} row {number} has no {' and no '.join(missing)}")
        yield row
