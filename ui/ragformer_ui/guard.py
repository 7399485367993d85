"""Who may see the page, and send files to it: this machine, or whoever knows the password."""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from ragformer.config import UI_PASSWORD, ui_password
from ragformer.serve.who import is_loopback, same

TRIES = 5
SECONDS = 60.0

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Scope]]
_Send = Callable[[_Scope], Awaitable[None]]
_Asgi = Callable[[_Scope, _Receive, _Send], Awaitable[None]]


def refusal(address: str | None, password: str) -> str:
    """Why nothing may be shown to whoever reaches this address; "" where something may."""
    if is_loopback(address) or password:
        return ""
    where = f"at {address}" if address else "at every address of this machine"
    return (
        f"The page listens {where}, where others may reach it, so it shows nothing. Start it with"
        f" `ragformer ui`, or set {UI_PASSWORD} to a password that it will ask for."
    )


class Attempts:
    """The wrong passwords of the last minute, whoever gave them: past `TRIES` nobody may try."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed: deque[float] = deque()
        self._turn = threading.Lock()

    def wait(self) -> float:
        """Seconds until the next try is looked at; 0 for now."""
        with self._turn:
            return self._wait()

    def check(self, given: str, password: str) -> bool:
        """Whether the password is right. While `wait` is not over nothing is."""
        with self._turn:
            if self._wait() > 0:
                return False
            if same(given, password):
                return True
            self._failed.append(self._clock())
            return False

    def _wait(self) -> float:
        now = self._clock()
        while self._failed and self._failed[0] <= now - SECONDS:
            self._failed.popleft()
        return self._failed[0] + SECONDS - now if len(self._failed) >= TRIES else 0.0


_ENTERED: set[str] = set()
_UPLOADS = re.compile(r".*/_stcore/upload_file/([^/]+)/[^/]+")


def let_in(session: str) -> None:
    """Take files from this session (Streamlit's id of a tab) from now on."""
    _ENTERED.add(session)


class UploadGate:
    """Turns away files before their first byte is read, unless the page would show something.

    Streamlit alone keeps what any open tab sends in memory, whether its script wants it or not.
    """

    def __init__(self, app: _Asgi, address: Callable[[], str | None] = lambda: None) -> None:
        self._app = app
        self._address = address

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        found = _UPLOADS.fullmatch(scope.get("path", "")) if scope["type"] == "http" else None
        if found and scope["method"] != "OPTIONS" and not self._may_send(found[1]):
            start = {"type": "http.response.start", "status": 403, "headers": []}
            await send(start)
            await send({"type": "http.response.body", "body": b"Open the page first."})
            return
        await self._app(scope, receive, send)

    def _may_send(self, session: str) -> bool:
        if ui_password():
            return session in _ENTERED
        return is_loopback(self._address())
