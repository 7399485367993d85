"""What a chat keeps, and when it lets go."""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from ragformer.errors import StoreFullError
from ragformer.store.chats import Chats
from ragformer.types import Answer, Passage, Span


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
