"""The page view, without a browser: what it shows where there is something in its way."""

from __future__ import annotations

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
    """cited(password=""): a tab with the page of its one citation open, and the file."""

    def make(password: str = "") -> tuple[AppTest, Path]:
        path = write_pdf("cats.pdf", CATS, "", password=password)
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


def test_turning_back_draws_nothing_anew(
    cited: Callable[..., tuple[AppTest, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    app, _ = cited()
    app.button(key="small-chevron_right").click().run()
    monkeypatch.setattr(viewer, "render_page", lambda *_: pytest.fail("drawn again"))
    app.button(key="small-chevron_left").click().run()
    assert not app.exception
    assert not app.error


def test_a_file_that_is_another_by_now_is_not_shown(
    cited: Callable[..., tuple[AppTest, Path]],
) -> None:
    app, path = cited()
    path.write_bytes(path.read_bytes() + b"%")
    app.run()
    assert "changed or moved since it was indexed" in app.warning[0].value
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
