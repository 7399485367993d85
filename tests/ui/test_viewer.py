"""The page view, without a browser: what it shows where there is something in its way."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ragformer_ui import viewer
from streamlit.testing.v1 import AppTest

from ragformer.library import Library

CATS = "The cat sleeps eighteen hours a day and hunts at night near the river."


@pytest.fixture
def cited(
    open_app: Callable[..., AppTest],
    library: Library,
    write_pdf: Callable[..., Path],
    index: Callable[..., Any],
) -> Callable[..., tuple[AppTest, Path]]:
    """cited(password="", name="cats.pdf"): a tab with the page of its one citation open, and the
    file."""

    def make(password: str = "", name: str = "cats.pdf") -> tuple[AppTest, Path]:
        path = write_pdf("cats.pdf", CATS, "", password=password)
        path = path.rename(path.with_name(name))
        index(library, path, passwords=(password,))
        app = open_app()
        app.chat_input[0].set_value("How long does the cat sleep?").run()
        app.session_state["tab"].open_mark(0, 1)
        return app.run(), path

    return make


def texts(app: AppTest) -> list[str]:
    return [str(element.value) for element in app.text]


def test_a_page_is_shown_with_its_place_and_a_way_to_the_next(
    cited: Callable[..., tuple[AppTest, Path]],
) -> None:
    app, _ = cited()
    assert "cats.pdf, page 1 of 2" in texts(app)
    assert app.button(key="small-chevron_left").disabled
    app.button(key="small-chevron_right").click().run()
    assert "cats.pdf, page 2 of 2" in texts(app)
    app.button(key="small-format_quote").click().run()
    assert "cats.pdf, page 1 of 2" in texts(app)
    app.button(key="small-close").click().run()
    assert "cats.pdf, page 1 of 2" not in texts(app)


def test_a_page_of_a_file_whose_name_is_no_utf_8_is_shown(
    cited: Callable[..., tuple[AppTest, Path]],
) -> None:
    app, _ = cited(name=os.fsdecode(b"caf\xe9.pdf"))
    app.session_state["tab"].layers = {"Pages", "Matches"}
    app.run()
    assert not app.exception
    assert "caf?.pdf, page 1 of 2" in texts(app)


def test_turning_back_draws_nothing_anew(
    cited: Callable[..., tuple[AppTest, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    app, _ = cited()
    app.button(key="small-chevron_right").click().run()
    monkeypatch.setattr(viewer, "render_page", lambda *_: pytest.fail("drawn again"))
    app.button(key="small-chevron_left").click().run()
    assert not app.exception
    assert not app.error


def test_more_is_drawn_and_compared_when_it_is_asked_for(
    cited: Callable[..., tuple[AppTest, Path]], library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    sheets, strips = [], []
    monkeypatch.setattr(viewer, "show_page", lambda _, sheet, *__: sheets.append(sheet))
    monkeypatch.setattr(viewer, "show_thumbs", lambda *strip: strips.append(strip))
    app, _ = cited()
    assert (sheets[-1].heat, sheets[-1].pdf, strips) == ((), None, [])
    app.button(key="layer-Pages").click().run()
    _, pages, shown, quoted, _ = strips[-1]
    assert [(number, png[:4]) for number, png in pages] == [(1, b"\x89PNG"), (2, b"\x89PNG")]
    assert (shown, quoted) == (1, [1])
    app.button(key="layer-Matches").click().run()
    heat = sheets[-1].heat
    assert max(word[4] for word in heat) == 1
    (document,) = library.store.documents()
    boxes = {word.box for word in library.store.page(document.id, 1).words}
    assert {word[:4] for word in heat} <= boxes
    monkeypatch.setattr(viewer, "render_pages", lambda *_: pytest.fail("drawn again"))
    app.run()
    assert sheets[-1].heat == heat
    app.button(key="layer-Matches").click().run()
    assert sheets[-1].heat == ()


def test_the_file_goes_to_the_browser_once_when_asked(
    cited: Callable[..., tuple[AppTest, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    sheets = []
    monkeypatch.setattr(viewer, "show_page", lambda _, sheet, *__: sheets.append(sheet))
    app, path = cited()
    app.session_state["open-pdf"] = "now"
    app.run()
    assert (sheets[-1].pdf, sheets[-1].opening) == (path.read_bytes(), "now")
    app.run()
    assert sheets[-1].pdf is None


def test_a_file_that_is_another_by_now_is_not_shown(
    cited: Callable[..., tuple[AppTest, Path]],
) -> None:
    app, path = cited()
    whole = path.read_bytes()
    os.utime(path, ns=(0, 0))  # copied back, say
    assert not app.run().warning
    for other in (whole + b"%", whole[:-1] + b"%"):
        path.write_bytes(other)
        assert "changed or moved since it was indexed" in app.run().warning[0].value
    assert any(text.startswith("The quote: “") for text in texts(app))


def test_an_encrypted_file_asks_for_its_password_in_the_page(
    cited: Callable[..., tuple[AppTest, Path]],
) -> None:
    app, _ = cited("word")
    assert not app.error
    app.text_input(key="page-password").set_value("wurd").run()
    assert "does not open it" in app.error[0].value
    app.text_input(key="page-password").set_value("word").run()
    assert not app.error
    assert "page-password" not in [field.key for field in app.text_input]


def test_a_removed_document_is_said_to_be_gone(
    cited: Callable[..., tuple[AppTest, Path]],
    library: Library,
    write_pdf: Callable[..., Path],
    index: Callable[..., Any],
) -> None:
    app, _ = cited()
    index(library, write_pdf("tax.pdf", "Annual tax returns are due on 31 October."))
    library.remove(library.document("cats.pdf").id)
    app.run()
    assert "has been removed" in app.info[0].value
