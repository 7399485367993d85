"""The values that cross layers: frozen, slotted, checked once when made.

Offsets are code points in `Page.text`, half open. Pages count from 1. Boxes are PDF points with
the origin at the top left of the page as displayed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from ragformer.errors import ConfigError

PageStatus = Literal["text", "ocr", "empty", "failed"]
FileStatus = Literal["added", "unchanged", "replaced", "failed", "removed"]
AbstainReason = Literal["empty_collection", "no_passage", "low_confidence", "unread_pages"]
Box = tuple[float, float, float, float]
OPENAI_URL = "https://api.openai.com/v1"
WAITING = ""
"""A piece of a streamed text that says only: still at work, and others may have their turn."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word on a page: its characters in `Page.text` and the box around them."""

    start: int
    end: int
    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def box(self) -> Box:
        return (self.x0, self.y0, self.x1, self.y1)


@dataclass(frozen=True, slots=True)
class Page:
    """One physical page as read. `reason` says why it has no text, where that is known."""

    number: int
    label: str
    text: str
    words: Sequence[Word] = ()
    status: PageStatus = "text"
    reason: str = ""

    def __post_init__(self) -> None:
        if self.number < 1:
            raise ValueError(f"a page number starts at 1, not {self.number}")


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Characters start..end (half open, never empty) of one page's text."""

    page: int
    start: int
    end: int

    def __post_init__(self) -> None:
        if self.page < 1 or self.start < 0 or self.end <= self.start:
            raise ValueError(f"not a span: page {self.page}, characters {self.start} to {self.end}")


@dataclass(frozen=True, slots=True)
class OutlineItem:
    """A heading of the document's own table of contents: level from 0, page from 1."""

    level: int
    title: str
    page: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """A run of body text to search for: `text` is its spans' texts joined by "\\n"."""

    ordinal: int
    heading_path: tuple[str, ...]
    text: str
    spans: tuple[Span, ...]
    n_tokens: int

    def __post_init__(self) -> None:
        if not self.spans:
            raise ValueError("a chunk stands somewhere: it needs at least one span")


@dataclass(frozen=True, slots=True)
class Document:
    """A PDF by content: `id` is the sha256 of its bytes, `paths` where those bytes were seen.

    author: as the file records it, "" where it does not; often a program's name, or a company's.
    """

    id: str
    title: str
    paths: tuple[Path, ...]
    n_pages: int
    added_at: datetime
    status_counts: dict[str, int] = dataclasses.field(default_factory=dict)
    language: str = ""
    unread_pages: tuple[int, ...] = ()
    author: str = ""

    @property
    def path(self) -> Path:
        return self.paths[0]


@dataclass(frozen=True, slots=True)
class Passage:
    """A retrieved chunk. `score`: higher is better; `found_by` holds each way's own score."""

    chunk_id: int
    document: Document
    heading_path: tuple[str, ...]
    text: str
    spans: tuple[Span, ...]
    score: float
    found_by: dict[str, float] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to choose the next token; temperature 0 is greedy and ignores seed."""

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.temperature < 0 or not 0 < self.top_p <= 1 or self.max_new_tokens < 1:
            raise ValueError(f"not a way to sample: {self}")


@dataclass(frozen=True, slots=True)
class Citation:
    """A mark resolved to characters of a page; `verified`: the store's text re-reads as `quote`."""

    mark: int
    document_id: str
    path: Path
    page: int
    page_label: str
    span: Span
    quote: str
    boxes: tuple[Box, ...]
    verified: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """The end of every question: a cited answer, or a refusal with its reason.

    confidence: None where a remote model wrote it, of which nothing was measured. searched_as: what
    was searched and read, where that is not the question. note: what could not be done as asked, a
    sentence. about: the documents of an answer that quotes nothing, as it comes from what the store
    knows of them. dropped: how many "marks" and "quotes" of a remote model did not hold. cut: the
    text ends at a limit.
    """

    question: str
    text: str
    citations: tuple[Citation, ...]
    passages: tuple[Passage, ...]
    confidence: float | None
    abstained: bool
    reason: AbstainReason | None
    backend: str
    model: str
    usage: dict[str, float] = dataclasses.field(default_factory=dict)
    searched_as: str = ""
    note: str = ""
    about: tuple[Document, ...] = ()
    dropped: dict[str, int] = dataclasses.field(default_factory=dict)
    cut: bool = False


@dataclass(frozen=True, slots=True)
class RemoteModel:
    """A model behind a server that speaks the OpenAI protocol, to write answers in our decoder's
    place. The passages found for a question are sent to it.

    name: as the server calls it; "" means the only one it has. api_key: "" where none is asked for;
    it is not in the repr, and nothing stores or prints it. context: tokens that prompt and answer
    may take. timeout: seconds to wait for the next words. Raises ConfigError for what cannot work.
    """

    name: str = ""
    base_url: str = OPENAI_URL
    api_key: str = dataclasses.field(default="", repr=False)
    context: int = 8192
    timeout: float = 120.0

    def __post_init__(self) -> None:
        if _host(self.base_url) is None:
            raise ConfigError(
                "the base URL of a server begins with http:// or https:// and names its host,"
                " as http://127.0.0.1:11434/v1 does; set OPENAI_BASE_URL"
            )
        if not all("!" <= character <= "~" for character in self.api_key):
            raise ConfigError("OPENAI_API_KEY holds a character that no key has; copy it again")
        if not self.api_key and self.is_openai:
            raise ConfigError(
                f"OPENAI_API_KEY is not set, and {self.address} asks for one; set it, or set"
                " OPENAI_BASE_URL to a server that needs none, as http://127.0.0.1:11434/v1"
            )

    @property
    def address(self) -> str:
        """The base URL as it may be shown: no user, password or query."""
        parts = urlsplit(self.base_url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")

    @property
    def is_openai(self) -> bool:
        return _host(self.base_url) == _host(OPENAI_URL)


def _host(url: str) -> str | None:
    """None for what is no web address."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 (raises for what is no number)
    except ValueError:
        return None
    return parts.hostname if parts.scheme in ("http", "https") else None


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """What indexing did with one path; `unread_pages` have no text we could get.

    moved_from: where these bytes were before, when nothing is there any more. ocr_pages: how many
    were read by OCR.
    """

    path: Path
    document_id: str | None
    status: FileStatus
    reason: str = ""
    pages: int = 0
    unread_pages: tuple[int, ...] = ()
    language: str = ""
    moved_from: Path | None = None
    ocr_pages: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """A step of indexing: counts so far, and the file just finished if any.

    pages_read: have come from the readers. pages_done: are embedded too. pages_total: of this run,
    those of files that are not open yet guessed from the others; 0 while nothing can be said.
    """

    files_done: int
    files_total: int
    pages_done: int
    chunks_embedded: int
    outcome: FileOutcome | None = None
    pages_read: int = 0
    pages_total: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """The end of an indexing run: every file accounted for."""

    files: tuple[FileOutcome, ...]
    pages_read: int
    chunks_embedded: int
    seconds: float


@dataclass(frozen=True, slots=True)
class OnRay:
    """Where to index into shards: the Ray cluster at `address` (HOST:PORT, or "local" for one that
    is started on this machine; "" for the one that is set), and how many of a new collection; None
    means one for each core of the cluster."""

    address: str = ""
    shards: int | None = None

    def __post_init__(self) -> None:
        if self.shards is not None and not 1 <= self.shards <= 10_000:
            raise ConfigError(f"a collection has from 1 to 10,000 shards, not {self.shards}")
