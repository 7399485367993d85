"""Chunks are embedded in threads of our own: each row in its place, whoever is first."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_documents import make

from ragformer.retrieve import embed_chunks
from ragformer.retrieve.embed_chunks import Embedding, embedding_threads
from ragformer.store.drafts import DraftVectors
from ragformer.store.store import Store

CHUNKS = make("a.pdf", [f"page {n}" for n in range(7)]).chunks
Vectors = np.ndarray[Any, np.dtype[np.float32]]


class Numbering:
    """An encoder whose vector is the page's number; it fails when told to."""

    id = "numbering"

    def __init__(self) -> None:
        self.embedded: list[str] = []
        self.fails = False

    def encode(self, texts: Sequence[str]) -> Vectors:
        if self.fails:
            raise MemoryError
        self.embedded += texts
        numbers = [[float(text.split()[-1])] for text in texts]
        return np.array(numbers, dtype=np.float32).reshape(len(texts), 1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "collection", create=True) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _two_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed_chunks, "EMBED_AT_ONCE", 2)


def begin(encoder: Any, journal: DraftVectors | None = None, n: int = 7) -> Embedding:
    threads = embedding_threads()
    embedding = Embedding(threads, encoder, "a", CHUNKS[:n], journal)
    threads.shutdown()
    return embedding


def test_every_chunk_has_its_row() -> None:
    embedding = begin(Numbering())
    taken = []
    while embedding.n_left:
        assert embedding.is_ready
        last, n_embedded = embedding.take()
        taken.append((last.ordinal, n_embedded))
    assert taken == [(1, 2), (3, 2), (5, 2), (6, 1)]
    assert embedding.vectors().tolist() == [[n] for n in range(7)]
    assert begin(Numbering(), n=0).vectors().shape == (0, 1)


def test_what_a_thread_raises_comes_when_its_batch_is_taken() -> None:
    encoder = Numbering()
    encoder.fails = True
    embedding = begin(encoder)
    with pytest.raises(MemoryError):
        embedding.take()


def test_what_the_journal_keeps_is_not_embedded_again(store: Store) -> None:
    journal = DraftVectors(store, "key", "numbering")
    cut_off = begin(Numbering(), journal)
    cut_off.take()
    encoder = Numbering()
    again = begin(encoder, DraftVectors(store, "key", "numbering"))
    assert [again.take()[1] for _ in range(4)] == [0, 2, 2, 1]
    assert sorted(text.split()[-1] for text in encoder.embedded) == list("23456")
    assert again.vectors().tolist() == [[n] for n in range(7)]


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU needs one thread")
def test_each_thread_computes_alone_and_the_others_as_before() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        threads = embedding_threads()
        meet = threading.Barrier(3)

        def count() -> int:
            meet.wait(timeout=20)  # so that no thread is asked twice
            return torch.get_num_threads()

        found = [threads.submit(count) for _ in range(3)]
        assert [future.result() for future in found] == [1, 1, 1]
        threads.shutdown()
        elsewhere: list[int] = []
        other = threading.Thread(target=lambda: elsewhere.append(torch.get_num_threads()))
        other.start()
        other.join()
        assert (torch.get_num_threads(), elsewhere) == (3, [3])
    finally:
        torch.set_num_threads(before)
