"""Which model answers: a choice of one tab, whose key goes nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chat_checkpoint import write_checkpoint
from ragformer_ui.models import HERE, SERVER, chosen_server
from streamlit.testing.v1 import AppTest

from ragformer.answer.checkpoints import import_decoder
from ragformer.library import Library
from ragformer.nn.identity import weights_id
from ragformer.types import Answer, RemoteModel

CATS = "The cat sleeps eighteen hours a day and hunts at night near the river."
KNOWN = RemoteModel("small", "http://127.0.0.1:1/v1", "secret-key")


def test_a_key_that_is_set_goes_only_to_its_own_address() -> None:
    assert chosen_server(KNOWN.base_url, "big", "", KNOWN).api_key == "secret-key"
    assert chosen_server("http://127.0.0.1:2/v1", "big", "", KNOWN).api_key == ""
    typed = chosen_server("http://127.0.0.1:2/v1 ", " big ", "other", KNOWN)
    assert (typed.base_url, typed.name, typed.api_key) == ("http://127.0.0.1:2/v1", "big", "other")


def test_the_chosen_server_answers_and_its_key_is_nowhere_on_disk(
    open_app: Callable[..., AppTest],
    library: Library,
    write_pdf: Callable[..., Path],
    index: Callable[..., Any],
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    index(library, write_pdf("cats.pdf", CATS))
    asked: list[object] = []

    def stream(_: Library, question: str, *given: object) -> Iterator[str | Answer]:
        asked.append(given[-1])
        yield Answer(question, "No.", (), (), None, True, "low_confidence", "openai", "big")

    monkeypatch.setattr(Library, "stream", stream)
    app = open_app()
    app.radio(key="model-kind").set_value(SERVER).run()
    app.text_input(key="server-url").set_value("nowhere")
    app.button[_use(app)].click().run()
    assert "base URL of a server" in app.error[0].value
    app.text_input(key="server-url").set_value("http://127.0.0.1:2/v1")
    app.text_input(key="server-model").set_value("big")
    app.text_input(key="server-key").set_value("typed-key")
    app.button[_use(app)].click().run()
    app.chat_input[0].set_value("How long does the cat sleep?").run()
    app.radio(key="model-kind").set_value(HERE).run()
    app.chat_input[0].set_value("And where?").run()
    assert asked == [RemoteModel("big", "http://127.0.0.1:2/v1", "typed-key"), "local"]
    assert library.chats.turns(1)[0].backend == "openai"
    kept = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    assert b"typed-key" not in kept


def _use(app: AppTest) -> int:
    return next(i for i, button in enumerate(app.button) if button.label == "Use it")


def test_an_imported_decoder_is_chosen_by_its_name(
    open_app: Callable[..., AppTest],
    library: Library,
    write_pdf: Callable[..., Path],
    index: Callable[..., Any],
    home: Path,
    tmp_path: Path,
) -> None:
    index(library, write_pdf("cats.pdf", CATS))
    source = write_checkpoint(tmp_path / "Qwen", [CATS], 4096)
    folder = import_decoder(source, name="qwen").folder
    assert folder == home / "models" / "qwen"
    app = open_app()
    picked = app.selectbox(key="model-here")
    assert picked.options == ["the one in use", "qwen"]
    picked.set_value(folder).run()
    app.chat_input[0].set_value("How long does the cat sleep?").run()
    [turn] = library.chats.turns(1)
    assert (turn.backend, turn.model) == ("local", weights_id(folder))
