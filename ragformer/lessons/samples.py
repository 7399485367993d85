"""The sample documents of this repository, and questions about them whose answers are known."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ragformer.errors import NotFoundError
from ragformer.eval.cases import PdfCase, read_pdfqa
from ragformer.library import Library, open_library
from ragformer.types import Passage

SAMPLES = Path(__file__).parents[2] / "tests" / "samples"


@contextmanager
def sample_library(*files: str) -> Iterator[tuple[Library, list[PdfCase]]]:
    """A library of the sample PDFs, thrown away afterwards, and its answerable questions.

    files: only these. NotFoundError where the program came without the samples.
    """
    if not SAMPLES.is_dir():
        raise NotFoundError(
            f"there are no sample documents in {SAMPLES}; this lesson runs in a checkout of the "
            "repository, where they are"
        )
    paths = [SAMPLES / "pdfs" / file for file in files] or [SAMPLES / "pdfs"]
    with TemporaryDirectory(prefix="ragformer-lesson-") as home, open_library(home=home) as library:
        for _ in library.index(paths):
            pass
        there = {document.path.name for document in library.store.documents()}
        cases = [case for case in read_pdfqa(SAMPLES) if case.tier == "core" and case.pdf in there]
        yield library, cases


def found(library: Library, case: PdfCase, k: int) -> tuple[Passage, list[Passage]] | None:
    """Of the k passages that search brings the first that holds the answer on a right page, and
    those that do not hold it; None where none does."""
    passages = library.search(case.question, k=k)
    holds = [any(gold.lower() in p.text.lower() for gold in case.golds) for p in passages]
    right = [
        passage
        for passage, does in zip(passages, holds, strict=True)
        if does
        and passage.document.path.name == case.pdf
        and any(span.page in case.pages for span in passage.spans)
    ]
    others = [passage for passage, does in zip(passages, holds, strict=True) if not does]
    return (right[0], others) if right else None
