"""Text drawn across columns is read column by column; a table's row is a line; the rest stays."""

from __future__ import annotations

import random
import re
from array import array
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragformer.pdf.order import in_reading_order
from ragformer.pdf.read import read_pdf

MakePdf = Callable[..., Path]
Place = tuple[float, float, float, str]
WORDS = ["river", "mill", "slow", "water", "north", "stone", "path", "winter", "lamp"]


def column(name: str, x: float, n_words: int = 8) -> list[Place]:
    """20 lines of so many words, 14 points apart, each with its column and number."""
    draw = random.Random(name)
    lines = [" ".join([f"{name}{i}", *draw.choices(WORDS, k=n_words - 1)]) for i in range(20)]
    return [(x, 700 - 14 * i, 8, line) for i, line in enumerate(lines)]


def across(*columns: list[Place]) -> list[Place]:
    return [place for row in zip(*columns, strict=True) for place in row]


def lines_of(places: list[Place]) -> list[str]:
    return [text for *_, text in places]


@pytest.mark.parametrize("n", [2, 3])
def test_columns_drawn_across_are_read_one_by_one(make_pdf: MakePdf, n: int) -> None:
    columns = [column("abc"[i], 30 + 560 / n * i, 15 // n) for i in range(n)]
    title = (30, 740, 14, "A title as wide as the page that stands over all of the columns here")
    foot = (30, 300, 8, "A last line that is as wide as the page " * 3)
    page = read_pdf(make_pdf("a.pdf", [[title, *across(*columns), foot]])).pages[0]
    expected = [title[3], *(text for each in columns for text in lines_of(each)), foot[3].strip()]
    assert page.text.split("\n") == expected
    for word in page.words:
        said = page.text[word.start : word.end]
        if said[0] in "abc" and said[1:].isdigit():
            i, number = "abc".index(said[0]), int(said[1:])
            assert word.x0 == pytest.approx(30 + 560 / n * i, abs=0.1)
            assert word.y1 == pytest.approx(100 + 14 * number, abs=3)


def test_columns_drawn_one_by_one_stay(make_pdf: MakePdf) -> None:
    left, right = column("a", 30), column("b", 310)
    page = read_pdf(make_pdf("a.pdf", [[*left, *right]])).pages[0]
    assert page.text.split("\n") == lines_of(left) + lines_of(right)


def test_words_that_break_off_are_joined_in_their_column(make_pdf: MakePdf) -> None:
    left, right = column("a", 30), column("b", 310)
    left[3] = (*left[3][:3], "a3 river mill slow water north stone exam-")
    left[4] = (*left[4][:3], "ple a4 river mill slow water north stone")
    page = read_pdf(make_pdf("a.pdf", [across(left, right)])).pages[0]
    assert "stone example a4 river" in page.text
    boxed = "".join(page.text[word.start : word.end] for word in page.words)
    assert boxed == re.sub(r"\s", "", page.text)


TABLE = [
    ["Year", "Revenue", "Net profit"],
    *([f"20{i}", f"{i},204", f"{i}"] for i in range(10, 18)),
]


def table(by_columns: bool) -> list[Place]:
    cells = [(60 + 130.0 * j, 600 - 14.0 * i, 9.0, cell) for i, row in enumerate(TABLE)
             for j, cell in enumerate(row)]  # fmt: skip
    return sorted(cells, key=lambda cell: cell[0]) if by_columns else cells


@pytest.mark.parametrize("by_columns", [False, True])
def test_a_row_of_a_table_is_a_line(make_pdf: MakePdf, by_columns: bool) -> None:
    before, after = (60, 650, 9, "Our results of ten years."), (60, 400, 9, "They are fine.")
    places = [before, *table(by_columns), after]
    page = read_pdf(make_pdf("a.pdf", [places])).pages[0]
    rows = ["\t".join(row) for row in TABLE]
    assert page.text.split("\n") == [before[3], *rows, after[3]]


def test_an_index_in_columns_is_read_column_by_column(make_pdf: MakePdf) -> None:
    columns = [[(x, 700 - 14 * i, 9, f"{name}{i}, {i + 7}") for i in range(12)]
               for name, x in (("apple", 60), ("moon", 300))]  # fmt: skip
    page = read_pdf(make_pdf("a.pdf", [columns[0] + columns[1]])).pages[0]
    assert page.text.split("\n") == lines_of(columns[0]) + lines_of(columns[1])


places = st.tuples(st.integers(0, 60_000), st.integers(0, 80_000), st.sampled_from([1000, 1400]))


@given(st.lists(st.lists(st.tuples(st.sampled_from([*WORDS, "12", "ab-"]), places)), max_size=12))
def test_no_word_is_lost_and_each_keeps_its_box(lines: list[list[tuple[str, tuple]]]) -> None:
    text, words, boxes = "", array("i"), []
    for line in lines:
        for said, (x, y, height) in line:
            box = (x, y, x + 500 * len(said), y + height)
            words.extend((len(text), len(text) + len(said), *box))
            boxes.append((said.removesuffix("-"), box))
            text += said + " "
        text = text.removesuffix(" ") + "\n"
    found, moved = in_reading_order(text, words)
    rows = [moved[i : i + 6] for i in range(0, len(moved), 6)]
    assert sorted((found[r[0] : r[1]].removesuffix("-"), tuple(r[2:])) for r in rows) == sorted(
        boxes
    )
    assert "".join(found[row[0] : row[1]] for row in rows) == re.sub(r"\s", "", found)
