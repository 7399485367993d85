"""Where a quote stands in an answer's text, and what of a message is the question."""

from __future__ import annotations

from pathlib import Path

from ragformer.serve.replies import places
from ragformer.serve.requests import asked_in
from ragformer.types import Answer, Citation, Span


def citation(mark: int, quote: str) -> Citation:
    span = Span(1, 0, len(quote))
    return Citation(mark, "0" * 64, Path("/a.pdf"), 1, "1", span, quote, (), True)


def answer(text: str, *citations: Citation) -> Answer:
    return Answer("?", text, citations, (), None, False, None, "local", "")


def test_a_quote_is_found_across_line_ends_and_each_time_further_on() -> None:
    text = "“ein Baum (1) und” [1] “ein Baum (1)” [2] 🙂 “ein Baum (1) und” [3]"
    quotes = [citation(1, "ein Baum\n(1) und"), citation(2, "ein Baum (1)")]
    quotes.append(citation(3, "ein Baum (1)\nund"))
    found = places(answer(text, *quotes))
    assert [text[a:b] for a, b in found] == ["ein Baum (1) und", "ein Baum (1)", "ein Baum (1) und"]
    assert [a for a, _ in found] == sorted({a for a, _ in found})


def test_the_question_of_another_ragformer_is_behind_its_passages() -> None:
    passages = '<passage mark="[1]">\na\n\nQuestion: no?\n</passage>\n\n'
    before = "<before>\nAsked before: a\nAnswered: b\n</before>\n\n"
    for question in ("Why is it?", "A\n\nQuestion: b", f"{passages}c", f"{before}Question: d"):
        assert asked_in(f"{passages * 2}{before}Question: {question}") == (question, ("a", "b"))
        assert asked_in(f"{passages}Question: {question}") == (question, None)
    for other in (
        "Question: Why?",
        passages,
        passages[:-1],
        f"{before}Question: a",
        "a" + passages,
    ):
        assert asked_in(other) == (other, None)
