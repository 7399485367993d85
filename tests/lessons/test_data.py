"""Stories, dates, texts and counts that the lessons learn from and are measured by."""

from __future__ import annotations

import datetime
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragformer.errors import InputError
from ragformer.lessons.dates import held_out, in_words, ordinal, pieces, written, year_in_words
from ragformer.lessons.ngram import KneserNey
from ragformer.lessons.stories import stories
from ragformer.lessons.text import paragraphs


def test_every_answer_stands_in_its_story() -> None:
    for story in stories(50, seed=3):
        assert len({q.text for q in story.questions}) == len(story.questions)
        assert all(f" {q.answer}" in f" {story.text}" for q in story.questions)
    assert stories(3, seed=1) == stories(3, seed=1) != stories(3, seed=2)


@pytest.mark.parametrize(
    ("n", "words"),
    [
        (0, "zero"),
        (13, "thirteen"),
        (40, "forty"),
        (99, "ninety-nine"),
        (205, "two hundred and five"),
        (42_007, "forty-two thousand and seven"),
        (999_999, "nine hundred and ninety-nine thousand nine hundred and ninety-nine"),
    ],
)
def test_numbers_in_words(n: int, words: str) -> None:
    assert in_words(n) == words


def test_ordinals_and_years() -> None:
    assert [ordinal(n) for n in (1, 12, 20, 23, 31)] == [
        "first",
        "twelfth",
        "twentieth",
        "twenty-third",
        "thirty-first",
    ]
    assert [year_in_words(y) for y in (1900, 1905, 1984, 2000, 2007, 2014)] == [
        "nineteen hundred",
        "nineteen oh five",
        "nineteen eighty-four",
        "two thousand",
        "two thousand and seven",
        "twenty fourteen",
    ]


def test_a_date_is_written_in_many_ways_none_of_which_is_lost() -> None:
    rng = random.Random(0)
    forms = {written(datetime.date(1993, 3, 22), rng) for _ in range(200)}
    assert len(forms) == 8
    assert "March 22, 1993" in forms
    assert "the 22nd of March 1993" in forms
    assert all("".join(pieces(form)) == form.lower().replace(" ", "") for form in forms)
    assert 0.05 < sum(held_out(str(n)) for n in range(5000)) / 5000 < 0.15


@given(st.lists(st.integers(0, 3), min_size=8, max_size=60), st.integers(1, 3))
def test_counted_probabilities_sum_to_one(symbols: list[int], order: int) -> None:
    model = KneserNey(symbols, 4, order)
    for context in (symbols[:order], [3] * order, []):
        assert sum(model.probability(context, s) for s in range(4)) == pytest.approx(1)


def test_counting_knows_what_it_has_seen_and_nothing_else() -> None:
    random_text = random.Random(0).choices(range(4), k=4000)
    assert KneserNey([0, 1, 2, 3] * 500, 4, 3).bits([0, 1, 2, 3] * 20) < 0.1
    assert KneserNey(random_text[:3000], 4, 3).bits(random_text[3000:]) == pytest.approx(2, abs=0.1)


def test_the_manual_is_there_and_no_paragraph_twice() -> None:
    lines = paragraphs(None)
    assert sum(map(len, lines)) > 200_000
    assert len(set(lines)) == len(lines)
    assert all(line.isprintable() and line.isascii() for line in lines)


def test_own_texts_are_read_in_order_and_too_little_is_said(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("Second\nline.\n\nThird \u2013 one.", encoding="utf-8")
    with pytest.raises(InputError, match="hold 23 characters; give at least 20,000"):
        paragraphs(tmp_path)
    (tmp_path / "a.txt").write_text("First. " * 4000, encoding="utf-8")
    assert paragraphs(tmp_path)[1:] == ["Second line.", "Third  one."]
