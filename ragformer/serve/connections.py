"""Connections before they are requests: how long one may stay without, and how many there may be.

uvicorn waits for the head of a request as long as it takes, and its own limit of connections
refuses everybody, /health too, while others hold theirs open and ask nothing.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

from ragformer.serve.service import ServeLimits


class _Connection(H11Protocol):
    """Closed `limits.idle_seconds` after it was made, or gave its last answer, if the head of a
    request has not come by then; the oldest such at once where too many are open."""

    limits: ServeLimits
    _late: asyncio.TimerHandle | None = None

    @property
    def asks_nothing(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    @property
    def is_open(self) -> bool:
        return not self.transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        super().connection_made(transport)
        self._wait()
        there = [c for c in self.connections if isinstance(c, _Connection) and c.is_open]
        if len(there) > self.limits.connections:
            idle = [c for c in there if c.asks_nothing]  # this one at least
            min(idle, key=_Connection.waits_until).transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._late is not None:
            self._late.cancel()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._wait()

    def waits_until(self) -> float:
        return self._late.when() if self._late is not None else 0.0

    def _wait(self) -> None:
        if self._late is not None:
            self._late.cancel()
        self._late = self.loop.call_later(self.limits.idle_seconds, self._close_if_idle)

    def _close_if_idle(self) -> None:
        if self.asks_nothing:
            self.transport.close()


def limited(limits: ServeLimits) -> type[asyncio.Protocol]:
    """What uvicorn is to make of each connection."""

    class Limited(_Connection):
        pass

    Limited.limits = limits
    return Limited
