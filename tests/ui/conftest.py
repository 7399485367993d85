"""The page run by Streamlit's own test runner, on a home of its own and untrained weights."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ragformer_ui
import streamlit as st
from ragformer_ui import state
from streamlit import config
from streamlit.testing.v1 import AppTest

APP = Path(ragformer_ui.__file__).with_name("script.py")
OpenApp = Callable[..., AppTest]


def _documents() -> None:
    from ragformer_ui.documents import documents_page

    documents_page()


def _evaluation() -> None:
    from ragformer_ui.evaluation import evaluation_page

    evaluation_page()


def _lessons() -> None:
    from ragformer_ui.lessons import lessons_page

    lessons_page()


_ALONE = {"documents": _documents, "evaluation": _evaluation, "lessons": _lessons}


@pytest.fixture
def open_app(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenApp]:
    """open_app(page="", address="127.0.0.1"): a tab of its own, run once.

    page: "documents", "evaluation" or "lessons" alone: this runner opens others by their files.
    """
    before = config.get_option("server.address")
    monkeypatch.setattr(state, "WARM_AFTER", 0.0)

    def run(page: str = "", address: str | None = "127.0.0.1") -> AppTest:
        config.set_option("server.address", address)
        make = AppTest.from_function(_ALONE[page]) if page else AppTest.from_file(str(APP))
        make.default_timeout = 60
        return make.run()

    yield run
    config.set_option("server.address", before)
    for thread in threading.enumerate():  # it reads the library that is closed next
        if thread.name == "load models":
            thread.join()
    st.cache_resource.clear()
