"""How long does a search take among many chunks: embed + words + vectors + fuse + rerank.

The chunks are real texts and then, for as many as are asked for, copies with words changed, so that
word search meets lists as long as in a real collection. Copies have the vectors of their texts,
shaken. Sizes are measured one after the other in a store that grows.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ragformer.answer.reader import Reader, load_decoder
from ragformer.answer.rerank import RERANKED, rerank
from ragformer.bench.machine import machine, percentiles, resident_bytes
from ragformer.bench.texts import embedded_chunks
from ragformer.errors import InputError
from ragformer.eval.cases import read_retrieval, sample
from ragformer.retrieve.embed import Encoder, Vectors, load_encoder
from ragformer.retrieve.retrieve import CANDIDATES, add_pages, fuse_rankings
from ragformer.retrieve.words import search_words
from ragformer.store.keep_vectors import refresh
from ragformer.store.saved_vectors import AnyIndex, SavedIndex, open_index
from ragformer.store.store import Store
from ragformer.store.vectors import VectorIndex
from ragformer.types import Chunk, Document, Page, Span

CHUNKS_PER_DOCUMENT = 500
CHANGED = 0.3  # of the words of each copy
SHAKEN = 0.64
"""Length of the noise on a copy's vector: 0.84 is its cosine with the text's, as it is, in the
median of 125 texts, when the encoder embeds the changed words."""
STAGES = ("embed", "words", "vectors", "fuse", "rerank")
NEAREST = 10  # recall is of so many

Search = Callable[[Vectors, int], list[tuple[int, float]]]


@dataclass(frozen=True, slots=True)
class RealText:
    """The first n chunks of the documents in `source`, kept with their vectors in `saved`."""

    source: Path
    n: int
    saved: Path


def run(
    path: Path,
    sizes: Sequence[int] = (100_000,),
    limit: int = 200,
    seed: int = 0,
    encoder: Path | None = None,
    decoder: Path | None = None,
    real: RealText | None = None,
) -> dict[str, Any]:
    """Time `limit` searches of the questions in a reading file or retrieval folder.

    sizes: numbers of chunks. They are made of the file's own texts, or of `real`. Times are
    milliseconds a question, in one thread of ours.
    """
    if not sizes or min(sizes) < 1:
        raise InputError(f"{min(sizes, default=0)} chunks are nothing to search in; give 1 or more")
    found = read_retrieval(path)
    questions = [case.question for case in sample(found.cases, limit, seed)]
    loaded, reader = load_encoder(encoder), load_decoder(decoder)
    if real is None:
        texts = [item.text for item in found.corpus if item.text][: max(sizes)]
        vectors_ND = loaded.encode(texts)
    else:
        texts, vectors_ND = embedded_chunks(real.source, real.n, loaded, real.saved)
    measured = {}
    with (
        TemporaryDirectory(prefix="ragformer-bench-") as folder,
        Store.open(Path(folder), create=True) as store,
    ):
        filler = Filler(store, loaded.id, texts, vectors_ND, seed)
        for n in sorted(sizes):
            filler.fill(n)
            measured[str(n)] = measure(store, loaded, reader, questions)
    return {
        "suite": "query",
        "machine": machine(),
        "encoder": loaded.id,
        "decoder": reader.id,
        "real_chunks": min(len(texts), max(sizes)),
        "n": len(questions),
        "sizes": measured,
    }


def measure(
    store: Store, encoder: Encoder, reader: Reader, questions: Sequence[str]
) -> dict[str, Any]:
    """The figures of one size. Vector search is also done flat, by turns with ours."""
    start = time.perf_counter()
    refresh(store, encoder.id)
    made = time.perf_counter() - start
    store.checkpoint()  # so that all of it is in the one file that is measured
    vectors_QD = encoder.encode_queries(questions)
    before = resident_bytes()
    start = time.perf_counter()
    index = open_index(store, encoder.id)
    opened = time.perf_counter() - start
    for vector_D in vectors_QD:
        index.search(vector_D, CANDIDATES)
    grown = resident_bytes() - before
    time_search(store, index, encoder, reader, questions[0])  # the first one warms every cache
    times = [time_search(store, index, encoder, reader, question) for question in questions]
    return {
        "index": "lists" if isinstance(index, SavedIndex) else "flat",
        "make_seconds": made,
        "open_seconds": opened,
        "resident_megabytes": grown / 1e6,
        "megabytes_on_disk": {file.name: file.stat().st_size / 1e6 for file in _kept(store)},
        **compare_with_flat(store, index, encoder.id, vectors_QD),
        "milliseconds": {name: percentiles([t[name] for t in times]) for name in times[0]},
    }


def _kept(store: Store) -> list[Path]:
    return sorted(file for file in store.folder.glob("*.*") if file.suffix in (".db", ".index"))


def compare_with_flat(
    store: Store, index: AnyIndex, encoder_id: str, vectors_QD: Vectors
) -> dict[str, Any]:
    """recall@10 of the index's best among a flat search's, and the time of both, by turns.

    "computing" is what the thread used of the processor: it says more where others use it too.
    """
    flat = index
    if isinstance(index, SavedIndex):
        flat = VectorIndex.build(*store.vectors(encoder_id))
    ours, theirs = [], []
    for vector_D in vectors_QD:
        ours.append(_time(index.search, vector_D))
        theirs.append(_time(flat.search, vector_D))
    return {
        f"recall@{NEAREST}": recall(index.search, flat.search, vectors_QD),
        "vectors_milliseconds": percentiles([wall for wall, _ in ours]),
        "vectors_computing": percentiles([own for _, own in ours]),
        "flat_milliseconds": percentiles([wall for wall, _ in theirs]),
        "flat_computing": percentiles([own for _, own in theirs]),
    }


def _time(search: Search, vector_D: Vectors) -> tuple[float, float]:
    """Milliseconds of one search: on the clock, and of this thread on the processor."""
    wall, own = time.perf_counter(), time.thread_time()
    search(vector_D, CANDIDATES)
    return 1000 * (time.perf_counter() - wall), 1000 * (time.thread_time() - own)


def recall(search: Search, exact: Search, vectors_QD: Vectors) -> float:
    """The mean share of the NEAREST best of an exact search among those of another."""
    shares = []
    for vector_D in vectors_QD:
        found, wanted = (dict(way(vector_D, CANDIDATES)[:NEAREST]) for way in (search, exact))
        shares.append(len(found.keys() & wanted.keys()) / len(wanted))
    return float(np.mean(shares))


def time_search(
    store: Store, index: AnyIndex, encoder: Encoder, reader: Reader, question: str
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


class Filler:
    """Fills a store with texts and then copies of them, changed and shaken."""

    def __init__(
        self, store: Store, encoder_id: str, texts: Sequence[str], vectors_ND: Vectors, seed: int
    ) -> None:
        """vectors_ND: row i of texts[i]."""
        self._store, self._encoder_id = store, encoder_id
        self._vectors_ND, self._n = vectors_ND, 0
        self._texts = texts_and_copies(texts, seed)
        self._noise = np.random.default_rng(seed)

    def fill(self, chunks: int) -> None:
        """Add documents until there are so many chunks."""
        n_real = len(self._vectors_ND)
        while self._n < chunks:
            rows = np.arange(self._n, min(self._n + CHUNKS_PER_DOCUMENT, chunks))
            vectors_ND = self._vectors_ND[rows % n_real]
            moved_ND = shaken(vectors_ND, self._noise)
            vectors_ND = np.where((rows < n_real)[:, None], vectors_ND, moved_ND)
            texts = [next(self._texts) for _ in rows]
            _add_document(self._store, self._encoder_id, self._n, texts, vectors_ND)
            self._n += len(rows)


def texts_and_copies(texts: Sequence[str], seed: int) -> Iterator[str]:
    """The texts in turn; then, for ever, with some words of each put in place by words of all."""
    yield from texts
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
    moved_ND = vectors_ND + SHAKEN * noise_ND
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
