"""Small made-up documents, the same in every store test."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ragformer.store.store import Store
from ragformer.types import Chunk, Document, OutlineItem, Page, Span, Word

ENCODER = "test-encoder"


@dataclass(frozen=True)
class Made:
    """All that `Store.add_document` takes, for one document."""

    document: Document
    pages: list[Page]
    chunks: list[Chunk]
    vectors: npt.NDArray[np.float32]
    outline: list[OutlineItem]

    def add_to(self, store: Store, encoder_id: str = ENCODER) -> Document:
        return store.add_document(
            self.document, self.pages, self.chunks, self.vectors, encoder_id, self.outline
        )


def make(name: str, texts: Sequence[str], heading: str = "Heading") -> Made:
    """One page and one chunk for each text; a blank text is an empty page without a chunk."""
    pages = [
        Page(i, f"p{i}", text, (Word(0, 1, 1.5, 2, 3, 4),) if text else (), _status(text))
        for i, text in enumerate(texts, start=1)
    ]
    chunks = [
        Chunk(n, (heading,), page.text, (Span(page.number, 0, len(page.text)),), 7)
        for n, page in enumerate(page for page in pages if page.text)
    ]
    key = hashlib.sha256(repr((name, texts)).encode()).hexdigest()
    vectors_ND = np.random.default_rng(len(texts)).standard_normal((len(chunks), 4))
    document = Document(
        key, name, (Path("/docs") / name,), len(pages), datetime(2026, 1, 2, tzinfo=UTC)
    )
    outline = [OutlineItem(0, heading, 1)]
    return Made(document, pages, chunks, vectors_ND.astype(np.float32), outline)


def _status(text: str) -> str:
    return "text" if text else "empty"
