"""What a chat keeps, and when it lets go."""

from __future__ import annotations

import dataclasses
import errno
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from ragformer.errors import StoreFullError
from ragformer.store.chats import Chats
from ragformer.types import Answer, Citation, Passage, Span


@pytest.fixture
def answer(make_document: Callable[..., object]) -> Callable[..., Answer]:
    """answer(text, *documents): an answer drawn from the documents of these names."""

    def make(text: str, *names: str, question: str = "Why?") -> Answer:
        passages = tuple(
            Passage(n, make_document(name, ["text"]).document, (), "text", (Span(1, 0, 4),), 1.0)
            for n, name in enumerate(names)
        )
        return Answer(question, text, (), passages, 0.5, False, None, "local", "m")

    return make


def test_turns_come_back_in_order_and_a_new_chat_has_a_new_number(tmp_path, answer):
    chats = Chats(tmp_path)
    assert chats.turns(1) == []
    first = chats.add(answer("one"))
    assert chats.add(answer("two"), first) == first
    assert chats.add(answer("other")) != first
    assert [turn.answer for turn in chats.turns(first)] == ["one", "two"]


def test_a_file_name_that_is_not_utf8_is_no_reason_to_lose_a_turn(tmp_path, answer):
    chats = Chats(tmp_path)
    odd = "see caf\udce9.pdf"  # the byte E9, as Python spells it
    number = chats.add(answer(odd, question=odd))
    (turn,) = chats.turns(number)
    assert (turn.question, turn.answer) == ("see caf?.pdf", "see caf?.pdf")


def test_a_turn_goes_with_any_document_it_was_drawn_from(tmp_path, answer, make_document):
    chats = Chats(tmp_path)
    chats.forget_all_but([])
    assert not chats.file.exists()
    for names in (("a",), ("b",), ("a", "b"), ()):
        chats.add(answer(f"from {names}", *names), 1)
    kept = make_document("a", ["text"]).document.id
    chats.forget_all_but([kept, "0" * 64])
    assert [turn.answer for turn in chats.turns(1)] == ["from ('a',)", "from ()"]
    assert b"from ('b',)" not in chats.file.read_bytes()
    chats.forget_all_but([])
    assert [turn.answer for turn in chats.turns(1)] == ["from ()"]


def test_a_turn_about_a_document_goes_with_it(tmp_path, answer, make_document):
    chats = Chats(tmp_path)
    document = make_document("a", ["text"]).document
    chats.add(dataclasses.replace(answer("a.pdf has 1 page."), about=(document,)), 1)
    chats.forget_all_but([document.id])
    assert len(chats.turns(1)) == 1
    chats.forget_all_but([])
    assert chats.turns(1) == []


def test_a_full_disk_is_said_in_words(tmp_path, answer, monkeypatch):
    def touch(path: Path, mode: int = 0o666) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "touch", touch)
    with pytest.raises(StoreFullError, match="no space is left"):
        Chats(tmp_path).add(answer("one"))


def test_a_turn_comes_back_whole(tmp_path, answer):
    chats = Chats(tmp_path)
    place = (
        tmp_path / "caf\udce9.pdf",
        3,
        "iii",
        Span(3, 5, 9),
        "text",
        ((1.0, 2.0, 3.0, 4.5),),
        True,
    )
    given = dataclasses.replace(
        answer("so [1]", "a"),
        citations=(Citation(1, "0" * 64, *place),),
        note="no page 9",
        searched_as="why is",
    )
    number = chats.add(given, stopped=True)
    (turn,) = chats.turns(number)
    assert turn.citations == given.citations
    assert (turn.passages, turn.found_by) == (((0, 1.0),), ({},))
    assert (turn.confidence, turn.note, turn.searched_as) == (0.5, "no page 9", "why is")
    assert (turn.model, turn.stopped, turn.thumb) == ("m", True, None)
    chats.rate(turn.id, 1)
    assert chats.turns(number)[0].thumb == 1


def test_chats_are_listed_by_what_they_say_and_by_title(tmp_path, answer):
    chats = Chats(tmp_path)
    assert chats.listed() == []
    first = chats.add(answer("the cat sleeps", question="What does it do?"))
    chats.add(answer("at night", question="When?"), first)
    second = chats.add(answer("31 October", question="By when?"))
    assert [(c.number, c.title, c.n_turns) for c in chats.listed()] == [
        (second, "By when?", 1),
        (first, "What does it do?", 2),
    ]
    chats.rename(second, " Taxes ")
    assert [c.title for c in chats.listed("TAX")] == ["Taxes"]
    assert [c.number for c in chats.listed("CAT sl")] == [first]
    assert [c.number for c in chats.listed("by when")] == [second], "its question still counts"
    assert chats.listed("100%") == []
    chats.rename(second, "")
    assert chats.listed("october")[0].title == "By when?"


def test_nothing_is_left_of_a_chat_or_turn_that_was_deleted(tmp_path, answer):
    chats = Chats(tmp_path)
    first = chats.add(answer("first words"))
    chats.add(answer("second words"), first)
    chats.rename(first, "my title")
    chats.delete_turn(chats.turns(first)[0].id)
    assert [turn.answer for turn in chats.turns(first)] == ["second words"]
    chats.delete(first)
    assert chats.listed() == []
    left = chats.file.read_bytes()
    assert [
        words for words in (b"first words", b"second words", b"my title") if words in left
    ] == []


def test_a_file_from_before_there_were_details_still_opens(tmp_path):
    chats = Chats(tmp_path)
    with sqlite3.connect(chats.file) as db:
        db.execute(
            "CREATE TABLE turns (id INTEGER PRIMARY KEY AUTOINCREMENT, chat INTEGER NOT NULL,"
            " asked_at TEXT NOT NULL, question TEXT NOT NULL, answer TEXT NOT NULL, reason TEXT)"
        )
        row = (4, "2026-01-02T00:00:00+00:00", "Why?", "So.", None)
        db.execute("INSERT INTO turns VALUES (NULL, ?, ?, ?, ?, ?)", row)
    db.close()
    assert [(turn.question, turn.confidence) for turn in chats.turns(4)] == [("Why?", None)]
    assert [chat.title for chat in chats.listed("so")] == ["Why?"]
    chats.rename(4, "Old")
    assert [chat.title for chat in chats.listed()] == ["Old"]
    assert chats.turns(4)[0].answer == "So."
