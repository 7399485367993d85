"""A footnote comes after the text of its page, and nothing else moves."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragformer.pdf.footnotes import footnotes_last
from ragformer.pdf.read import read_pdf

Place = tuple[float, float, float, str]
LEFT = [(60, 700 - 14 * i, 10, f"The left side goes on in line {i}") for i in range(12)]
RIGHT = [(320, 700 - 14 * i, 10, f"The right side goes on in line {i}") for i in range(12)]
NOTE = [(60, 512, 8, "See the second part of the report"), (60, 502, 8, "and what follows there.")]


def marked(number: str, size: float, rise: float, places: list[Place]) -> list[Place]:
    """The first line begins with the number, of that size and so much higher."""
    (x, y, *rest), *more = places
    return [(x, y + rise, size, number), (x + size * len(number), y, *rest), *more]


def lines_of(*parts: list[Place]) -> list[str]:
    return [text for part in parts for *_, text in part]


def read(make_pdf: Callable[..., Path], *parts: list[Place]) -> list[str]:
    page = read_pdf(make_pdf("a.pdf", [[place for part in parts for place in part]])).pages[0]
    return page.text.split("\n")


def test_a_note_at_the_foot_of_the_first_column_comes_last(make_pdf: Callable[..., Path]) -> None:
    found = read(make_pdf, LEFT, marked("3", 5, 3, NOTE), RIGHT)
    assert found == [*lines_of(LEFT, RIGHT), f"3 {NOTE[0][3]}", NOTE[1][3]]


@pytest.mark.parametrize(
    ("size", "rise", "y"),
    [(8, 0, 512), (5, 0, 512), (5, 3, 640)],
    ids=["no mark", "not raised", "beside the text"],
)
def test_what_is_no_footnote_stays(
    make_pdf: Callable[..., Path], size: float, rise: float, y: float
) -> None:
    note = marked(
        "3", size, rise, [(x, y - 10 * i, 8, said) for i, (x, _, _, said) in enumerate(NOTE)]
    )
    above = [place for place in LEFT if place[1] > y + 10]
    below = [place for place in LEFT if place[1] < y - 20] or RIGHT
    expected = [*lines_of(above), f"3 {NOTE[0][3]}", NOTE[1][3], *lines_of(below)]
    assert read(make_pdf, above, note, below) == expected


places = st.tuples(
    st.integers(0, 60_000), st.integers(0, 80_000), st.sampled_from([500, 800, 1000])
)


@given(st.lists(st.lists(st.tuples(st.sampled_from(["river", "1", "12"]), places)), max_size=12))
def test_no_line_is_lost_and_each_word_keeps_its_box(lines: list[list[tuple[str, tuple]]]) -> None:
    text, words, boxes = "", array("i"), []
    for line in lines:
        for said, (x, y, height) in line:
            box = (x, y, x + 500 * len(said), y + height)
            words.extend((len(text), len(text) + len(said), *box))
            boxes.append((said, box))
            text += said + " "
        text = text.removesuffix(" ") + "\n"
    found, moved = footnotes_last(text, words)
    rows = [moved[i : i + 6] for i in range(0, len(moved), 6)]
    assert sorted((found[r[0] : r[1]], tuple(r[2:])) for r in rows) == sorted(boxes)
    assert "".join(found[row[0] : row[1]] for row in rows) == re.sub(r"\s", "", found)
    assert sorted(re.findall(".+", found)) == sorted(re.findall(".+", text))
