"""A page as an image, drawn in a child process."""

from __future__ import annotations

from pathlib import Path

from ragformer.errors import PasswordError, PdfError
from ragformer.pdf.child import USUAL_LIMITS, Child, ChildDiedError, Limits


def render_page(
    path: Path,
    number: int,
    width: int = 1000,
    password: str | None = None,
    limits: Limits = USUAL_LIMITS,
) -> bytes:
    """Page `number` (from 1) as displayed, about `width` pixels wide, as the bytes of a PNG.

    Raises PasswordError, or PdfError when the file or the page cannot be drawn.
    """
    request = {
        "path": str(path.absolute()),
        "passwords": [] if password is None else [password],
        "render": number,
        "width": width,
    }
    with Child(limits) as child:
        try:
            (head, image), *_ = child.ask(request)
        except ChildDiedError as death:
            raise PdfError(f"{path.name}: page {number} cannot be drawn: it {death}") from death
    if "png" in head:
        return image
    if head["error"] == "password":
        raise PasswordError(f"{path.name} is encrypted and needs a (different) password")
    raise PdfError(f"{path.name}: page {number} cannot be drawn ({head['reason']})")
