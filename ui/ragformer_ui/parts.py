"""The two parts Streamlit lacks, in plain JavaScript: an answer with its marks, and a page.

Their data is set as text nodes and attributes, never as HTML, and nothing is loaded from outside.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Sequence
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


def show_answer(key: str, data: dict[str, Any], on_mark: Callable[[int], None]) -> None:
    """data: {"blocks", "notes", "places": {mark: name}, "text", "open": mark or None, "recall"}."""

    def clicked() -> None:
        mark = st.session_state[key].mark
        if mark is not None:
            on_mark(int(mark))

    _answer(key=key, data=data, on_mark_change=clicked)


def show_page(key: str, image: PageImage, boxes: Sequence[Box], name: str, shown: str) -> None:
    """The image with `boxes` (PDF points) outlined. shown: what this is, so that showing it again
    changes nothing."""
    wide, high = struct.unpack(">II", image.png[16:24])  # of the PNG's first chunk
    data = {
        "png": base64.b64encode(image.png).decode(),
        "size": [round(wide * image.pixel, 3), round(high * image.pixel, 3)],
        "boxes": [[round(value, 2) for value in box] for box in boxes],
        "name": name,
        "shown": shown,
    }
    _page(key=key, data=data)
