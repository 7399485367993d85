"""A question gets the passages that share its words, and its own among them or not."""

from __future__ import annotations

import pytest

from ragformer.eval.cases import ReadingCase
from ragformer.eval.neighbours import Neighbours, with_neighbours

ANIMALS = ["otter", "falcon", "beetle", "salmon", "badger", "heron"]
CASES = [
    ReadingCase(
        animal,
        f"Where does the {animal} live in winter?",
        ((animal, f"The {animal} lives by the {animal}water in winter."),),
        (f"{animal}water",),
    )
    for animal in ANIMALS
]
NONE = ReadingCase("none", "Who fed the otter in winter?", CASES[0].sources, (), ())


@pytest.mark.parametrize("n", [1, 3, 6])
def test_one_of_the_passages_is_gold_and_the_others_hold_no_answer(n):
    for before, after in zip(CASES, with_neighbours(CASES, CASES, Neighbours(n)), strict=True):
        assert len(after.sources) == len(set(after.sources)) == n
        (gold,) = after.gold_sources
        assert after.sources[gold] == before.sources[0]
        holding = [index for index, s in enumerate(after.sources) if before.golds[0] in s[1]]
        assert holding == [gold]
        assert after.sources[0] == before.sources[0]  # it shares the rarest word


def test_without_gold_nothing_that_is_read_answers():
    for before, after in zip(
        CASES, with_neighbours(CASES, CASES, Neighbours(3, False)), strict=True
    ):
        assert (after.golds, after.gold_sources, len(after.sources)) == ((), (), 3)
        assert not any(before.golds[0] in text for _, text in after.sources)


@pytest.mark.parametrize("gold", [True, False])
def test_an_unanswerable_question_keeps_the_passage_it_was_asked_of(gold):
    (after,) = with_neighbours([NONE], CASES, Neighbours(2, gold))
    assert CASES[0].sources[0] in after.sources
    assert len(after.sources) == 2
    assert not after.answerable


def test_a_passage_that_search_does_not_rank_comes_last():
    strange = ReadingCase("x", "Which falcon beetle salmon?", (("", "Nothing alike."),), ("alike",))
    (after,) = with_neighbours([strange], [*CASES, strange], Neighbours(3))
    assert after.sources[2] == strange.sources[0]
    assert after.gold_sources == (2,)


def test_a_copy_that_holds_the_answer_is_no_neighbour():
    copy = ReadingCase("copy", "?", (("", CASES[0].sources[0][1] + " So it does."),), ("x",))
    (after,) = with_neighbours(CASES[:1], [*CASES, copy], Neighbours(6))
    assert copy.sources[0] not in after.sources
