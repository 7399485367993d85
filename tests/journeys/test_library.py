"""The same journey through the library: no work twice, none lost, and quotes that re-read."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ragformer import Answer, Library, Report, open_library

SAMPLES = Path(__file__).parents[1] / "samples"
PDFS = SAMPLES / "pdfs"
DONE = 2
INDEX_AND_DIE = f"""
import os, signal, sys
from ragformer import open_library
for step in open_library("killed").index([sys.argv[1]], workers=1):
    if step.files_done == {DONE}:
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def library(home: Path) -> Iterator[Library]:
    with open_library() as opened:
        yield opened


def index(library: Library) -> Report:
    *_, report = library.index([PDFS], workers=1)
    assert isinstance(report, Report)
    return report


def content(library: Library) -> object:
    """All that a collection holds, but for row ids and times."""
    store = library.store
    documents = [
        (d.id, d.title, d.paths, [*store.pages(d.id)], store.chunks(d.id), store.outline(d.id))
        for d in store.documents()
    ]
    return documents, store.failures(), store.encoders()


def test_every_answer_re_reads_from_the_store(library: Library) -> None:
    index(library)
    lines = (SAMPLES / "questions.jsonl").read_text("utf-8").splitlines()
    answered = 0
    for line in lines:
        *pieces, answer = library.stream(json.loads(line)["question"])
        assert isinstance(answer, Answer)
        assert "".join(map(str, pieces)) == answer.text
        answered += not answer.abstained
        for citation in answer.citations:
            page = library.store.page(citation.document_id, citation.page)
            assert page.text[citation.span.start : citation.span.end] == citation.quote
            assert citation.verified
            assert citation.path == PDFS / citation.path.name
    assert answered == len(lines)  # the untrained weights decline nothing


def test_a_second_run_reads_no_page_and_embeds_no_chunk(library: Library) -> None:
    first = index(library)
    assert {outcome.status for outcome in first.files} == {"added"}
    assert first.pages_read == sum(d.n_pages for d in library.store.documents())
    assert first.chunks_embedded == len(library.store.chunk_ids())
    before = content(library)
    second = index(library)
    assert {outcome.status for outcome in second.files} == {"unchanged"}
    assert (second.pages_read, second.chunks_embedded) == (0, 0)
    assert content(library) == before


def test_a_run_left_halfway_is_taken_up_again(library: Library) -> None:
    steps = library.index([PDFS], workers=1)
    for step in steps:
        assert not isinstance(step, Report)
        if step.files_done == DONE:
            break
    steps.close()  # type: ignore[attr-defined]
    _finishes(library)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system cannot kill outright")
def test_a_run_killed_halfway_is_taken_up_again(home: Path) -> None:
    ran = subprocess.run([sys.executable, "-c", INDEX_AND_DIE, PDFS], check=False)
    assert ran.returncode == -signal.SIGKILL
    with open_library("killed") as killed:
        _finishes(killed)


def _finishes(broken: Library) -> None:
    """Running it to the end does only what is left, and leaves what one whole run leaves."""
    done = broken.store.documents()
    assert len(done) >= DONE
    report = index(broken)
    statuses = [outcome.status for outcome in report.files]
    assert (statuses.count("unchanged"), set(statuses)) == (len(done), {"added", "unchanged"})
    with open_library("undisturbed") as whole:
        everything = index(whole)
        assert report.pages_read == everything.pages_read - sum(d.n_pages for d in done)
        assert content(broken) == content(whole)
    assert broken.store.check() == []
