"""A reader with random weights in every layer: what holds for it holds by construction."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from ragformer.answer.confidence import FEATURES, Confidence
from ragformer.answer.reader import Reader
from ragformer.answer.reading import N_SEGMENTS
from ragformer.nn.heads import Decoder
from ragformer.store.store import Store
from ragformer.text.tokenizer import Tokenizer
from ragformer.types import Chunk, Document, Page, Passage, Span, Word

AddPassage = Callable[..., Passage]


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return Tokenizer(Path(__file__).parents[2] / "models" / "encoder" / "tokenizer.model")


@pytest.fixture(scope="session")
def readers(tokenizer: Tokenizer, noisy: Callable[..., Decoder]) -> tuple[Reader, ...]:
    """Layers of noise that answer whatever they are asked, each with another liking."""
    sizes = {"max_seq_len": 1024, "n_segments": N_SEGMENTS, "d_pointer": 16}
    always = Confidence(0.0, (0.0,) * len(FEATURES), 0.5)
    return tuple(
        Reader(
            noisy(Decoder, tokenizer, seed, **sizes),
            tokenizer,
            f"random-{seed}",
            always,
            bf16=False,
        )
        for seed in range(3)
    )


@pytest.fixture(scope="session")
def reader(readers: tuple[Reader, ...]) -> Reader:
    """One of them."""
    return readers[0]


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store.open(tmp_path_factory.mktemp("store") / "collection", create=True) as opened:
        yield opened


@pytest.fixture(scope="session")
def add_passage(store: Store) -> AddPassage:
    """add_passage(texts, spans=None, name="a.pdf", labels=None): a document of these pages with
    one passage, by default all of them."""

    def add(
        texts: Sequence[str],
        spans: Sequence[Span] | None = None,
        name: str = "a.pdf",
        labels: Sequence[str] | None = None,
    ) -> Passage:
        pages = [
            Page(n, labels[n - 1] if labels else str(n), text, tuple(laid_out(text)))
            for n, text in enumerate(texts, start=1)
        ]
        spans = spans or [Span(p.number, 0, len(p.text)) for p in pages if p.text]
        text = "\n".join(texts[span.page - 1][span.start : span.end] for span in spans)
        key = hashlib.sha256(repr((texts, spans, name, labels)).encode()).hexdigest()
        added = datetime(2026, 1, 2, tzinfo=UTC)
        path = Path("/docs") / key / name  # its own: a path holds one document
        document = Document(key, Path(name).stem, (path,), len(pages), added)
        chunk = Chunk(0, ("Heading",), text, tuple(spans), 1)
        store.add_document(document, pages, [chunk], np.ones((1, 4), np.float32), "none")
        return store.passages([(int(store.chunk_ids([key])[0]), 1.0)])[0]

    return add


def laid_out(text: str) -> Iterator[Word]:
    """Each word on a grid: 6 points a character, lines 12 apart and 10 high."""
    for match in re.finditer(r"\S+", text):
        line = text.count("\n", 0, match.start())
        column = match.start() - (text.rfind("\n", 0, match.start()) + 1)
        x0, x1 = 6.0 * column, 6.0 * (column + len(match.group()))
        yield Word(match.start(), match.end(), x0, 12.0 * line, x1, 12.0 * line + 10)
