"""Packed words are the words."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragformer.pdf.words import Words
from ragformer.types import Word

SIDE = st.integers(-(2**31), 2**31 - 1)


@given(st.lists(st.tuples(*[SIDE] * 6), max_size=5), st.data())
def test_packed_words_are_a_tuple_of_words(
    rows: list[tuple[int, ...]], data: st.DataObject
) -> None:
    words = tuple(Word(start, end, *(side / 100 for side in box)) for start, end, *box in rows)
    packed = Words(array("i", [number for row in rows for number in row]).tobytes())
    assert packed == words == packed
    assert (len(packed), bool(packed), hash(packed)) == (len(words), bool(words), hash(words))
    assert packed != (*words, Word(0, 1, 0, 0, 0, 0))
    if words:
        i = data.draw(st.integers(-len(words), len(words) - 1))
        assert (packed[i], packed[i:]) == (words[i], words[i:])


def test_half_a_word_is_refused() -> None:
    with pytest.raises(ValueError, match="25 bytes"):
        Words(b"x" * 25)
