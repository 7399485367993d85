"""What does indexing again cost when nothing, or one file, has changed?

The files are made here: PDFs of two pages, as small as they can be, so that what is timed is the
looking and not the reading.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ragformer.bench.machine import machine, median_of
from ragformer.library import open_library
from ragformer.types import Report

PAGES = 2


def run(n_files: int = 1000, repeats: int = 3) -> dict[str, Any]:
    """Index `n_files` made-up PDFs, then again unchanged and with one edited, `repeats` times.

    Seconds are wall time from opening the collection to the Report, the walk included.
    """
    with TemporaryDirectory(prefix="ragformer-bench-") as name:
        docs, home = Path(name) / "docs", Path(name) / "home"
        write_pdfs(docs, range(n_files))
        first = _index(docs, home)
        unchanged, edited = [], []
        for repeat in range(1, repeats + 1):
            unchanged.append(_index(docs, home))
            (docs / "000" / "report-00000.pdf").write_bytes(small_pdf(0, repeat))
            edited.append(_index(docs, home))
    return {
        "suite": "rerun",
        "machine": machine(),
        "files": n_files,
        "repeats": repeats,
        "first": _figures([first]),
        "unchanged": _figures(unchanged),
        "one edited": _figures(edited),
    }


def write_pdfs(folder: Path, numbers: Iterable[int]) -> None:
    """A `small_pdf` for each number, a hundred to a folder."""
    for number in numbers:
        path = folder / f"{number // 100:03}" / f"report-{number:05}.pdf"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(small_pdf(number, 0))
        os.utime(path, (0, 0))  # one changed just now is looked at again by the next run


def _index(docs: Path, home: Path) -> tuple[float, Report]:
    start = time.perf_counter()
    with open_library(home=home) as library:
        *_, report = library.index([docs])
    assert isinstance(report, Report)
    return time.perf_counter() - start, report


def _figures(runs: list[tuple[float, Report]]) -> dict[str, Any]:
    """The median time, and what the runs did: each the same."""
    _, report = runs[-1]
    statuses = [outcome.status for outcome in report.files]
    return {
        "seconds": median_of([seconds for seconds, _ in runs]),
        "pages_read": report.pages_read,
        "chunks_embedded": report.chunks_embedded,
        "files": {status: statuses.count(status) for status in sorted(set(statuses))},
    }


def small_pdf(number: int, edition: int) -> bytes:
    """A valid PDF of PAGES pages, each with a few lines that name `number` and `edition`."""
    pages = " ".join(f"{4 + 2 * n} 0 R" for n in range(PAGES))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{pages}] /Count {PAGES} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for page in range(PAGES):
        lines = [
            f"({number} made {number * 7 + line} parts in week {line + page} of {edition}.) Tj T*"
            for line in range(12)
        ]
        text = "BT /F 12 Tf 14 TL 60 700 Td " + " ".join(lines) + " ET"
        objects.append(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800]"
            f" /Resources << /Font << /F 3 0 R >> >> /Contents {5 + 2 * page} 0 R >>"
        )
        objects.append(f"<< /Length {len(text)} >> stream\n{text}\nendstream")
    body, places = "%PDF-1.4\n", []
    for n, content in enumerate(objects, start=1):
        places.append(len(body))
        body += f"{n} 0 obj {content} endobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    size = len(objects) + 1
    end = f"trailer << /Size {size} /Root 1 0 R >>\nstartxref\n{len(body)}\n%%EOF\n"
    return (body + f"xref\n0 {size}\n0000000000 65535 f \n{table}" + end).encode("ascii")
