"""Pixels of a drawn page: rows of 8-bit RGB, each `stride` bytes long."""

from __future__ import annotations

import struct
import zlib

from ragformer.types import Box

_MARKER = bytes(value // 3 for value in range(256))  # of yellow ink, what it leaves of the blue


def mark(pixels: bytearray, width: int, height: int, stride: int, box: Box, scale: float) -> None:
    """Take the blue out of the box: white paper turns yellow and black letters stay."""
    x0, y0, x1, y1 = (round(side * scale) for side in box)
    left = max(0, x0 - 1)
    right = max(left, min(width, x1 + 1))
    for row in range(max(0, y0 - 1), min(height, y1 + 1)):
        blue = slice(row * stride + 3 * left + 2, row * stride + 3 * right, 3)
        pixels[blue] = pixels[blue].translate(_MARKER)


def as_png(width: int, height: int, stride: int, pixels: bytearray) -> bytes:
    """Rows of 8-bit RGB as a PNG file, so that drawing a page needs no image library."""
    rows = b"".join(
        b"\0" + pixels[start : start + 3 * width] for start in range(0, height * stride, stride)
    )
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
