"""A page's image has the size asked for and shows what is on the page."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from ragformer.errors import PasswordError, PdfError
from ragformer.pdf.render import render_page, render_pages


def test_a_page_is_drawn(make_pdf: Callable[..., Path]) -> None:
    image_module = pytest.importorskip("PIL.Image")
    path = make_pdf("a.pdf", [[], [(0, 700, 80, "MMMMMM")]])
    with image_module.open(io.BytesIO(render_page(path, 2, width=300).png)) as image:
        assert image.size == (300, 400)
        ink = image.convert("L").point(lambda value: 255 * (value < 128)).getbbox()
    assert ink is not None
    assert 15 <= ink[1] < ink[3] <= 55  # the letters stand in the 100 points from the top
    assert render_page(path, 2, width=300).pixel == 2.0  # the page is 600 points wide
    with image_module.open(io.BytesIO(render_page(path, 1, width=300).png)) as image:
        assert image.getextrema() == ((255, 255),) * 3


def test_what_cannot_be_drawn(make_pdf: Callable[..., Path], rewrite: Callable[..., Path]) -> None:
    path = make_pdf("a.pdf", [[(10, 10, 9, "x")]])
    with pytest.raises(PdfError, match="no page 2: the file has 1"):
        render_page(path, 2)
    locked = rewrite(path, "l.pdf", lambda writer: writer.encrypt("word", algorithm="AES-128"))
    with pytest.raises(PasswordError, match="password"):
        render_page(locked, 1)
    assert render_page(locked, 1, passwords=["other", "word"]).png.startswith(b"\x89PNG")
    with pytest.raises(PdfError, match=r"missing\.pdf.* \(it is no longer there\)"):
        render_page(path.with_name("missing.pdf"), 1)


def test_many_pages_are_what_each_would_be(make_pdf: Callable[..., Path]) -> None:
    path = make_pdf("a.pdf", [[(10, 10, 9, "x")], [(10, 10, 9, "y")]])
    drawn = render_pages(path, [2, 3, 1], width=60)
    assert drawn == {n: render_page(path, n, width=60) for n in (2, 1)}, "there is no page 3"
