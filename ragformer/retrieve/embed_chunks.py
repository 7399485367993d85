"""Embed the chunks of documents: of one on its way into the store, or of what is stored.

    chunks -> EMBED_AT_ONCE -> a thread for each that torch would use -> vectors, in order

The threads are our own, so that the next document is cut and the last one stored meanwhile. On a
CPU each computes its chunks alone: the products of so small a model are over before it pays to
share them.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from ragformer.store.drafts import DraftVectors
from ragformer.store.store import Store
from ragformer.types import Chunk

if TYPE_CHECKING:
    from ragformer.retrieve.embed import Encoder, Vectors

EMBED_AT_ONCE = 64  # chunks between two steps of progress: a few batches of the encoder
AHEAD = 2 * (os.cpu_count() or 1)  # times EMBED_AT_ONCE that may wait for a thread


def embed(encoder: Encoder, title: str, chunks: Sequence[Chunk]) -> Vectors:
    """Row i is the vector of chunks[i], read with its title and headings."""
    from ragformer.retrieve.embed import passage_text

    return encoder.encode([passage_text(title, c.heading_path, c.text) for c in chunks])


def reembed(store: Store, encoder: Encoder) -> Iterator[int]:
    """Embed the chunks that `chunks_to_embed` names; yields the number of chunks of each step.

    A vector gives way only to a newer one, and those of other encoders go at the end, so that the
    collection can be asked meanwhile.
    """
    yield from embed_stored(store, encoder, chunks_to_embed(store, encoder.id))
    store.drop_vectors_except(encoder.id)


def embed_stored(store: Store, encoder: Encoder, due: Sequence[int]) -> Iterator[int]:
    """Embed the chunks with these ids and yield how many at each step; others' vectors stay."""
    from ragformer.retrieve.embed import passage_text

    waiting: deque[tuple[list[int], Future[Vectors]]] = deque()
    with embedding_threads() as threads:
        for start in range(0, len(due), EMBED_AT_ONCE):
            passages = store.passages([(key, 0.0) for key in due[start : start + EMBED_AT_ONCE]])
            texts = [passage_text(p.document.title, p.heading_path, p.text) for p in passages]
            ids = [passage.chunk_id for passage in passages]
            waiting.append((ids, threads.submit(encoder.encode, texts)))
            while len(waiting) > AHEAD or (waiting and start + EMBED_AT_ONCE >= len(due)):
                ids, rows = waiting.popleft()
                store.set_vectors(encoder.id, ids, rows.result())
                yield len(ids)


def chunks_to_embed(store: Store, encoder_id: str) -> list[int]:
    """Ids of the chunks without a vector of this encoder, or of all if none is without.

    None, where other encoders' vectors are left beside a whole set: a run that changed encoders
    was cut off just before its end.
    """
    if missing := store.chunks_without_vectors(encoder_id):
        return missing
    return [] if store.encoders().keys() - {encoder_id} else store.chunk_ids().tolist()


def embedding_threads() -> ThreadPoolExecutor:
    """As many as torch computes with, each of which computes alone; one beside a GPU."""
    import torch

    from ragformer.nn.device import pick_device

    if pick_device().type == "cuda":
        return ThreadPoolExecutor(1)
    n = torch.get_num_threads()
    all_here = threading.Barrier(n + 1)

    def compute_alone() -> None:
        torch.set_num_threads(1)
        torch.get_num_threads()  # a thread takes the number over when it is first asked for it
        all_here.wait()

    threads = ThreadPoolExecutor(n, initializer=compute_alone)
    for _ in range(n):
        threads.submit(int)
    all_here.wait()
    torch.set_num_threads(n)  # what they set holds for threads that are yet to come, too
    return threads


class Embedding:
    """The chunks of one document on their way to vectors, a batch of them at a time.

    journal: where vectors are looked for first, and kept when a batch is taken.
    """

    def __init__(
        self,
        threads: ThreadPoolExecutor,
        encoder: Encoder,
        title: str,
        chunks: Sequence[Chunk],
        journal: DraftVectors | None,
    ) -> None:
        self._encoder, self._title, self._journal = encoder, title, journal
        self._rows: list[Vectors] = []
        self._waiting: deque[tuple[Sequence[Chunk], Vectors | Future[Vectors]]] = deque()
        for start in range(0, len(chunks), EMBED_AT_ONCE):
            some = chunks[start : start + EMBED_AT_ONCE]
            kept = None if journal is None else journal.of(title, some)
            rows = threads.submit(embed, encoder, title, some) if kept is None else kept
            self._waiting.append((some, rows))

    @property
    def n_left(self) -> int:
        """How many batches have not been taken."""
        return len(self._waiting)

    @property
    def is_ready(self) -> bool:
        """Whether the next batch, or the whole where none is left, is there without waiting."""
        rows = self._waiting[0][1] if self._waiting else None
        return not isinstance(rows, Future) or rows.done()

    def take(self) -> tuple[Chunk, int]:
        """Wait for the next batch; its last chunk, and how many of it had to be embedded."""
        some, rows = self._waiting.popleft()
        n_embedded = 0
        if isinstance(rows, Future):
            rows, n_embedded = rows.result(), len(some)
            if self._journal is not None:
                self._journal.keep(self._title, some, rows)
        self._rows.append(rows)
        return some[-1], n_embedded

    def vectors(self) -> Vectors:
        """float32 [N, D], row i of chunk i, of the batches taken."""
        return np.concatenate(self._rows) if self._rows else embed(self._encoder, self._title, [])
