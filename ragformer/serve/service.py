"""What the endpoints share: settings, the open collections, and the threads that work."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
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
    wait before each worker. together: answers that have begun, which an imported decoder writes
    side by side. seconds, upload_seconds: until its end, from its beginning. body_seconds: until
    all of it has come, of an upload upload_seconds. connections: open ones; for one more the oldest
    that asks nothing is closed, as is each after idle_seconds."""

    body: int = 4 * 2**20
    upload: int = 200 * 2**20
    waiting: int = 32
    together: int = 8
    seconds: float = 120.0
    body_seconds: float = 30.0
    upload_seconds: float = 1800.0
    connections: int = 200
    idle_seconds: float = 30.0


class Service:
    """answers: search, chat and embeddings, which need torch. documents: what writes the store.
    pages: drawing. passwords: tried on encrypted files that are uploaded or drawn."""

    def __init__(
        self, home: Path | None, limits: ServeLimits, passwords: Sequence[str] = ()
    ) -> None:
        self.limits, self.passwords = limits, passwords
        self.shelf = Shelf(home)
        self.answers = Worker("answers", limits.waiting, limits.together)
        self.documents = Worker("documents", limits.waiting)
        self.pages = Worker("pages", limits.waiting)
        self.workers = {"answers": self.answers, "documents": self.documents, "pages": self.pages}
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
