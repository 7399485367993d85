"""The training files: JSON Lines, plain or xz."""

from __future__ import annotations

from pathlib import Path

from ragformer.errors import InputError
from ragformer.text.jsonl import read_jsonl

__all__ = ["jsonl_files", "read_jsonl"]


def jsonl_files(folder: Path) -> list[Path]:
    """The .jsonl and .jsonl.xz files right in `folder`, sorted by name."""
    files = sorted([*folder.glob("*.jsonl"), *folder.glob("*.jsonl.xz")])
    if not files:
        raise InputError(f"{folder} holds no .jsonl or .jsonl.xz file")
    return files
