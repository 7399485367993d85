"""Cleaning keeps every character that matters and knows where each came from."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragformer.pdf.clean import clean, is_junk

ODD = "\ufffe\u00ad\x00\x07\ud800\udc00\ud83d\ude00\r\n \t\u00a0ﬁﬃﬆ-aB9é中\uffff"
raw_texts = st.text(st.sampled_from(ODD), max_size=60) | st.text(max_size=60)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("the cop\ufffeyright", "the copyright"),
        ("COVID\ufffe19 and M270\ufffeXXX", "COVID-19 and M270-XXX"),
        ("year-to\ufffedate", "year-to-date"),
        ("six\ufffeand eight-cylinder", "six-\nand eight-cylinder"),
        (
            "short-\nor long-term, doc-\ntor\u2019s pri\ufffeor",
            "short-\nor long-term, doctor’s prior",
        ),
        ("Ein\ufffeund Ausgabe, Hus\ufffeband", "Ein-\nund Ausgabe, Husband"),
        ("soft\u00ad\r\nware of\u00adfice", "software office"),
        ("exam-\nple, A-\nB, 3-\n4", "example, A-\nB, 3-\n4"),
        ("o\ufb03ce \ufb01nd", "office find"),
        ("one \r\ntwo\rthree\u00a0four", "one\ntwo\nthree four"),
        ("a\x00b\ud800c\uffffd", "abcd"),
        ("\ud83d\ude00!", "\U0001f600!"),
    ],
)
def test_what_readers_write_becomes_what_people_read(raw: str, text: str) -> None:
    assert clean(raw).text == text


@given(raw_texts)
def test_every_character_has_its_origin_in_order(raw: str) -> None:
    cleaned = clean(raw)
    assert len(cleaned.origin) == len(cleaned.text)
    assert cleaned.origin == sorted(cleaned.origin)
    for character, at in zip(cleaned.text, cleaned.origin, strict=True):
        assert character == raw[at] or not (raw[at].isascii() and raw[at].isalnum())


@given(raw_texts)
def test_no_useless_character_is_left_and_no_letter_lost(raw: str) -> None:
    text = clean(raw).text
    assert not re.search(r"[\x00-\x08\r\u00ad\ufffe\uffff\ud800-\udfff\ufb00-\ufb06]", text)
    assert [text.count(letter) for letter in "aBé中"] == [raw.count(letter) for letter in "aBé中"]


@given(raw_texts)
def test_parts_cover_exactly_the_characters_that_are_not_blank(raw: str) -> None:
    cleaned = clean(raw)
    covered = [i for start, end in cleaned.parts() for i in range(start, end)]
    assert covered == [i for i, character in enumerate(cleaned.text) if not character.isspace()]


def test_a_word_over_two_lines_is_two_parts() -> None:
    cleaned = clean("one exam\ufffeple two")
    assert [cleaned.text[a:b] for a, b in cleaned.parts()] == ["one", "exam", "ple", "two"]


def test_long_runs_take_linear_work() -> None:
    """A quadratic pattern would not end within the test run."""
    for run in (" ", "-", "\ufffe", "a\ufffe", "\t\u00a0", "\ud800"):
        clean(run * 300_000).parts()


@pytest.mark.parametrize(
    ("text", "junk"),
    [
        ("", False),
        (" \n", False),
        ("plain words", False),
        ("\uf0b7 a point\n\uf0b7 another", False),
        ("\ue001\ue002 \ue003", True),
        ("\ufffd\ufffdx", True),
        ("(cid:12)(cid:7) (cid:9)", True),
    ],
)
def test_text_of_no_known_characters_is_junk(text: str, junk: bool) -> None:
    assert is_junk(text) is junk
