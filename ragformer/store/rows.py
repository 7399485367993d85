"""How our values lie in SQLite's rows: pure conversions, each with its way back."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from ragformer.types import Document, Span, Word

# Scripts written without spaces between words, and Korean, whose words carry their particles:
# Thai, Lao, Myanmar, Khmer, kana, Han (with extensions), Hangul, half-width katakana.
_DENSE_SCRIPTS = (
    "\u0e01-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3130-\u318f"
    "\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\uff66-\uff9f"
    "\U00020000-\U0003ffff"
)
DENSE_RUN = re.compile(f"[{_DENSE_SCRIPTS}]+")
DOCUMENTS = """
    SELECT id, title, author, n_pages, added_at, language,
        (SELECT json_group_array(hex(path)) FROM paths WHERE document_id = documents.id),
        (SELECT json_group_object(status, n) FROM (
            SELECT status, count(*) AS n FROM pages WHERE document_id = documents.id GROUP BY 1)),
        (SELECT json_group_array(number) FROM pages
            WHERE document_id = documents.id AND status IN ('empty', 'failed'))
    FROM documents"""


LOOK_AGAIN = -1  # a size and mtime that no file has: it is looked at again at the next run
TICK = 2 * 10**9  # ns: the coarsest clock that a file system stamps files by, FAT's


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file as last seen: its size in bytes, its mtime in ns, and the document it holds.

    `document_id` is None for a file that could not be read; `reason` then says why. `settled`: it
    had not been changed within the last TICK, so that a later edit shows in its mtime (to git, a
    file that is not is "racily clean").
    """

    path: Path
    size: int
    mtime_ns: int
    document_id: str | None = None
    reason: str = ""
    settled: bool = field(default=True, compare=False)

    @classmethod
    def of(cls, path: Path) -> KnownFile:
        """Look at the file now; raises OSError if it cannot be reached."""
        stat = path.stat()
        settled = abs(time.time_ns() - stat.st_mtime_ns) > TICK
        return cls(path, stat.st_size, stat.st_mtime_ns, settled=settled)

    def is_unchanged(self, other: KnownFile) -> bool:
        """Whether both are of the same bytes, as far as size and time tell."""
        return (self.size, self.mtime_ns) == (other.size, other.mtime_ns)


def file_hash(path: Path) -> str:
    """sha256 of the file's bytes in hex: the id of the document it holds. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class Stages:
    """Which reader read a document, and the versions of the stages that read and cut it."""

    reader: str = ""
    read: int = 1
    chunk: int = 1


def context_line(title: str, heading_path: Sequence[str]) -> str:
    """What a chunk is searched with besides its text: "title › heading › subheading"."""
    return " › ".join(part for part in (title, *heading_path) if part)


def is_dense(text: str) -> bool:
    """Whether `text` has characters of a script without spaces, which word search cannot cut."""
    return DENSE_RUN.search(text) is not None


def storable(text: str) -> str:
    """`text` with lone surrogates (from file names that are not UTF-8) as question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def pack_path(path: Path) -> bytes:
    return os.fsencode(path)


def unpack_path(row: bytes) -> Path:
    return Path(os.fsdecode(row))


def pack_words(words: Sequence[Word]) -> bytes:
    """Starts as steps, lengths (int32), then x0, y0, x1, y1 (float32), column by column."""
    if not words:
        return b""
    words = tuple(words)
    starts = np.array([word.start for word in words], dtype="<i4")
    lengths = np.array([word.end - word.start for word in words], dtype="<i4")
    with np.errstate(over="ignore"):  # a hostile file may hold any number as a coordinate
        boxes = np.array([word.box for word in words], dtype="<f8").astype("<f4")
    steps = np.diff(starts, prepend=np.int32(0)).astype("<i4")
    return zlib.compress(steps.tobytes() + lengths.tobytes() + boxes.T.tobytes())


def unpack_words(blob: bytes) -> tuple[Word, ...]:
    """The words again; boxes come back rounded to float32."""
    if not blob:
        return ()
    data = zlib.decompress(blob)
    n = len(data) // 24
    steps, lengths = np.frombuffer(data, "<i4", 2 * n).reshape(2, n)
    starts = np.cumsum(steps, dtype=np.int32)
    boxes = np.frombuffer(data, "<f4", offset=8 * n).reshape(4, n).T
    places = zip(starts.tolist(), (starts + lengths).tolist(), boxes.tolist(), strict=True)
    return tuple(Word(start, end, *box) for start, end, box in places)


def pack_spans(spans: Sequence[Span]) -> str:
    return json.dumps([(span.page, span.start, span.end) for span in spans])


def unpack_spans(text: str) -> tuple[Span, ...]:
    return tuple(Span(*span) for span in json.loads(text))


def pack_headings(heading_path: Sequence[str]) -> str:
    return json.dumps([storable(heading) for heading in heading_path], ensure_ascii=False)


def unpack_headings(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


def unpack_document(row: tuple[Any, ...]) -> Document:
    """A row of `DOCUMENTS` as a value."""
    key, title, author, n_pages, added_at, language, paths, counts, unread = row
    return Document(
        id=key,
        title=title,
        paths=tuple(sorted(unpack_path(bytes.fromhex(path)) for path in json.loads(paths))),
        n_pages=n_pages,
        added_at=datetime.fromisoformat(added_at),
        status_counts=json.loads(counts),
        language=language,
        unread_pages=tuple(sorted(json.loads(unread))),
        author=author,
    )
