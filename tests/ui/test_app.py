"""What the page does at each click, without a browser."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from ragformer_ui import chat, state
from ragformer_ui.guard import TRIES
from streamlit.testing.v1 import AppTest

from ragformer.answer import explain as answer_explain
from ragformer.cluster.layout import make_shards
from ragformer.errors import StoreError
from ragformer.library import Library, open_library
from ragformer.store.chats import turn_of
from ragformer.store.questions import Questions
from ragformer.types import Answer

OpenApp = Callable[..., AppTest]
CATS = "The cat sleeps eighteen hours a day and hunts at night near the river."
TAX = "Annual tax returns are due on 31 October at the district office."
BAIT = "<script>alert(1)</script> ![x](http://evil.example/x.png) [y](http://evil.example)"


@pytest.fixture
def filled(library: Library, write_pdf: Callable[..., Path], index: Callable[..., Any]) -> Library:
    index(library, write_pdf("cats.pdf", CATS, ""), write_pdf("tax.pdf", TAX))
    return library


def ask(app: AppTest, question: str) -> AppTest:
    return app.chat_input[0].set_value(question).run()


def kept(library: Library, number: int = 1) -> list[tuple[str, bool]]:
    return [(turn.question, turn.stopped) for turn in library.chats.turns(number)]


def texts(app: AppTest) -> list[str]:
    return [str(element.value) for element in app.text]


@pytest.mark.parametrize("address", [None, "0.0.0.0"])
def test_nothing_is_shown_where_others_may_reach_it(
    open_app: OpenApp, filled: Library, address: str | None
) -> None:
    app = open_app(address=address)
    assert "RAGFORMER\\_UI\\_PASSWORD" in app.error[0].value
    assert [*app.chat_input, *app.sidebar.button, *app.text] == []


def test_a_password_comes_before_anything_else(
    open_app: OpenApp, filled: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAGFORMER_UI_PASSWORD", "word")
    app = open_app(address="0.0.0.0")
    assert [*app.chat_input, *app.sidebar.button] == []
    app.text_input[0].set_value("wurd")
    app.button[0].click().run()
    assert "not the password" in app.error[0].value
    app.text_input[0].set_value("word")
    app.button[0].click().run()
    assert app.chat_input
    assert not app.error


def test_guessing_passwords_is_slow_whichever_tab_it_comes_from(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAGFORMER_UI_PASSWORD", "word")
    for _ in range(TRIES):
        app = open_app()
        app.text_input[0].set_value("guess")
        app.button[0].click().run()
    assert "Too many wrong passwords" in app.error[0].value
    app.text_input[0].set_value("word")
    app.button[0].click().run()
    assert "Too many wrong passwords" in app.error[0].value


def test_the_first_visit_teaches(open_app: OpenApp, home: Path) -> None:
    app = open_app()
    assert any("Add PDFs, then ask" in text for text in texts(app))
    assert not app.chat_input
    assert not home.exists(), "looking at the page makes nothing"


def test_an_answer_is_shown_and_kept(open_app: OpenApp, filled: Library) -> None:
    app = ask(open_app(), "How long does the cat sleep?")
    assert not app.exception
    (turn,) = filled.chats.turns(1)
    assert turn.citations
    assert "How long does the cat sleep?" in texts(app)
    assert app.query_params["chat"] == "1"
    ask(app, "And where does it hunt?")
    assert [q for q, _ in kept(filled)] == [
        "How long does the cat sleep?",
        "And where does it hunt?",
    ]
    again = open_app()  # another tab finds it in its list
    again.sidebar.button(key="chat-1").click().run()
    assert "And where does it hunt?" in texts(again)


def test_a_follow_up_leans_on_the_turn_before(open_app: OpenApp, filled: Library) -> None:
    app = ask(open_app(), "How long does the cat sleep?")
    ask(app, "and where does it hunt?")
    assert "cat" in filled.chats.turns(1)[1].searched_as


def test_asking_again_takes_the_turns_place(open_app: OpenApp, filled: Library) -> None:
    app = ask(open_app(), "How long does the cat sleep?")
    (before,) = filled.chats.turns(1)
    app.button(key="ask-again").click().run()
    (after,) = filled.chats.turns(1)
    assert before.question == after.question
    assert after.id > before.id


def test_only_the_chosen_files_are_asked(open_app: OpenApp, filled: Library) -> None:
    app = open_app()
    tax = next(d for d in filled.store.documents() if d.path.name == "tax.pdf")
    app.multiselect[0].set_value([str(tax.path)]).run()
    ask(app, "How long does the cat sleep?")
    (turn,) = filled.chats.turns(1)
    assert {c.document_id for c in turn.citations} <= {tax.id}
    assert len(turn.passages) == 1


def test_what_was_written_before_it_was_stopped_is_kept(
    filled: Library, monkeypatch: pytest.MonkeyPatch, open_app: OpenApp
) -> None:
    def stopped(*arguments: object) -> Any:
        yield "Eighteen "
        st.stop()  # as Streamlit does where a click comes in the middle

    monkeypatch.setattr(chat, "told", stopped)
    ask(open_app(), "How long does the cat sleep?")
    (turn,) = filled.chats.turns(1)
    assert (turn.answer, turn.stopped, turn.citations) == ("Eighteen ", True, ())
    filled.remove(filled.document("cats.pdf").id)
    assert filled.chats.turns(1) == [], "it may have been drawn from that"


def test_the_run_after_a_stop_waits_for_what_was_written(
    filled: Library, open_app: OpenApp
) -> None:
    """Streamlit begins it before the other has ended."""
    app = open_app()
    tab = app.session_state["tab"]
    cut = Answer("How long?", "Eighteen", (), (), 0.0, False, None, "local", "")
    tab.answering.acquire()

    def end() -> None:
        tab.keep(filled.chats, cut, stopped=True)
        tab.answering.release()

    threading.Timer(0.5, end).start()
    app.run()
    assert "How long?" in texts(app)


def test_an_error_is_a_sentence_and_no_turn(
    filled: Library, monkeypatch: pytest.MonkeyPatch, open_app: OpenApp
) -> None:
    def fails(*arguments: object) -> Any:
        raise StoreError("the disk is gone; plug it in")

    monkeypatch.setattr(Library, "stream", fails)
    app = ask(open_app(), "Why?")
    assert [error.value for error in app.error] == ["the disk is gone; plug it in"]
    assert filled.chats.turns(1) == []


def test_chats_are_searched_and_renamed(open_app: OpenApp, filled: Library) -> None:
    app = ask(open_app(), "How long does the cat sleep?")
    app.text_input(key="title-1").set_value("Cats").run()
    assert app.sidebar.button(key="chat-1").label == "Cats"
    app.text_input(key="chat-words").set_value("planets").run()
    assert [b.key for b in app.sidebar.button] == ["new-chat"]
    app.text_input(key="chat-words").set_value("SLEEP").run()
    assert [b.key for b in app.sidebar.button] == ["new-chat", "chat-1"]


def test_of_a_long_chat_the_last_turns_are_shown_and_more_on_a_click(
    open_app: OpenApp, filled: Library
) -> None:
    def asked(app: AppTest) -> list[int]:
        _, *questions = [text for text in texts(app) if text.startswith("Question ")]  # its title
        return [int(question.removeprefix("Question ")) for question in questions]

    for i in range(state.SHOWN * 2 + 5):
        filled.chats.add(Answer(f"Question {i}", "", (), (), None, True, None, "local", ""), 1)
    app = open_app()
    app.sidebar.button(key="chat-1").click().run()
    assert asked(app) == list(range(state.SHOWN, state.SHOWN * 2 + 5))
    app.button(key="earlier").click().run()
    assert asked(app) == list(range(state.SHOWN * 2 + 5))
    assert "earlier" not in {button.key for button in app.button}


def test_what_is_looked_at_in_a_long_chat_is_shown() -> None:
    turn = turn_of(Answer("Why?", "", (), (), None, True, None, "local", ""))
    tab = state.Tab("c", turns=[turn] * 200)
    assert tab.first_shown() == 180
    tab.place = state.Place(7, 0, 1)
    assert tab.first_shown() == 7
    tab.explained = 3
    assert tab.first_shown() == 3
    assert state.Tab("c", turns=[turn] * 39).first_shown() == 0


def test_an_answer_is_explained_by_what_was_read(open_app: OpenApp, filled: Library) -> None:
    app = ask(open_app(), "How long does the cat sleep?")
    assert not app.dataframe
    app.button(key="explain-0").click().run()
    table = app.dataframe[0].value
    (turn,) = filled.chats.turns(1)
    assert len(table) == len(turn.passages) == 2
    assert list(table["Page"]) == [1, 1]
    assert list(table["Quoted"]).index(True) == turn.citations[0].mark - 1
    assert {"Words", "Meaning", "Fused", "Reading"} <= set(table.columns)
    assert list(table["Fused"]) == [found["fused"] for found in turn.found_by]
    app.button(key="explain-0").click().run()
    assert not app.dataframe


def test_prompt_and_attention_are_worked_out_when_they_are_looked_at(
    open_app: OpenApp, filled: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = ask(open_app(), "How long does the cat sleep?")
    app.button(key="explain-0").click().run()
    app.segmented_control(key="view-0").set_value("Prompt").run()
    assert "<question> How long does the cat sleep?" in app.code[0].value
    assert CATS in app.code[0].value
    app.segmented_control(key="view-0").set_value("Attention").run()
    assert not app.exception
    shares = app.dataframe[0].value
    assert list(shares["Looked at"])[-2:] == ["The question", "The answer itself"]
    assert shares["Share"].sum() == pytest.approx(1, abs=1e-3)
    monkeypatch.setattr(answer_explain, "looked_at", lambda *_: pytest.fail("worked out again"))
    app.run()
    assert not app.exception


def test_a_question_is_kept_for_the_evaluation_once(open_app: OpenApp, filled: Library) -> None:
    app = ask(open_app(), "How long does the cat sleep?")
    app.button(key="explain-0").click().run()
    for _ in range(2):
        app.button(key="keep-0").click().run()
    (citation,) = filled.chats.turns(1)[0].citations
    (kept,) = Questions(filled.folder).all()
    assert (kept.file, kept.pages) == (citation.path.name, (citation.page,))


def test_another_collection_has_its_own_chats(
    open_app: OpenApp, filled: Library, home: Path, write_pdf: Callable[..., Path]
) -> None:
    app = ask(open_app(), "How long does the cat sleep?")
    assert not app.sidebar.selectbox, "there is nothing to choose from"
    with open_library("taxes", home) as other:
        assert list(other.index([write_pdf("other/tax.pdf", TAX)]))
    make_shards(home / "collections" / "archive", 1, usual=1)
    app.run()
    assert app.sidebar.selectbox[0].options == ["archive", "default", "taxes"]
    app.sidebar.selectbox[0].set_value("taxes").run()
    assert [button.key for button in app.sidebar.button] == ["new-chat"]
    assert any("1 document, 1 page" in text for text in texts(app))
    assert app.query_params == {"collection": "taxes"}


def test_a_thumb_is_kept(open_app: OpenApp, filled: Library) -> None:
    app = ask(open_app(), "How long does the cat sleep?")
    (turn,) = filled.chats.turns(1)
    app.feedback(key=f"thumb-{turn.id}").set_value(1).run()
    assert filled.chats.turns(1)[0].thumb == 1


def test_text_of_documents_is_never_markup(
    open_app: OpenApp, library: Library, write_pdf: Callable[..., Path], index: Callable[..., Any]
) -> None:
    path = write_pdf("bait.pdf", BAIT)
    path = path.rename(path.with_name("![x](https:evil.example) <b>.pdf"))
    index(library, path)
    app = ask(open_app(), BAIT)
    state_of_page = [*app.markdown, *app.caption, *app.warning, *app.error, *app.info]
    shown = " ".join(str(element.value) for element in state_of_page)
    shown += " ".join(str(button.label) for button in app.button)
    assert not re.search(r"(?<!\\)<script|(?<!\\)!\[|\]\(http", shown)
    assert library.chats.turns(1)[0].question == BAIT


def test_nothing_is_computed_again_by_a_rerun(
    open_app: OpenApp, filled: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = ask(open_app(), "How long does the cat sleep?")
    monkeypatch.setattr(Library, "stream", lambda *_: pytest.fail("asked again"))
    monkeypatch.setattr(state, "rows", lambda *_: pytest.fail("listed again"))
    monkeypatch.setattr(state.Tab, "keep", lambda *_: pytest.fail("kept again"))
    app.run()
    assert not app.exception
    assert not app.error
