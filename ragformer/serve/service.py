"""What the endpoints share: settings, the open collections, and the threads that work."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI, Request

from ragformer.serve.metrics import Metrics
from ragformer.serve.shelf import Shelf
from ragformer.serve.worker import Worker


@dataclass(frozen=True, slots=True)
class ServeLimits:
    """What a request may take. body, upload: bytes, of a file the latter. waiting: requests that
    wait before each worker. seconds, upload_seconds: until its end, from its beginning."""

    body: int = 4 * 2**20
    upload: int = 200 * 2**20
    waiting: int = 32
    seconds: float = 120.0
    upload_seconds: float = 1800.0


class Service:
    """answers: search, chat and embeddings, which need torch. documents: what writes the store.
    pages: drawing."""

    def __init__(self, home: Path | None, limits: ServeLimits) -> None:
        self.limits = limits
        self.shelf = Shelf(home)
        self.answers, self.documents, self.pages = (
            Worker(name, limits.waiting) for name in ("answers", "documents", "pages")
        )
        self.workers = {
            "answers": self.answers,
            "documents": self.documents,
            "pages": self.pages,
        }
        self.metrics = Metrics(self.workers)

    @asynccontextmanager
    async def running(self, _: FastAPI) -> AsyncIterator[None]:
        """Until the server stops; what is worked on then is finished first."""
        yield
        for worker in self.workers.values():
            await worker.stop()
        self.shelf.close()


def service_of(request: Request) -> Service:
    service = request.app.state.service
    assert isinstance(service, Service)
    return service
