"""Who may reach a server: this machine, or whoever knows its secret."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from urllib.parse import urlsplit


def is_loopback(address: str | None) -> bool:
    """Whether a server that listens there is reached from this machine only.

    None or "" is for every address there is.
    """
    if address is None:
        return False
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def leads_here(url: str, port: int) -> bool:
    """Whether a web address is that of what this machine serves at `port`."""
    parts = urlsplit(url)
    return is_loopback(parts.hostname) and parts.port == port


def same(given: str, password: str) -> bool:
    """Whether they are equal, told in a time that says nothing of how much of them is."""
    return hmac.compare_digest(_digest(given), _digest(password))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
