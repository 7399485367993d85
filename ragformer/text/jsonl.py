"""Reading data files: text plain or xz, and JSON Lines."""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ragformer.errors import InputError


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a UTF-8 file that are not blank, with their numbers from 1.

    A path ending in .xz is unpacked. Raises InputError if it is no such file.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}; check the path")
    packed = path.suffix == ".xz"
    try:
        with (
            lzma.open(path, "rt", encoding="utf-8") if packed else path.open(encoding="utf-8") as f
        ):
            for number, line in enumerate(f, 1):
                if line.strip():
                    yield number, line
    except (lzma.LZMAError, EOFError, UnicodeDecodeError) as error:
        wanted = "an xz file of UTF-8 text" if packed else "UTF-8 text"
        raise InputError(f"{path} is not {wanted}: {error}") from error


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a .jsonl or .jsonl.xz file, in order."""
    for number, line in read_lines(path):
        try:
            row = json.loads(line)
            if "\\ud" in line.lower():  # half a character would fail wherever it is first read
                json.dumps(row, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path} line {number} is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise InputError(f"{path} line {number} is not a JSON object but {line[:40].strip()}")
        yield row
