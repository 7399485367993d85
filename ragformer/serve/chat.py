"""The endpoints of the OpenAI protocol: models, chat completions, embeddings."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from threading import Event
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from ragformer.errors import RagformerError
from ragformer.serve.failures import ApiError, told
from ragformer.serve.replies import Envelope, Form, Reply, event, reply_of
from ragformer.serve.requests import ChatRequest, EmbeddingRequest
from ragformer.serve.sending import Json
from ragformer.serve.service import Service, service_of
from ragformer.serve.shown import Shown, counter
from ragformer.serve.worker import finished, too_late
from ragformer.text.normalize import check_question
from ragformer.types import WAITING, Answer

router = APIRouter(prefix="/v1", tags=["OpenAI protocol"])
_AT_ONCE = 64
"""Texts embedded between two looks at whether anybody still waits for them."""

Pieces = AsyncGenerator[str | Reply, None]


@router.get("/models")
def list_models(request: Request) -> Form:
    """Every collection, and every collection with each model that can write its answers."""
    listed = [_model(name) for name in service_of(request).shelf.models()]
    return {"object": "list", "data": listed}


@router.get("/models/{model}")
def show_model(request: Request, model: str) -> Form:
    service_of(request).shelf.chosen(model)
    return _model(model)


def _model(name: str) -> Form:
    return {"id": name, "object": "model", "created": 0, "owned_by": "ragformer"}


@router.post(
    "/chat/completions",
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def complete(request: Request, asked: ChatRequest) -> Response:
    """An answer from the collection, with its citations as annotations; a refusal is an answer."""
    service, started = service_of(request), time.monotonic()
    seconds, options = service.limits.seconds, asked.stream_options
    work = await asyncio.to_thread(_work, service, asked, str(request.base_url))
    pieces = service.answers.each(work)
    envelope = Envelope.new(asked.model)
    if not asked.stream:
        reply = await finished(request, _whole(pieces), seconds)
        _count(service, reply)
        return Json(envelope.whole(reply))
    begun = await finished(request, _next(pieces), seconds)
    service.metrics.first_piece.observe(time.monotonic() - started)
    with_usage = bool(options and options.include_usage)
    events = _events(service, begun, pieces, envelope, started + seconds, with_usage)
    return _Events(events, pieces)


def _work(service: Service, asked: ChatRequest, base: str) -> Callable[[], Iterator[str | Reply]]:
    """What the worker is to do; what can be refused at once is."""
    collection, backend = service.shelf.chosen(asked.model)
    question, before = check_question(asked.question()), asked.turn_before()
    last = service.shelf.turn(collection, *before) if before else None

    def pieces() -> Iterator[str | Reply]:
        enough = Event()
        with service.shelf.using(collection) as library:
            shown = Shown(counter(library, backend), asked.most_tokens, asked.stops)
            for piece in library.stream(question, asked.k, asked.within, last, backend, enough):
                if isinstance(piece, Answer):
                    left, answer = shown.end(piece)
                    if left:
                        yield left
                    service.shelf.remember(collection, answer)
                    yield reply_of(library.store, answer, collection, base, shown.n_tokens)
                elif piece == WAITING:
                    yield WAITING
                elif text := shown.add(piece):
                    yield text
                if shown.ended:
                    enough.set()

    return pieces


async def _next(pieces: Pieces) -> str | Reply:
    return await anext(pieces)


async def _whole(pieces: Pieces) -> Reply:
    *_, reply = [piece async for piece in pieces]
    assert isinstance(reply, Reply)
    return reply


async def _events(
    service: Service,
    piece: str | Reply,
    pieces: Pieces,
    envelope: Envelope,
    deadline: float,
    with_usage: bool,
) -> AsyncIterator[bytes]:
    """The answer as server-sent events; an error from here on is one of them."""
    yield envelope.first()
    try:
        while not isinstance(piece, Reply):
            yield envelope.piece(piece)
            piece = await asyncio.wait_for(_next(pieces), deadline - time.monotonic())
    except TimeoutError:
        yield event(told(too_late(service.limits.seconds)))
        return
    except (ApiError, RagformerError) as error:
        yield event(told(error))
        return
    _count(service, piece)
    for last in envelope.last(piece, with_usage):
        yield last


def _count(service: Service, reply: Reply) -> None:
    outcome = "refused" if reply.more["abstained"] else "answered"
    service.metrics.answers.labels(outcome).inc()


class _Events(StreamingResponse):
    """Stops the work when it ends, also where the client has hung up before."""

    def __init__(self, events: AsyncIterator[bytes], pieces: Pieces) -> None:
        super().__init__(
            events, media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._pieces.aclose()


@router.post("/embeddings")
async def embed(request: Request, asked: EmbeddingRequest) -> Form:
    """Vectors of length 1 by the collection's encoder."""
    service = service_of(request)
    collection, _ = service.shelf.chosen(asked.model)

    def work() -> Iterator[Form]:
        encoder = service.shelf.open(collection).encoder
        if asked.dimensions not in (None, encoder.dim):
            raise ApiError(400, f"vectors have {encoder.dim} numbers", param="dimensions")
        encode = encoder.encode if asked.input_type == "passage" else encoder.encode_queries
        for start in range(0, len(asked.texts), _AT_ONCE):
            texts = asked.texts[start : start + _AT_ONCE]
            vectors = [_vector(row, asked.encoding_format == "base64") for row in encode(texts)]
            yield {"vectors": vectors, "tokens": encoder.count_tokens(texts)}

    async def collected() -> list[Form]:
        return [part async for part in service.answers.each(work)]

    parts = await finished(request, collected(), service.limits.seconds)
    vectors = [vector for part in parts for vector in part["vectors"]]
    tokens = sum(part["tokens"] for part in parts)
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": i, "embedding": vector}
            for i, vector in enumerate(vectors)
        ],
        "model": asked.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _vector(row: Any, packed: bool) -> str | list[float]:
    """A vector as numbers, or as base64 of float32, little end first."""
    return base64.b64encode(row.astype("<f4").tobytes()).decode() if packed else row.tolist()
