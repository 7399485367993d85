"""How far the pages of an indexing run have come."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ragformer.pdf.read import PagesRead


@dataclass(slots=True)
class RunPages:
    """Pages of a run: `read` have come from the readers, `done` are embedded too.

    stored: those of stored documents that are worked on. n_files: how many files are to be read.
    """

    read: int = 0
    done: int = 0
    stored: int = 0
    n_files: int = 0
    _in_files: int = 0
    _opened: dict[Path, PagesRead] = field(default_factory=dict)

    def come_to(self, path: Path, at: PagesRead) -> None:
        before = self._opened.get(path, PagesRead(0, 0))
        self._opened[path] = at
        self.read += at.n - before.n
        self._in_files += at.n_pages - before.n_pages

    @property
    def total(self) -> int:
        """All there are to do; a file not open yet has as many as the others on average."""
        return self.stored + self._in_files * self.n_files // max(1, len(self._opened))
