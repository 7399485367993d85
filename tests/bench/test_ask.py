"""Asking is timed through the library itself, and its answers are compared and re-read."""

from __future__ import annotations

import dataclasses
import json

import pytest

from ragformer.bench import ask
from ragformer.errors import InputError
from ragformer.types import WAITING, Answer, Citation, Span


def test_the_same_question_has_one_answer_and_its_quote_rereads(reading_file, home):
    result = ask.run(reading_file, limit=2, repeats=3)
    assert (result["n"], result["repeats"], result["chunks"]) == (2, 3, 5)
    assert (result["distinct_answers"], result["quotes"], result["quotes_verbatim"]) == (1, 6, 1)
    first, whole = result["first_words_seconds"], result["answer_seconds"]
    assert 0 < first["low"] <= first["median"] <= whole["median"] <= whole["high"]
    assert json.loads(json.dumps(result)) == result
    assert not home.exists()
    reading_file.write_text("")
    with pytest.raises(InputError, match="holds no question"):
        ask.run(reading_file)


def test_a_piece_that_only_waits_is_not_the_first_word(monkeypatch):
    answer = Answer("?", "a", (), (), 0.5, False, None, "local", "m")
    clock = iter(range(9))
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))

    class Slow:
        def stream(self, question):
            for piece in (WAITING, WAITING, "a", answer):
                next(clock)
                yield piece

    assert ask.ask(Slow(), "?") == ask.Asked(answer, 4.0, 6.0)


def test_answers_are_told_apart_by_anything_but_their_time():
    answer = Answer("?", "a", (), (), 0.5, False, None, "local", "m", usage={"seconds": 1.0})
    same = dataclasses.replace(answer, usage={"seconds": 2.0})
    other = dataclasses.replace(answer, confidence=0.5000001)
    answers = [ask.Asked(one, 0.1, 0.2) for one in (answer, same, other)]
    assert ask.distinct(answers[:2]) == 1
    assert ask.distinct(answers) == 2


def test_a_quote_that_is_not_at_its_place_or_not_shown_is_not_verbatim(shelf):
    (manual, *_) = shelf.documents()
    quote = shelf.page(manual.id, 1).text[:4]

    def cited(start: int, text: str) -> list[bool]:
        span = Span(1, start, start + 4)
        citation = Citation(1, manual.id, manual.path, 1, "1", span, quote, (), True)
        answer = Answer("?", text, (citation,), (), 0.5, False, None, "local", "m")
        return ask.rereads(shelf, answer)

    assert cited(0, f"“{quote}” [1]") == [True]
    assert cited(1, f"“{quote}” [1]") == [False]
    assert cited(0, f"“{quote}” [2]") == [False]
