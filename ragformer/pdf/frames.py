"""Messages between the parent and a reading child: length-prefixed JSON and a block of bytes."""

from __future__ import annotations

import json
import struct
from typing import IO, Any

_SIZES = struct.Struct(">II")
MAX_FRAME = 1 << 27


def write_frame(stream: IO[bytes], head: dict[str, Any], body: bytes = b"") -> None:
    """One message: JSON, and bytes that belong to it."""
    data = json.dumps(head, separators=(",", ":")).encode()
    stream.write(_SIZES.pack(len(data), len(body)) + data + body)
    stream.flush()


def read_frame(stream: IO[bytes]) -> tuple[dict[str, Any], bytes]:
    """The next message. Raises EOFError when the other side is gone, ValueError on nonsense."""
    sizes = stream.read(_SIZES.size)
    if len(sizes) < _SIZES.size:
        raise EOFError
    n_head, n_body = _SIZES.unpack(sizes)
    if n_head + n_body > MAX_FRAME:
        raise ValueError(f"a message of {n_head + n_body} bytes")
    data = stream.read(n_head + n_body)
    if len(data) < n_head + n_body:
        raise EOFError
    head = json.loads(data[:n_head])
    if not isinstance(head, dict):
        raise ValueError("a message that is not an object")
    return head, data[n_head:]
