"""An altered question asks for what its passage does not say."""

from __future__ import annotations

import random

import pytest

from ragformer.train.altered import altered_question

CONTEXT = "In 1900 Ada Brown founded the first school. Later, in 1920, it was sold to Carl Voss."


def all_of(question: str, answer: str, context: str = CONTEXT) -> set[str | None]:
    return {altered_question(question, context, answer, random.Random(n)) for n in range(40)}


def test_a_name_becomes_another_one_of_the_passage_but_never_the_answer():
    assert all_of("What did Ada Brown found?", "the first school") == {"What did Carl Voss found?"}
    assert all_of("What did Ada Brown sell?", "it to Carl Voss") == {None}


def test_a_number_becomes_another_one_whole():
    assert all_of("Who bought it in 1920?", "Carl Voss") == {"Who bought it in 1900?"}


@pytest.mark.parametrize(
    ("question", "altered"),
    [
        ("Which was the largest?", "Which was the smallest?"),
        ("Largest of all?", "Smallest of all?"),
        ("What can be enabled?", "What can be disabled?"),
    ],
)
def test_a_word_becomes_its_opposite(question, altered):
    assert all_of(question, "") == {altered}


def test_an_opposite_that_the_passage_says_is_no_alteration():
    assert all_of("What was the last school?", "") == {None}


def test_the_first_word_and_a_part_of_a_word_are_no_names():
    assert all_of("Who founded it on an iPad?", "Ada Brown") == {None}
