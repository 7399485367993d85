"""The service: an OpenAI-compatible server of the collections on this machine.

request -> who asks, how much (gate) -> endpoint -> a worker's thread -> Library -> reply

with listen(host, port) as socket:
    make_server(make_app(host, token)).run([socket])
"""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import Depends, FastAPI, Request, Response
from fastapi.security import HTTPBearer

from ragformer.config import SERVE_TOKEN
from ragformer.errors import ConfigError, InputError
from ragformer.serve import chat, documents
from ragformer.serve.connections import limited
from ragformer.serve.failures import add_handlers
from ragformer.serve.gate import Gate
from ragformer.serve.metrics import Counted
from ragformer.serve.sending import Json
from ragformer.serve.service import ServeLimits, Service, service_of
from ragformer.serve.who import is_loopback

GRACE = 10
"""Seconds that running requests have to end when the server is told to stop."""
_SENDABLE = re.compile("[!-~]*")
_QUIET: Any = dict.fromkeys(
    ("tracing", "metrics", "logs", "operation_spans", "auto_configure"), False
)
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
_ERRORS: Any = {
    status: {"description": said, "content": {"application/json": {"schema": _ERROR}}}
    for status, said in {
        "4XX": "it cannot be done as asked",
        "5XX": "it cannot be done now",
        422: "the file cannot be used",
    }.items()
}


def make_app(
    host: str = "127.0.0.1",
    token: str = "",
    home: Path | None = None,
    limits: ServeLimits | None = None,
    passwords: Sequence[str] = (),
) -> FastAPI:
    """The application for a server that listens at `host`.

    passwords: tried on encrypted files that are uploaded or drawn. Raises ConfigError where others
    may reach that and there is no token, or one that no client can send.
    """
    loopback = is_loopback(host)
    if not (loopback or token):
        raise ConfigError(
            f"others may reach {host or 'every address'}, so the service needs a token that it"
            f" asks for; set {SERVE_TOKEN}, or listen at 127.0.0.1"
        )
    if not _SENDABLE.fullmatch(token):
        raise ConfigError(
            f"{SERVE_TOKEN} goes in a header, which takes no spaces, and letters and marks of ASCII"
            " only; choose another"
        )
    limits = limits or ServeLimits()
    service = Service(home, limits, passwords)
    app = FastAPI(
        title="ragformer",
        summary="Answers from the PDFs of this machine, each with quotes that stand there.",
        docs_url=None,  # these pages load scripts from elsewhere
        redoc_url=None,
        responses=_ERRORS,
        dependencies=[Depends(HTTPBearer(auto_error=False))],
        lifespan=service.running,
        telemetry=_QUIET,
        default_response_class=Json,
    )
    app.state.service = service
    app.include_router(chat.router)
    app.include_router(documents.router)
    app.get("/health", tags=["server"])(health)
    app.head("/health", include_in_schema=False)(health)  # what many that watch over servers send
    app.get("/metrics", tags=["server"], response_class=Response)(metrics)
    add_handlers(app)
    app.add_middleware(Gate, token=token, loopback=loopback, limits=limits)
    app.add_middleware(Counted, metrics=service.metrics)
    return app


async def health() -> dict[str, str]:
    """That the server answers."""
    return {"status": "ok"}


async def metrics(request: Request) -> Response:
    """Counts and times, for Prometheus."""
    return Response(
        service_of(request).metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8"
    )


def listen(host: str, port: int) -> socket.socket:
    """A socket there, 0 for any free port; raises InputError where that cannot be."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise InputError(
            f"cannot listen at {host}, port {port}: {error.strerror}; choose another --port"
        ) from error


def make_server(app: FastAPI) -> uvicorn.Server:
    """It prints nothing but what goes wrong: addresses hold quotes of documents."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=limited(app.state.service.limits),
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE,
        )
    )
