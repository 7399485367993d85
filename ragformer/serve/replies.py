"""Answers in the forms of the OpenAI protocol."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from ragformer.answer.cite import citation_form, page_name
from ragformer.forms import answer_form
from ragformer.serve.sending import as_json
from ragformer.store.store import Store
from ragformer.types import Answer, Citation

Form = dict[str, Any]
DONE = b"data: [DONE]\n\n"
_MORE = (
    "abstained",
    "reason",
    "confidence",
    "backend",
    "model",
    "searched_as",
    "note",
    "dropped",
)
"""Fields of `ask --json` for which the protocol has no place."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer made ready to send. more: what the protocol has no field for."""

    text: str
    annotations: list[Form]
    finish: str
    usage: Form
    more: Form


def reply_of(store: Store, answer: Answer, collection: str, base: str, n_tokens: int) -> Reply:
    """base: this server's own address. n_tokens: of the text; those that a remote server has
    counted are told as it did, thoughts and what was thrown away among them."""
    prompt, written = int(answer.usage.get("prompt_tokens", 0)), n_tokens
    if answer.backend == "openai":
        written = int(answer.usage.get("completion_tokens", n_tokens))
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": written,
        "total_tokens": prompt + written,
    }
    annotations = [
        _annotation(store, citation, place, collection, base)
        for citation, place in zip(answer.citations, places(answer), strict=True)
    ]
    form = answer_form(store, replace(answer, passages=()))
    more = {name: form[name] for name in _MORE}
    finish = "length" if answer.cut else "stop"
    return Reply(answer.text, annotations, finish, usage, more)


def places(answer: Answer) -> list[tuple[int, int]]:
    """The characters of the answer's text that each citation's quote takes, in order."""
    found, at = [], 0
    for citation in answer.citations:
        words = words_of(citation.quote)
        match = words.search(answer.text, at) or words.search(answer.text)
        start, at = match.span() if match else (0, len(answer.text))
        found.append((start, at))
    return found


def words_of(quote: str) -> re.Pattern[str]:
    """Finds the quote, where a space may be a line break or the other way round."""
    return re.compile(r"\s+".join(map(re.escape, quote.split())))


def _page_url(base: str, collection: str, citation: Citation) -> str:
    """Where this server shows the page, the quote marked on it."""
    query = urlencode({"collection": collection, "quote": citation.quote})
    page = f"{citation.document_id}/pages/{citation.page}.png"
    return f"{base.rstrip('/')}/v1/documents/{page}?{query}"


def _annotation(
    store: Store, citation: Citation, place: tuple[int, int], collection: str, base: str
) -> Form:
    document = store.find(citation.document_id)
    title = document.title if document and document.title else citation.path.name
    return {
        "type": "url_citation",
        "url_citation": {
            "url": _page_url(base, collection, citation),
            "title": f"{title}, page {page_name(citation)}",
            "start_index": place[0],
            "end_index": place[1],
        },
        "ragformer": citation_form(citation),
    }


@dataclass(frozen=True, slots=True)
class Envelope:
    """What every part of one completion carries."""

    id: str
    created: int
    model: str

    @classmethod
    def new(cls, model: str) -> Envelope:
        return cls(f"chatcmpl-{uuid.uuid4().hex}", int(time.time()), model)

    def whole(self, reply: Reply) -> Form:
        message = {
            "role": "assistant",
            "content": reply.text,
            "refusal": None,
            "annotations": reply.annotations,
        }
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reply.finish}
        form = self._form("chat.completion", [choice])
        return form | {"usage": reply.usage, "ragformer": reply.more}

    def first(self) -> bytes:
        return self._chunk({"role": "assistant", "content": ""})

    def piece(self, text: str) -> bytes:
        return self._chunk({"content": text})

    def last(self, reply: Reply, with_usage: bool) -> Iterator[bytes]:
        more = {"ragformer": reply.more}
        yield self._chunk({"annotations": reply.annotations}, reply.finish, more)
        if with_usage:
            yield event(self._form("chat.completion.chunk", []) | {"usage": reply.usage})
        yield DONE

    def _chunk(self, delta: Form, finish: str | None = None, more: Form | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return event(self._form("chat.completion.chunk", [choice]) | (more or {}))

    def _form(self, kind: str, choices: list[Form]) -> Form:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }


def event(form: Form) -> bytes:
    return b"data: " + as_json(form) + b"\n\n"
