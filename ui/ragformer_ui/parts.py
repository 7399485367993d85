"""The parts Streamlit lacks, in plain JavaScript: an answer with its marks, a page, small pages.

Their data is set as text nodes and attributes, never as HTML, and nothing is loaded from outside.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from ragformer.pdf.render import PageImage
from ragformer.types import Box


def _part(name: str) -> Callable[..., Any]:
    folder = Path(__file__).parent
    return st.components.v2.component(
        f"ragformer_{name}",
        html=f'<div class="{name}"></div>',
        css=(folder / f"{name}.css").read_text("utf-8"),
        js=(folder / f"{name}.js").read_text("utf-8"),
    )


_answer = _part("answer")
_page = _part("page")
_thumbs = _part("thumbs")

Heat = tuple[float, float, float, float, float]
"""A box in PDF points and how much its word matched, 0 to 1."""


def show_answer(key: str, data: dict[str, Any], on_mark: Callable[[int], None]) -> None:
    """data: {"blocks", "notes", "places": {mark: name}, "text", "open": mark or None, "recall"}."""

    def clicked() -> None:
        mark = st.session_state[key].mark
        if mark is not None:
            on_mark(int(mark))

    _answer(key=key, data=data, on_mark_change=clicked)


@dataclass(frozen=True, slots=True)
class Sheet:
    """A page to show. page: document id and number. boxes: of the quote, PDF points. pdf: the
    file's bytes to open in a tab of its own, once for each `opening`; None for none. openable:
    whether to offer that. above: rem of the window that are not the page's."""

    image: PageImage
    name: str
    page: tuple[str, int]
    boxes: Sequence[Box] = ()
    heat: Sequence[Heat] = ()
    openable: bool = False
    pdf: bytes | None = None
    opening: str = ""
    above: float = 20.0


def show_page(key: str, sheet: Sheet, on_open: Callable[[], None]) -> None:
    """The image with its boxes outlined and its words coloured by their heat."""
    wide, high = struct.unpack(">II", sheet.image.png[16:24])  # of the PNG's first chunk
    boxes = [[round(value, 2) for value in box] for box in sheet.boxes]
    heat = [[round(value, 3) for value in word] for word in sheet.heat]
    document, number = sheet.page
    data = {
        "png": base64.b64encode(sheet.image.png).decode(),
        "size": [round(wide * sheet.image.pixel, 3), round(high * sheet.image.pixel, 3)],
        "boxes": boxes,
        "heat": heat,
        "name": sheet.name,
        "page": f"{document} {number}",
        # What this is: showing it again changes nothing.
        "shown": f"{document} {number} {boxes} {heat[:1]}",
        "openable": sheet.openable,
        "above": sheet.above,
        "open": None
        if sheet.pdf is None
        else {"pdf": base64.b64encode(sheet.pdf).decode(), "number": number, "key": sheet.opening},
    }
    _page(key=key, data=data, on_open_change=on_open)


def show_thumbs(
    key: str,
    pages: Sequence[tuple[int, bytes | None]],
    page: int,
    quoted: Sequence[int],
    on_page: Callable[[int], None],
) -> None:
    """A strip of pages, each (number, PNG or None), of which `page` is the one shown."""

    def clicked() -> None:
        number = st.session_state[key].page
        if number is not None:
            on_page(int(number))

    drawn = [(n, base64.b64encode(png).decode() if png else "") for n, png in pages]
    data = {"pages": drawn, "page": page, "quoted": list(quoted)}
    _thumbs(key=key, data=data, on_page_change=clicked)
