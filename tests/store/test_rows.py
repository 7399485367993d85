"""Every packed value comes back; text with a script that has no spaces is told from the rest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragformer.store import rows
from ragformer.types import Span, Word

coordinate = st.floats(width=32, allow_nan=False)
word = st.builds(
    lambda start, length, box: Word(start, start + length, *box),
    st.integers(0, 2**30),
    st.integers(0, 2**20),
    st.tuples(*[coordinate] * 4),
)
span = st.builds(
    lambda page, start, length: Span(page, start, start + length),
    st.integers(1, 10**6),
    st.integers(0, 10**6),
    st.integers(1, 10**6),
)


@given(st.lists(word))
def test_words_come_back(words):
    assert rows.unpack_words(rows.pack_words(words)) == tuple(words)


def test_a_coordinate_too_large_for_float32_is_kept_as_infinite():
    (again,) = rows.unpack_words(rows.pack_words([Word(0, 1, 1e300, 0, 0, 0)]))
    assert again.x0 == float("inf")


@given(st.lists(span))
def test_spans_come_back(spans):
    assert rows.unpack_spans(rows.pack_spans(spans)) == tuple(spans)


@given(st.lists(st.text()))
def test_headings_come_back(headings):
    assert rows.unpack_headings(rows.pack_headings(headings)) == tuple(headings)


@given(st.binary(min_size=1).filter(lambda name: b"\0" not in name))
def test_any_file_name_comes_back(name):
    path = rows.unpack_path(name)
    assert rows.unpack_path(rows.pack_path(path)) == path


@given(st.text(st.characters(codec=None, exclude_categories=())))
def test_any_text_can_be_stored(text):
    stored = rows.storable(text)
    assert stored.encode("utf-8").decode("utf-8") == stored
    assert len(stored) == len(text)


@pytest.mark.parametrize(
    ("text", "dense"),
    [
        ("plain", False),
        ("Ελλάδα, Москва, हिन्दी", False),
        ("in 東京", True),
        ("ราคา", True),
        ("값", True),
    ],
)
def test_dense_scripts(text, dense):
    assert rows.is_dense(text) is dense


def test_context_line_leaves_out_what_is_empty():
    assert rows.context_line("Manual", ("2 Care", "", "Oil")) == "Manual › 2 Care › Oil"
    assert rows.context_line("", ()) == ""
