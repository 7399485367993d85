"""Which files `--in` means: an exact name before a folder, a folder before a pattern."""

from __future__ import annotations

import dataclasses
import os
import unicodedata
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from ragformer.types import Document


def match_paths(paths: Iterable[Path], within: Sequence[str]) -> set[Path]:
    """The `paths` that any item of `within` names.

    An item names a whole path or its last parts ("a.pdf", "2024/a.pdf"). If no file has that
    name, it names everything below a folder; if there is no such folder either, it is a pattern
    ("2024/*.pdf"; * and ? stay within one part, ** spans any number of them).
    """
    parts_of = {path: _parts(path) for path in paths}
    found: set[Path] = set()
    for item in within:
        wanted = _parts(Path(item))
        if not wanted:
            continue
        for matches in (_is_file, _is_below, _fits):
            named = {path for path, parts in parts_of.items() if matches(parts, wanted)}
            if named:
                found |= named
                break
    return found


def named_first(document: Document, named: set[Path]) -> Document:
    """The document, its paths sorted with the `named` ones before the others."""
    paths = sorted(document.paths, key=lambda path: (path not in named, path))
    return dataclasses.replace(document, paths=tuple(paths))


def without_up(name: str) -> str:
    """A name that leads up (../x) as an absolute path: no stored path has a ".."."""
    return os.path.abspath(name) if ".." in Path(name).parts else name  # noqa: PTH100


def _parts(path: Path) -> tuple[str, ...]:
    """A path's parts in the form in which two spellings of one name are equal."""
    return tuple(unicodedata.normalize("NFC", os.path.normcase(part)) for part in path.parts)


def _is_absolute(wanted: tuple[str, ...]) -> bool:
    return Path(wanted[0]).is_absolute()


def _is_file(parts: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    return parts == wanted if _is_absolute(wanted) else parts[-len(wanted) :] == wanted


def _is_below(parts: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    last_start = 0 if _is_absolute(wanted) else len(parts) - len(wanted) - 1
    starts = range(last_start + 1)
    return any(
        parts[start : start + len(wanted)] == wanted and start + len(wanted) < len(parts)
        for start in starts
    )


def _fits(parts: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    return _glob(parts, wanted if _is_absolute(wanted) else ("**", *wanted))


def _glob(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Whole-path match, part by part; linear in len(parts) * len(pattern)."""
    reached = {0}  # how many parts the pattern so far may have used up
    for piece in pattern:
        if piece == "**":
            reached = set(range(min(reached), len(parts) + 1)) if reached else set()
        else:
            reached = {n + 1 for n in reached if n < len(parts) and fnmatchcase(parts[n], piece)}
    return len(parts) in reached
