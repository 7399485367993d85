"""Which files are meant by the paths that somebody gives: folders walked, what is hidden or ignored
left out.

A `.ragformerignore` in a folder holds for what lies below it, as a `.gitignore` does; the nearest
one has the last word. Those of the folders above count too, so that a folder and a part of it
agree on what is left out. A file that is named itself is meant, whatever they say.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pathspec

from ragformer.errors import InputError
from ragformer.types import FileOutcome

IGNORE_FILE = ".ragformerignore"


@dataclass(frozen=True, slots=True)
class Found:
    """What a walk came to: the files to index, and the places that could not be looked into.

    folders: those that a link led to.
    """

    roots: tuple[Path, ...]
    files: tuple[Path, ...]
    problems: tuple[FileOutcome, ...]
    folders: tuple[Path, ...] = ()

    def refuse_empty(self, no_paths: bool, no_files: bool) -> None:
        """Raises InputError where no path was given, or none holds a PDF, unless that may be."""
        if not self.roots and not no_paths:
            raise InputError("there is nothing to index; give PDFs or folders of PDFs")
        if self.roots and not (self.files or self.problems or no_files):
            places = ", ".join(map(str, self.roots))
            raise InputError(f"there is no PDF in {places}; give a folder that holds some")


def find_files(paths: Iterable[Path]) -> Found:
    """The given files, and every *.pdf below the given folders that is not hidden or ignored.

    Links are followed, a folder is entered once, pipes and sockets are passed over. Raises
    InputError for a path that is not there or is neither a file nor a folder.
    """
    roots = tuple(dict.fromkeys(Path(os.path.abspath(path)) for path in paths))  # noqa: PTH100
    walk = _Walk()
    for root in roots:
        if not os.path.lexists(root):
            raise InputError(f"there is no file or folder {root}; check the path")
        if root.is_dir():
            walk.enter(root)
        elif root.is_file():
            walk.files[root] = None
        else:
            raise InputError(f"{root} is neither a file nor a folder; give PDFs or folders")
    return Found(roots, tuple(walk.files), tuple(walk.problems.values()), tuple(walk.linked))


def is_gone(path: Path) -> bool:
    """Whether there is certainly nothing at `path`; one that may not be looked at is not gone."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def place_left(known: Iterable[Path], path: Path) -> Path | None:
    """Where a file that is at `path` was before: one of its `known` paths where nothing is now.

    Of several, one with the same name, else one in the same folder; None if `path` is known.
    """
    known = list(known)
    if path in known:
        return None
    return min(
        (other for other in known if is_gone(other)),
        key=lambda other: (other.name != path.name, other.parent != path.parent, other),
        default=None,
    )


@dataclass(slots=True)
class _Walk:
    """Some folders being walked; `files` in the order they were come to."""

    files: dict[Path, None] = field(default_factory=dict)
    problems: dict[Path, FileOutcome] = field(default_factory=dict)
    linked: list[Path] = field(default_factory=list)
    _entered: set[tuple[int, int]] = field(default_factory=set)
    _ignoring: Ignoring = field(default_factory=lambda: Ignoring())

    def enter(self, root: Path) -> None:
        folders: list[Path] = [root]
        links: list[Path] = []
        while folders or links:
            # Links come last, so that a file is known by its real folder where both lead to it.
            folder, is_link = (folders.pop(), False) if folders else (links.pop(), True)
            try:
                below = self._look_into(folder)
            except OSError as error:
                self._cannot(folder, f"the folder cannot be opened: {error.strerror}")
            except InputError as error:
                self._cannot(folder, f"nothing in this folder was looked at: {error}")
            else:
                self.linked += [folder] * is_link
                for path in below:
                    (links if path.is_symlink() else folders).append(path)

    def _cannot(self, folder: Path, reason: str) -> None:
        self.problems[folder] = FileOutcome(folder, None, "failed", reason)

    def _look_into(self, folder: Path) -> list[Path]:
        """Note the files of a folder and return the folders in it; nothing the second time."""
        stat = folder.stat()
        entries = sorted(folder.iterdir(), reverse=True)
        if (stat.st_dev, stat.st_ino) in self._entered:
            return []
        folders, files = [], []
        for path in (entry for entry in entries if not entry.name.startswith(".")):
            # os.path says False where Path raises: a name too long, a loop of links.
            if os.path.isdir(path):  # noqa: PTH112
                if not self._ignoring.leaves_out(path, is_folder=True):
                    folders.append(path)
            elif path.suffix.lower() == ".pdf" and os.path.isfile(path):  # noqa: PTH113, SIM102
                if not self._ignoring.leaves_out(path):
                    files.append(path)
        self._entered.add((stat.st_dev, stat.st_ino))
        self.files.update(dict.fromkeys(files))
        return folders


class Ignoring:
    """The .ragformerignore files, each read once."""

    def __init__(self) -> None:
        self._rules: dict[Path, pathspec.GitIgnoreSpec | None] = {}

    def leaves_out(self, path: Path, is_folder: bool = False) -> bool:
        """Whether `path` itself is ignored; it says nothing of the folders it lies in.

        Raises InputError if a .ragformerignore above it cannot be used.
        """
        for folder in path.parents:
            if (rules := self._of(folder)) is not None:
                name = path.relative_to(folder).as_posix() + "/" * is_folder
                said = rules.check_file(name).include
                if said is not None:
                    return said
        return False

    def lost(self, path: Path, roots: Iterable[Path]) -> bool:
        """Whether a walk of these roots leaves out this file, or a folder it is in; of the roots
        themselves none does. Raises InputError as `leaves_out`."""
        under = [root for root in roots if path.is_relative_to(root)]
        return bool(under) and all(self._lost_below(root, path) for root in under)

    def _lost_below(self, root: Path, path: Path) -> bool:
        between = [folder for folder in path.parents if root in folder.parents]
        return path != root and (
            self.leaves_out(path) or any(self.leaves_out(f, is_folder=True) for f in between)
        )

    def _of(self, folder: Path) -> pathspec.GitIgnoreSpec | None:
        if folder not in self._rules:
            self._rules[folder] = _read_rules(folder / IGNORE_FILE)
        return self._rules[folder]


def _read_rules(file: Path) -> pathspec.GitIgnoreSpec | None:
    """The rules in a .ragformerignore; None where there is none. Raises InputError."""
    try:
        if not file.is_file():
            return None
        lines = os.fsdecode(file.read_bytes()).removeprefix("\ufeff").splitlines()
        return pathspec.GitIgnoreSpec.from_lines(lines)
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, re.error) as error:
        raise InputError(f"{file} has a line that is no pattern: {error}") from error
