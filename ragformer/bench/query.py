"""How long does a search take among many chunks: embed + words + vectors + fuse + rerank.

The chunks are given texts over and over with words changed, so that word search meets lists as
long as in a real collection. Their vectors are those of the texts, shaken: how long an exact
search takes does not depend on what they are.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ragformer.answer.reader import Reader, load_decoder
from ragformer.answer.rerank import RERANKED, rerank
from ragformer.bench.machine import machine, percentiles
from ragformer.errors import InputError
from ragformer.eval.cases import read_retrieval, sample
from ragformer.retrieve.embed import Encoder, Vectors, load_encoder
from ragformer.retrieve.retrieve import CANDIDATES, add_pages, fuse_rankings
from ragformer.retrieve.words import search_words
from ragformer.store.store import Store
from ragformer.store.vectors import VectorIndex
from ragformer.types import Chunk, Document, Page, Span

CHUNKS_PER_DOCUMENT = 500
CHANGED = 0.3  # of the words of each copy
STAGES = ("embed", "words", "vectors", "fuse", "rerank")


def run(
    path: Path,
    chunks: int = 100_000,
    limit: int = 200,
    seed: int = 0,
    encoder: Path | None = None,
    decoder: Path | None = None,
) -> dict[str, Any]:
    """Time `limit` searches of the questions in a reading file or retrieval folder.

    Its texts make the `chunks`. Times are milliseconds a question, in one thread of ours.
    """
    if chunks < 1:
        raise InputError(f"{chunks} chunks are nothing to search in; give 1 or more")
    found = read_retrieval(path)
    questions = [case.question for case in sample(found.cases, limit, seed)]
    loaded, reader = load_encoder(encoder), load_decoder(decoder)
    with (
        TemporaryDirectory(prefix="ragformer-bench-") as folder,
        Store.open(Path(folder), create=True) as store,
    ):
        fill(store, loaded, [item.text for item in found.corpus if item.text], chunks, seed)
        start = time.perf_counter()
        index = VectorIndex.build(*store.vectors(loaded.id))
        opened = time.perf_counter() - start
        time_search(store, index, loaded, reader, questions[0])  # the first one warms every cache
        times = [time_search(store, index, loaded, reader, question) for question in questions]
    return {
        "suite": "query",
        "machine": machine(),
        "encoder": loaded.id,
        "decoder": reader.id,
        "chunks": chunks,
        "n": len(questions),
        "open_seconds": opened,
        "milliseconds": {name: percentiles([t[name] for t in times]) for name in times[0]},
    }


def time_search(
    store: Store, index: VectorIndex, encoder: Encoder, reader: Reader, question: str
) -> dict[str, float]:
    """Milliseconds of each stage of one search, of all but the last ("found"), and of all."""
    at = [time.perf_counter()]
    vector_D = encoder.encode_query(question)
    at.append(time.perf_counter())
    by_words = search_words(store, question, CANDIDATES)
    at.append(time.perf_counter())
    by_vectors = index.search(vector_D, CANDIDATES)
    at.append(time.perf_counter())
    found = add_pages(store, question, {"words": by_words, "vectors": by_vectors})
    fused = fuse_rankings(found, RERANKED)
    passages = store.passages(fused)
    at.append(time.perf_counter())
    rerank(reader, question, passages)
    at.append(time.perf_counter())
    stages = dict(zip(STAGES, 1000 * np.diff(at), strict=True))
    return {**stages, "found": 1000 * (at[-2] - at[0]), "all": 1000 * (at[-1] - at[0])}


def fill(store: Store, encoder: Encoder, texts: Sequence[str], chunks: int, seed: int) -> None:
    """Store so many copies of the texts, changed and shaken."""
    vectors_ND = encoder.encode(texts[:chunks])
    rng = np.random.default_rng(seed)
    copies = changed_copies(texts, seed)
    for first in range(0, chunks, CHUNKS_PER_DOCUMENT):
        n = min(CHUNKS_PER_DOCUMENT, chunks - first)
        rows = np.arange(first, first + n) % len(texts)
        _add_document(
            store, encoder.id, first, [next(copies) for _ in rows], shaken(vectors_ND[rows], rng)
        )


def changed_copies(texts: Sequence[str], seed: int) -> Iterator[str]:
    """The texts in turn, for ever, some words of each put in place by words of all texts."""
    rng = random.Random(seed)
    every_word = [word for text in texts for word in text.split()]
    while True:
        for text in texts:
            yield " ".join(
                rng.choice(every_word) if rng.random() < CHANGED else word for word in text.split()
            )


def shaken(vectors_ND: Vectors, rng: np.random.Generator) -> Vectors:
    """Unit vectors near the given ones."""
    noise_ND = rng.standard_normal(vectors_ND.shape) / np.sqrt(vectors_ND.shape[1])
    moved_ND = vectors_ND + 0.3 * noise_ND
    unit_ND: Vectors = moved_ND / np.linalg.norm(moved_ND, axis=1, keepdims=True)
    return unit_ND.astype(np.float32)


def _add_document(
    store: Store, encoder_id: str, number: int, texts: Sequence[str], vectors_ND: Vectors
) -> None:
    pages = [Page(n, "", text) for n, text in enumerate(texts, start=1)]
    chunks = [
        Chunk(n, (), text, (Span(n + 1, 0, len(text)),), len(text) // 4)
        for n, text in enumerate(texts)
    ]
    key = hashlib.sha256(str(number).encode()).hexdigest()
    path = Path(f"{number}.pdf")
    document = Document(key, path.stem, (path,), len(pages), datetime.now(UTC))
    store.add_document(document, pages, chunks, vectors_ND, encoder_id)
