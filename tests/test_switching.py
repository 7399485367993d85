"""Changing the encoder or the chunker: from stored text, and at every moment one encoder serves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from killing import Job, MadeUpLibrary, read_text

from ragformer import indexing
from ragformer.retrieve import embed_chunks
from ragformer.store.store import Store
from ragformer.types import Report

OLD, NEW = "0123456789ab", "ba9876543210"


@pytest.fixture
def docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files for the made-up reader, which counts as the real one here."""
    monkeypatch.setattr(indexing, "follow_pdfs", read_text)
    monkeypatch.setattr(embed_chunks, "EMBED_AT_ONCE", 2)
    folder = tmp_path / "docs"
    folder.mkdir()
    for n in range(4):
        pages = [f"Report {n}, page {page}, on cats. " + "They sleep. " * 40 for page in range(3)]
        (folder / f"{n}.pdf").write_text("\f".join(pages))
    return folder


def opened(docs: Path, encoder: str) -> MadeUpLibrary:
    return MadeUpLibrary(Job(str(docs.parent / "home"), str(docs), encoder=encoder))


@pytest.fixture
def collection(docs: Path) -> Iterator[MadeUpLibrary]:
    """The files, indexed with the old encoder."""
    with opened(docs, OLD) as library:
        *_, report = library.index([docs])
        assert isinstance(report, Report)
        assert report.pages_read == 12
        yield library


def serving(library: MadeUpLibrary) -> set[str]:
    """The encoders with a vector of every chunk."""
    return {key for key in (OLD, NEW) if not library.store.chunks_without_vectors(key, 1)}


@pytest.mark.parametrize("rechunk", [False, True])
def test_the_old_vectors_serve_until_the_new_ones_are_complete(
    collection: MadeUpLibrary, docs: Path, monkeypatch: pytest.MonkeyPatch, rechunk: bool
) -> None:
    if rechunk:  # as after an upgrade that came with another chunker, too
        monkeypatch.setattr(indexing, "CHUNK_VERSION", indexing.CHUNK_VERSION + 1)
    served = []
    with opened(docs, NEW) as newer:
        for step in newer.index([docs], reembed=True):
            served.append(serving(collection))
            if isinstance(step, Report):
                assert step.pages_read == 0
        assert served.count({OLD}) > 3
        switched = served.index({NEW})
        assert all(OLD in seen for seen in served[:switched])
        assert all(NEW in seen for seen in served[switched:])
        assert newer.store.encoders() == {NEW: len(newer.store.chunk_ids())}
        assert newer.store.outdated("chunk", indexing.CHUNK_VERSION) == set()
        assert newer.store.check() == []


def test_a_switch_that_was_cut_off_goes_on_where_it_was(
    collection: MadeUpLibrary, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_chunks = len(collection.store.chunk_ids())
    with opened(docs, NEW) as newer:
        done = 0
        for _ in range(3):
            steps = newer.index([docs], reembed=True)
            for step in steps:
                if step.chunks_embedded:
                    break
            steps.close()  # type: ignore[attr-defined]
            assert serving(collection) == {OLD}
            assert newer.store.encoders()[NEW] > done  # nothing twice
            done = newer.store.encoders()[NEW]
        with monkeypatch.context() as patch:
            patch.setattr(Store, "drop_vectors_except", cut_off)
            with pytest.raises(KeyboardInterrupt):
                list(newer.index([docs], reembed=True))
        assert serving(collection) == {OLD, NEW}
        *_, report = newer.index([docs], reembed=True)
        assert isinstance(report, Report)
        assert (report.chunks_embedded, newer.store.encoders()) == (0, {NEW: n_chunks})


def cut_off(*_: object) -> None:
    raise KeyboardInterrupt
