"""Text to learn from that every machine with Python has, or that of the reader's own files."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy
import torch
from torch import Tensor

from ragformer.errors import InputError, NotFoundError

_LEAST = 20_000  # characters; of less nothing can be learned


def paragraphs(data: Path | None, docstrings: bool = False) -> list[str]:
    """Paragraphs of the .txt files in `data`, in order of their names; without one Python's manual.

    docstrings: with the manual those of numpy and torch, ten times as much.
    No paragraph comes twice. InputError for a folder that holds too little.
    """
    if data is not None:
        texts = (path.read_text("utf-8", "replace") for path in sorted(data.glob("*.txt")))
        found = _paragraphs(texts)
        if (n := sum(map(len, found))) < _LEAST:
            raise InputError(
                f"the .txt files in {data} hold {n:,} characters; give at least {_LEAST:,}"
            )
        return found
    return _paragraphs([*_manual(), *(_docstrings() if docstrings else ())])


def _paragraphs(texts: Iterator[str] | list[str]) -> list[str]:
    """What stands between empty lines, each once and on one line, in printable ASCII."""
    lines = (" ".join(part.split()) for text in texts for part in text.split("\n\n"))
    clean = ("".join(c for c in line if " " <= c <= "~") for line in lines)
    return list(dict.fromkeys(line for line in clean if line))


def _manual() -> list[str]:
    """The chapters of the language reference that `help()` shows."""
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise NotFoundError(
            "this Python comes without its manual (pydoc_data); give a folder of texts with --data"
        ) from error
    return list(topics.values())


def _docstrings() -> list[str]:
    """What the functions and classes of numpy and torch say about themselves."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # to look at an old name is to be warned of it
        found = [list(_documented(owner, owner.__name__, depth=2)) for owner in (numpy, torch)]
    return [text for texts in found for text in texts]


def _documented(owner: object, package: str, depth: int) -> Iterator[str]:
    for name in sorted(vars(owner)):
        if name.startswith("_"):
            continue
        value = vars(owner)[name]
        if callable(value) and isinstance(value.__doc__, str):
            yield value.__doc__
        inner = inspect.ismodule(value) and value.__name__.startswith(package)
        if depth and (inner or inspect.isclass(value)):
            yield from _documented(value, package, depth - 1)


PAD = 0


class Numbers:
    """A number for every piece of some texts, from `first` on; any other piece gets first - 1."""

    def __init__(self, texts: Iterable[Sequence[str]], first: int) -> None:
        found = sorted({piece for text in texts for piece in text})
        self.ids, self.first = {piece: i for i, piece in enumerate(found, first)}, first

    def __len__(self) -> int:
        return self.first + len(self.ids)

    def row(self, text: Sequence[str]) -> list[int]:
        return [self.ids.get(piece, self.first - 1) for piece in text]


def padded(rows: Sequence[list[int]]) -> Tensor:
    """ids [B, T], PAD behind the shorter rows."""
    longest = max(map(len, rows))
    return torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])
