"""An answer cut into what is shown."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from ragformer_ui.blocks import answer_blocks, notes, sureness

from ragformer.store.chats import Turn
from ragformer.types import Citation, Span


def citation(mark: int) -> Citation:
    place = (Path("/docs/a.pdf"), 3, "iii", Span(3, 0, 4), "text", ((0.0, 0.0, 1.0, 1.0),), True)
    return Citation(mark, "id", *place)


def test_the_short_answer_comes_first_then_the_quote_with_its_mark_and_place() -> None:
    text = "30 months\n\n“It is 30 months.” [2]\na.pdf, page 3 (printed iii)"
    assert answer_blocks(text, [citation(2)]) == [
        {"kind": "short", "parts": ["30 months"]},
        {"kind": "quote", "parts": ["“It is 30 months.” ", 2]},
        {"kind": "place", "parts": ["a.pdf, page 3 (printed iii)"]},
    ]


def test_a_quote_that_is_the_answer_stands_alone() -> None:
    (quote, place) = answer_blocks("“It is 30 months.” [1]\na.pdf, page 3", [citation(1)])
    assert (quote["kind"], place["kind"]) == ("quote", "place")


def test_places_at_the_end_of_an_answer_of_several_quotes() -> None:
    blocks = answer_blocks("It is so: “Yes.” [1]\n\n[1] a.pdf, page 3", [citation(1)])
    assert [block["kind"] for block in blocks] == ["text", "place"], "no short answer has a mark"
    assert blocks[1]["parts"] == [1, " a.pdf, page 3"]


def test_only_marks_of_citations_become_marks() -> None:
    text = "See [1], [7] and [12]."
    (block,) = answer_blocks(text, [citation(1), citation(12)])
    assert block["parts"] == ["See ", 1, ", [7] and ", 12, "."]
    assert answer_blocks(text, [])[0]["parts"] == [text]
    assert answer_blocks("", []) == []


@pytest.mark.parametrize(
    ("confidence", "words"), [(0.93, "Quite sure (93%)"), (0.6, "Fairly sure (60%)"),
                              (0.1, "Not very sure (10%)"), (None, "")],
)  # fmt: skip
def test_how_sure_it_is_in_words_and_as_a_number(confidence: float | None, words: str) -> None:
    assert sureness(confidence, refused=False) == words
    assert sureness(confidence, refused=True) == ""


def test_the_lines_below_an_answer() -> None:
    asked = datetime.now(UTC)
    refused = Turn(asked, "Why?", "No.", "low_confidence", confidence=0.1, passages=((1, 0.5),) * 8)
    assert notes(refused, "6 documents") == ["Read for this: 8 passages of 6 documents."]
    given = Turn(asked, "Why?", "So.", None, confidence=0.9, citations=(citation(1),))
    assert notes(given, "1 document") == ["Quite sure (90%)"]
    stopped = Turn(asked, "Why?", "S", None, stopped=True, note="No page 9.", searched_as="why is")
    assert [line[:7] for line in notes(stopped, "")] == ["No page", "Stopped", "Searche"]
