"""How fast is indexing, and where does the time go?

The rates come from `Library.index` as users run it, reading ahead in child processes; the shares
from the same stages one after another, with one reader.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ragformer.bench.machine import machine, median_of
from ragformer.errors import InputError, PdfError
from ragformer.library import open_library
from ragformer.pdf.chunk import split_pages
from ragformer.pdf.read import read_pdfs
from ragformer.retrieve.embed import Encoder
from ragformer.retrieve.embed_chunks import embed
from ragformer.store.store import Store
from ragformer.types import Document, Report
from ragformer.walk import find_files


def run(folder: Path, limit: int | None = None, repeats: int = 3) -> dict[str, Any]:
    """Index the PDFs of a folder `repeats` times into a store of its own, thrown away.

    limit: how many of the files, in order. Seconds are wall time without loading the models.
    """
    files = find_files([folder]).files[:limit]
    if not files:
        raise InputError(f"there is no PDF in {folder}; give a folder that holds some")
    reports, stages = [], []
    for _ in range(repeats):
        with TemporaryDirectory(prefix="ragformer-bench-") as home:
            report, encoder = _index(files, Path(home))
            reports.append(report)
        stages.append(time_stages(files, encoder))
    return {
        "suite": "index",
        "machine": machine(),
        "encoder": encoder.id,
        "files": len(files),
        "files_failed": sum(outcome.status == "failed" for outcome in reports[0].files),
        "pages": reports[0].pages_read,
        "chunks": reports[0].chunks_embedded,
        "repeats": repeats,
        "seconds": median_of([report.seconds for report in reports]),
        "pages_per_second": median_of([r.pages_read / r.seconds for r in reports]),
        "chunks_per_second": median_of([r.chunks_embedded / r.seconds for r in reports]),
        "share": {
            name: median_of([s.seconds[name] / sum(s.seconds.values()) for s in stages])
            for name in stages[0].seconds
        },
        "perfect_overlap_seconds": median_of([s.overlapped for s in stages]),
    }


def _index(files: Sequence[Path], home: Path) -> tuple[Report, Encoder]:
    with open_library(home=home) as library:
        encoder = library.encoder  # loaded before the clock starts
        *_, report = library.index(files)
    assert isinstance(report, Report)
    return report, encoder


@dataclass(slots=True)
class Stages:
    """Seconds each stage has taken so far."""

    seconds: dict[str, float] = field(
        default_factory=lambda: {"read": 0.0, "chunk": 0.0, "embed": 0.0, "store": 0.0}
    )
    _since: float = field(default_factory=time.perf_counter)

    @property
    def overlapped(self) -> float:
        """Seconds it would take were none of the three waited for, on cores of their own: the
        longest of reading, embedding, and cutting and storing."""
        rest = self.seconds["chunk"] + self.seconds["store"]
        return max(self.seconds["read"], self.seconds["embed"], rest)

    def end(self, stage: str) -> None:
        """The time since the last call was spent in this stage."""
        now = time.perf_counter()
        self.seconds[stage] += now - self._since
        self._since = now


def time_stages(files: Sequence[Path], encoder: Encoder) -> Stages:
    """Read, cut, embed and store the files one after another; a bad file costs reading only."""
    with (
        TemporaryDirectory(prefix="ragformer-bench-") as folder,
        Store.open(Path(folder), create=True) as store,
    ):
        stages = Stages()
        for path in files:
            ((_, text),) = read_pdfs([path], workers=1)
            stages.end("read")
            if isinstance(text, PdfError):
                continue
            chunks = split_pages(text, encoder.tokenizer.count)
            stages.end("chunk")
            vectors_ND = embed(encoder, text.title, chunks)
            stages.end("embed")
            document = Document(str(path), text.title, (path,), len(text.pages), datetime.now(UTC))
            store.add_document(document, text.pages, chunks, vectors_ND, encoder.id, text.outline)
            stages.end("store")
        return stages
