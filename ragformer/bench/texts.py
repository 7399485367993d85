"""Real text to search in: documents of JSON Lines cut as a PDF's are and embedded, once.

FOLDER/*.jsonl(.xz) -> {"title", "sections"} -> chunks -> SAVED/chunks-*.jsonl -> ENCODER-*.npy

Embedding takes far longer than all else, so each part of it is kept as soon as it is done.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ragformer.errors import InputError
from ragformer.pdf.chunk import Count, split_pages
from ragformer.pdf.read import PdfText
from ragformer.retrieve.embed import Encoder, Vectors, passage_text
from ragformer.text.jsonl import read_jsonl
from ragformer.types import OutlineItem, Page

PART = 1000  # chunks embedded between two savings


def embedded_chunks(
    source: Path, n: int, encoder: Encoder, saved: Path
) -> tuple[list[str], Vectors]:
    """(the texts of the first n chunks of `source`, vectors_ND); fewer where it has no more.

    source: a .jsonl or .jsonl.xz file of documents, or a folder of such. saved: a folder where the
    chunks and vectors are kept and found again, one folder for each source; vectors of another
    encoder are made beside them.
    """
    saved.mkdir(parents=True, exist_ok=True)
    cut = _Cut(source, encoder.tokenizer.count)
    texts: list[str] = []
    parts = []
    for first in range(0, n, PART):
        rows = _kept_chunks(cut, first, saved / f"chunks-{first:07}.jsonl")[: n - first]
        if not rows:
            break
        texts += [row["text"] for row in rows]
        parts.append(_kept_part(rows, encoder, saved / f"{encoder.id}-{first:07}.npy"))
    if not parts:
        raise InputError(f"{source} holds no text; its lines need a title and sections")
    return texts, np.concatenate(parts)


class _Cut:
    """The chunks of a source, cut from where they were last asked for."""

    def __init__(self, source: Path, count: Count) -> None:
        self._chunks, self._at = cut_documents(source, count), 0

    def part(self, first: int) -> list[dict[str, Any]]:
        skipped = len(list(islice(self._chunks, first - self._at)))
        rows = list(islice(self._chunks, PART))
        self._at += skipped + len(rows)
        return rows


def _kept_chunks(cut: _Cut, first: int, kept: Path) -> list[dict[str, Any]]:
    if kept.exists():
        return list(read_jsonl(kept))
    if not (rows := cut.part(first)):
        return []
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    _write_whole(kept, lambda part: part.write_text(lines, encoding="utf-8"))
    return rows


def _kept_part(rows: list[dict[str, Any]], encoder: Encoder, kept: Path) -> Vectors:
    if kept.exists():
        vectors_ND: Vectors = np.load(kept)
        if len(vectors_ND) >= len(rows):
            return vectors_ND[: len(rows)]
    texts = [passage_text(row["title"], row["heading_path"], row["text"]) for row in rows]
    vectors_ND = encoder.encode(texts)

    def write(part: Path) -> None:
        with part.open("wb") as file:
            np.save(file, vectors_ND)

    _write_whole(kept, write)
    return vectors_ND


def _write_whole(path: Path, write: Any) -> None:
    """Let `write` fill a file that takes its name when it is whole."""
    part = path.with_suffix(".part")
    write(part)
    part.replace(path)


def cut_documents(source: Path, count: Count) -> Iterator[dict[str, Any]]:
    """{"title", "heading_path", "text"} of each chunk, a document of each file in turn."""
    files = sorted(source.glob("*.jsonl*")) if source.is_dir() else [source]
    turns = [read_jsonl(file) for file in files]
    while turns:
        for turn in list(turns):
            document = next(turn, None)
            if document is None:
                turns.remove(turn)
            else:
                yield from _cut(document, count)


def _cut(document: dict[str, Any], count: Count) -> Iterator[dict[str, Any]]:
    """A section as a page, opened by its heading."""
    try:
        title = str(document["title"])
        sections = [(str(s["heading"]), str(s["text"])) for s in document["sections"]]
    except (KeyError, TypeError) as error:
        raise InputError(
            f"a line is no document ({error}); it needs a title and sections of heading and text"
        ) from error
    pages = [Page(n, "", f"{head}\n{text}".strip()) for n, (head, text) in enumerate(sections, 1)]
    outline = [OutlineItem(0, head, n) for n, (head, _) in enumerate(sections, 1) if head]
    for chunk in split_pages(PdfText(title, tuple(pages), tuple(outline), "jsonl"), count):
        yield {"title": title, "heading_path": list(chunk.heading_path), "text": chunk.text}
