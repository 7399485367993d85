"""Who may see the page: this machine, or whoever knows the password."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import threading
import time
from collections import deque
from collections.abc import Callable

from ragformer.config import UI_PASSWORD

TRIES = 5
SECONDS = 60.0


def is_loopback(address: str | None) -> bool:
    """Whether a server that listens there is reached from this machine only.

    None is what Streamlit has where no address is set: it then listens on every one.
    """
    if address is None:
        return False
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def refusal(address: str | None, password: str) -> str:
    """Why nothing may be shown to whoever reaches this address; "" where something may."""
    if is_loopback(address) or password:
        return ""
    where = f"at {address}" if address else "at every address of this machine"
    return (
        f"The page listens {where}, where others may reach it, so it shows nothing. Start it with"
        f" `ragformer ui`, or set {UI_PASSWORD} to a password that it will ask for."
    )


def same(given: str, password: str) -> bool:
    """Whether they are equal, told in a time that says nothing of how much of them is."""
    return hmac.compare_digest(_digest(given), _digest(password))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


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
