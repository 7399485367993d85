"""Texts of small PDFs and what is said of an indexing run, for the tests of the library."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ragformer.library import Library
from ragformer.types import Report

WritePdf = Callable[..., Path]
Index = Callable[..., Report]
CATS = "The cat sleeps eighteen hours a day and hunts at night near the river."
TAX = "Annual tax returns are due on 31 October at the district office."
BEES = "Bees dance to tell each other where the flowers are."


def statuses(report: Report) -> dict[str, str]:
    return {outcome.path.name: outcome.status for outcome in report.files}


def snapshot(library: Library) -> object:
    """All that a collection holds, but for row ids and times."""
    store = library.store
    return (
        [(d.id, d.title, d.paths, d.n_pages, store.chunks(d.id)) for d in store.documents()],
        store.failures(),
        store.encoders(),
    )
