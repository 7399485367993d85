"""Pages as images, drawn in a child process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ragformer.errors import PasswordError, PdfError
from ragformer.pdf.child import USUAL_LIMITS, Child, ChildDiedError, Limits
from ragformer.types import Box


@dataclass(frozen=True, slots=True)
class PageImage:
    """A page as the bytes of a PNG; `pixel`: how many points one of its pixels is wide and high."""

    png: bytes
    pixel: float


def render_page(
    path: Path,
    number: int,
    width: int = 1000,
    passwords: Sequence[str] = (),
    limits: Limits = USUAL_LIMITS,
    boxes: Sequence[Box] = (),
) -> PageImage:
    """Page `number` (from 1) as displayed, about `width` pixels wide, with the boxes marked.

    passwords: tried on an encrypted file. Raises PasswordError, or PdfError when the file or the
    page cannot be drawn.
    """
    with Child(limits) as child:
        return _draw(child, path, number, width, passwords, boxes)


def render_pages(
    path: Path,
    numbers: Iterable[int],
    width: int,
    passwords: Sequence[str] = (),
    limits: Limits = USUAL_LIMITS,
) -> dict[int, PageImage]:
    """As `render_page` for many, by one child; a page that cannot be drawn is left out."""
    drawn: dict[int, PageImage] = {}
    with Child(limits) as child:
        for number in numbers:
            with contextlib.suppress(PdfError):
                drawn[number] = _draw(child, path, number, width, passwords)
    return drawn


def _draw(
    child: Child,
    path: Path,
    number: int,
    width: int,
    passwords: Sequence[str],
    boxes: Sequence[Box] = (),
) -> PageImage:
    request = {
        "path": str(path.absolute()),
        "passwords": list(passwords),
        "render": number,
        "width": width,
        "boxes": list(boxes),
    }
    try:
        (head, image), *_ = child.ask(request)
    except ChildDiedError as death:
        raise PdfError(f"{path.name}: page {number} cannot be drawn: it {death}") from death
    if "png" in head:
        return PageImage(image, head["pixel"])
    if head["error"] == "password":
        raise PasswordError(f"{path.name} is encrypted and needs a (different) password")
    raise PdfError(f"{path.name}: page {number} cannot be drawn ({head['reason']})")
