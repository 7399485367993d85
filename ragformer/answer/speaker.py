"""What writes an answer in prose: a model behind a server, or a decoder that was imported.

Both are given the same messages, and what either writes is held against the same passages.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from ragformer.answer.remote import Message, Reply, stream_reply
from ragformer.types import Passage, RemoteModel

if TYPE_CHECKING:
    from ragformer.answer.writer import Writer
    from ragformer.config import Backend, Settings

BYTES_PER_TOKEN = 3
"""Fewer than any usual tokenizer takes for English, about right for Chinese: which one a server's
model has is not known, and a prompt that is too long is cut by some servers without a word."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """A model that answers in its own words.

    backend: "openai" or "local". context: tokens that prompt and answer may take. count: how many
    a text takes. reply: to messages, about the passages that are in them, mark i being the i-th:
    its text piece by piece and, last, exactly one Reply. too_small: what to do where not one
    passage fits.
    """

    name: str
    backend: str
    context: int
    count: Callable[[str], int]
    reply: Callable[[Sequence[Message], Sequence[Passage]], Generator[str | Reply, None, None]]
    too_small: str


def remote_speaker(model: RemoteModel, enough: Event | None = None) -> Speaker:
    """The model behind a server."""
    return Speaker(
        model.name,
        "openai",
        model.context,
        lambda text: -(-len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN),
        lambda messages, _: stream_reply(model, messages, enough),
        "set RAGFORMER_OPENAI_CONTEXT to what the model takes",
    )


def local_speaker(writer: Writer, enough: Event | None = None) -> Speaker:
    """An imported decoder."""
    return Speaker(
        writer.id,
        "local",
        writer.context,
        writer.count,
        lambda messages, passages: writer.write(messages, passages, enough),
        "import a decoder that reads more",
    )


def speaker_of(settings: Settings, backend: Backend, enough: Event | None = None) -> Speaker | None:
    """What writes prose by these settings, or by `backend` where it is given; None: our own
    decoder answers. Once `enough` is set, no more is written. Raises ConfigError for a server that
    cannot be used, WeightsError for an imported decoder that is damaged."""
    if isinstance(backend, Path):
        return local_speaker(_writer(backend, settings.writer_dtype), enough)
    if remote := settings.remote_model(backend):
        return remote_speaker(remote, enough)
    if settings.writer is None:
        return None
    return local_speaker(_writer(settings.writer, settings.writer_dtype), enough)


@lru_cache(maxsize=1)
def _writer(folder: Path, dtype: str) -> Writer:
    from ragformer.answer.writer import load_writer

    return load_writer(folder, dtype)
