"""What speaks for an answer is what stands around it, and how the decoder liked it."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragformer.answer.confidence import FEATURES
from ragformer.answer.evidence import around, evidence
from ragformer.answer.reader import Candidate, Read, Reader
from ragformer.text.sentences import sentence_spans

TEXT = (
    "A lease ends in May. The tenant pays weekly. Notice takes two months. Gales follow. Rain too."
)
QUESTION = "How long is the notice of a tenant at Holmvik?"


def found(text: str, words: str, passage: int = 0) -> Read:
    start = text.index(words)
    return Read((Candidate(passage, start, start + len(words), -2.0),), -3.5, 0.6, 2, 60)


def told(reader: Reader, read: Read, passages: list[tuple[str, str]]) -> dict[str, float]:
    return dict(zip(FEATURES, evidence(QUESTION, read, passages, reader), strict=True))


def test_each_feature_is_what_it_says(reader: Reader) -> None:
    read = found(TEXT, "two months")
    values = told(reader, read, [("", TEXT)])
    rare = {word: reader.rarity(word) for word in ("long", "notice", "tenant", "holmvik")}
    assert (values["margin"], values["likelihood"], values["share"]) == (1.5, -2.0, 0.6)
    assert values["passages"] == pytest.approx(math.log(2))
    there = rare["notice"] + rare["tenant"]  # the tenant stands in the sentence before
    assert values["around"] == pytest.approx(there / sum(rare.values()))


def test_the_context_line_counts_and_what_is_far_from_the_answer_does_not(reader: Reader) -> None:
    read = found(TEXT, "two months")
    named = told(reader, read, [("Long leases, Holmvik", TEXT)])
    assert named["around"] == pytest.approx(1.0)
    far = told(reader, found(TEXT, "Rain too"), [("", TEXT)])
    assert far["around"] == 0.0


def test_the_passage_is_the_one_the_answer_stands_in(reader: Reader) -> None:
    read = found(TEXT, "two months", passage=1)
    alone = told(reader, found(TEXT, "two months"), [("", TEXT)])
    assert told(reader, read, [("Holmvik", "The notice of a tenant."), ("", TEXT)]) == alone


def test_a_likelier_no_answer_lowers_the_margin_alone(reader: Reader) -> None:
    read = found(TEXT, "two months")
    less = dataclasses.replace(read, no_answer=-1.0)
    before, after = (told(reader, one, [("", TEXT)]) for one in (read, less))
    assert {name for name in FEATURES if before[name] != after[name]} == {"margin"}
    assert after["margin"] == -1.0


@given(st.data())
def test_around_an_answer_are_whole_sentences_one_on_either_side(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(TEXT) - 1))
    end = data.draw(st.integers(start + 1, len(TEXT)))
    spans = sentence_spans(TEXT)
    touched = [n for n, (a, b) in enumerate(spans) if a < end and start < b]
    if touched:
        wanted = spans[max(0, touched[0] - 1) : touched[-1] + 2]
        assert around(TEXT, start, end) == TEXT[wanted[0][0] : wanted[-1][1]]
    else:  # between two sentences
        assert around(TEXT, start, end) == TEXT[start:end]
