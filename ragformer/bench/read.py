"""How fast are PDFs parsed? Ours, with word boxes and order, beside pypdf's plain extract_text.

Both run on one core in turns: ours as indexing runs it, its child process and what the parent does
with its answer included; pypdf without a fence, in this process.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pypdf

from ragformer.bench.machine import machine, median_of
from ragformer.errors import InputError
from ragformer.pdf.pages import DAMAGE
from ragformer.pdf.read import PdfText, read_pdfs
from ragformer.walk import find_files


def run(folder: Path, limit: int | None = None, repeats: int = 3) -> dict[str, Any]:
    """Pages a second of each over the PDFs of a folder that both can read.

    limit: how many of the files, in order. times_pypdf: how many times as fast ours is, run by run.
    one_core: whether this system let us keep everything to one.
    """
    files = _readable(find_files([folder]).files[:limit])
    if not files:
        raise InputError(f"there is no PDF that can be read in {folder}; give a folder with some")
    with _one_core() as alone:
        seconds = [(_time(_read_ours, files), _time(_read_pypdf, files)) for _ in range(repeats)]
    n_pages = _read_ours(files)
    return {
        "suite": "read",
        "machine": machine(),
        "files": len(files),
        "pages": n_pages,
        "one_core": alone,
        "repeats": repeats,
        "pages_per_second": median_of([n_pages / ours for ours, _ in seconds]),
        "pypdf_pages_per_second": median_of([n_pages / peer for _, peer in seconds]),
        "times_pypdf": median_of([peer / ours for ours, peer in seconds]),
    }


def _readable(files: Sequence[Path]) -> list[Path]:
    """Those that ours reads by pdfium and pypdf to the end: the same work for both."""
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    found = []
    for path, text in read_pdfs(files, workers=1):
        if isinstance(text, PdfText) and text.reader == "pdfium":
            with suppress(*DAMAGE):
                _read_pypdf([path])
                found.append(path)
    return sorted(found)


def _time(read: Callable[[Sequence[Path]], int], files: Sequence[Path]) -> float:
    start = time.perf_counter()
    read(files)
    return time.perf_counter() - start


def _read_ours(files: Sequence[Path]) -> int:
    texts = (text for _, text in read_pdfs(files, workers=1))
    return sum(len(text.pages) for text in texts if isinstance(text, PdfText))


def _read_pypdf(files: Sequence[Path]) -> int:
    n_pages = 0
    for path in files:
        for page in pypdf.PdfReader(path).pages:
            page.extract_text()
            n_pages += 1
    return n_pages


@contextmanager
def _one_core() -> Iterator[bool]:
    """Keep this process and its children to one core, where the system can."""
    if not hasattr(os, "sched_setaffinity"):
        yield False
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield True
    finally:
        os.sched_setaffinity(0, before)
