"""The gate before every request: who asks, from which page, how much is sent and how slowly.

A page of another site can make a browser send requests to this machine, and may name this machine
as its own host (DNS rebinding). So on loopback only this machine's own names are answered, and no
page of another origin; anywhere else a token is asked for.
"""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ragformer.serve.failures import response
from ragformer.serve.service import ServeLimits
from ragformer.serve.who import is_loopback, same

OPEN = frozenset({"/health"})
"""Paths that need no token: what watches over servers asks them, and they tell nothing."""
_BEARER = re.compile(r"Bearer +(\S+)", re.IGNORECASE)


@dataclass(frozen=True)
class Gate:
    """ASGI around `app`. token: "" where none is asked for."""

    app: ASGIApp
    token: str = field(repr=False)
    loopback: bool
    limits: ServeLimits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        limits, uploads = self.limits, scope["path"] == "/v1/documents"
        most = limits.upload if uploads else limits.body
        seconds = limits.upload_seconds if uploads else limits.body_seconds
        refusal = self._refusal(scope["path"], headers)
        length = headers.get("content-length", "0")
        if refusal is None and length.isdecimal() and int(length[:20]) > most:
            refusal = 413, _too_large(most)
        if refusal is None and headers.get("content-encoding", "identity") != "identity":
            refusal = 415, "send the request as it is, without Content-Encoding"
        if refusal is None:
            await self.app(scope, _limited(receive, most, seconds), send)
            return
        status, said = refusal
        more = {"WWW-Authenticate": "Bearer"} if status == 401 else {"Connection": "close"}
        await response(status, said, headers=more)(scope, receive, send)

    def _refusal(self, path: str, headers: Headers) -> tuple[int, str] | None:
        """Status and sentence for a request that goes no further."""
        host = _host(headers.get("host", ""))
        if self.loopback and not is_loopback(host):
            return 421, "this server answers to 127.0.0.1 and localhost only"
        origin = headers.get("origin")
        site = None if origin is None else origin.partition("://")[2]
        if not self.token and site not in (None, headers.get("host")):
            return 403, "this server takes no request from a page of another site"
        if self.token and path not in OPEN:
            given = _BEARER.fullmatch(headers.get("authorization", ""))
            if given is None or not same(given[1], self.token):
                return 401, "give the server's token as the API key (Authorization: Bearer ...)"
        return None


def _host(header: str) -> str:
    """The name or address in a Host header, without port and brackets; "" where there is none."""
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""


def _limited(receive: Receive, most: int, seconds: float) -> Receive:
    """The same messages until they hold more than `most` bytes, or the body is not whole after so
    many seconds. What comes behind it, that the client has gone, may come at any time."""
    n, until, whole = 0, time.monotonic() + seconds, False

    async def limited() -> Message:
        nonlocal n, whole
        if whole:
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), until - time.monotonic())
        except TimeoutError as error:
            raise HTTPException(408, _too_slow(seconds), {"Connection": "close"}) from error
        n += len(message.get("body", b""))
        if n > most:
            raise HTTPException(413, _too_large(most))
        whole = not message.get("more_body", False)
        return message

    return limited


def _too_large(most: int) -> str:
    return f"the request is larger than the {most:,} bytes that are taken"


def _too_slow(seconds: float) -> str:
    return f"the request was not whole after {seconds:g} seconds; send it faster, or less of it"
