"""A question as it is searched: limits out, carried terms in, and a note where a limit is left."""

from __future__ import annotations

import dataclasses

import pytest

from ragformer.retrieve.question import Asked, as_asked, understand
from ragformer.store.store import Store
from ragformer.types import Answer, Citation, Span


@pytest.fixture
def last(shelf: Store) -> Answer:
    """The notice period, quoted from the second of two passages."""
    ids = [int(key) for key in shelf.chunk_ids()[:2]]
    passages = tuple(shelf.passages([(key, 1.0) for key in ids]))
    document = passages[1].document
    quote = Citation(2, document.id, document.path, 2, "2", Span(2, 0, 4), "Text", (), True)
    return Answer(
        "How long is the notice period?", "5 weeks", (quote,), passages, 0.9, False, None, "", "m"
    )


def test_a_question_without_a_limit_is_searched_as_it_is(shelf: Store, last: Answer) -> None:
    question = "How long does the cat sleep?"
    assert understand(question, shelf, shelf.documents()) == Asked(question)
    assert understand(question, shelf, shelf.documents(), last) == Asked(question)
    assert understand("why?", shelf, shelf.documents()) == Asked("why?")


def test_a_limit_chooses_the_chunks(shelf: Store) -> None:
    asked = understand("Who wins on page 1 of the manual?", shelf, shelf.documents())
    (chunk,) = shelf.passages([(key, 1.0) for key in asked.chunks or ()])
    assert (asked.text, chunk.heading_path, asked.note) == ("Who wins?", ("1 Safety",), "")


def test_what_was_searched_is_said_where_that_held_no_answer(shelf: Store, last: Answer) -> None:
    asked = understand("Who wins on page 1 of the manual?", shelf, shelf.documents())
    assert asked.within == (
        "Only “on page 1 of the manual” was searched; leave that out to search everything."
    )
    refused = dataclasses.replace(last, citations=(), abstained=True, reason="low_confidence")
    (answered,), (declined,) = (as_asked(iter([one]), "?", asked) for one in (last, refused))
    assert isinstance(answered, Answer)
    assert isinstance(declined, Answer)
    assert (answered.note, declined.note) == ("", asked.within)
    does = understand("What does page 1 say on care?", shelf, shelf.documents())
    assert "“page 1”" in does.within


def test_where_only_the_limit_says_something_it_is_searched_too(shelf: Store) -> None:
    asked = understand("What is on page 1?", shelf, shelf.documents())
    assert (asked.text, len(asked.chunks or ())) == ("What is on page 1?", 3)


def test_a_limit_that_holds_nothing_is_left_out_and_that_is_said(shelf: Store) -> None:
    asked = understand("Who wins on page 300?", shelf, shelf.documents())
    assert (asked.text, asked.chunks) == ("Who wins?", None)
    assert asked.note == "There is nothing to search “on page 300”, so that limit was left out."
    assert understand("Who wins on page 300?", shelf, []).note == ""


def test_a_follow_up_carries_terms_and_prefers_what_was_quoted(shelf: Store, last: Answer) -> None:
    asked = understand("and for part-time staff?", shelf, shelf.documents(), last)
    assert asked.text == "and for part-time staff? long notice period 5 weeks"
    assert asked.preferred == (last.passages[1].chunk_id,)
    limited = understand("What about page 1?", shelf, shelf.documents(), last)
    assert (limited.text, len(limited.chunks or ())) == ("long notice period 5 weeks", 3)


def test_the_answer_is_to_the_question_as_it_was_put(last: Answer) -> None:
    asked = Asked("why? notice", None, (), "Left out.")
    *pieces, answer = as_asked(iter(["5 ", "weeks", last]), "why?", asked)
    assert pieces == ["5 ", "weeks"]
    expected = dataclasses.replace(
        last, question="why?", searched_as="why? notice", note="Left out."
    )
    assert answer == expected
    (same,) = as_asked(iter([last]), "why?", Asked("why?"))
    assert isinstance(same, Answer)
    assert same.searched_as == ""
