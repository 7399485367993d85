"""A title says something, and the outline leads somewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragformer.pdf.outline import choose_author, choose_title, outline_items
from ragformer.pdf.read import read_pdf

MakePdf = Callable[..., Path]


@pytest.mark.parametrize(
    "recorded",
    ["", " ", "Microsoft Word - thesis_final.doc", "untitled", "Document1", "report.indd", "12.3",
     "PowerPoint Presentation", "(Unspecified)", "C:\\Users\\me\\x", "\x00\x00"],
)  # fmt: skip
def test_a_leftover_is_no_title(recorded: str) -> None:
    assert choose_title(recorded, [], Path("/tmp/annual report.pdf")) == "annual report"


@pytest.mark.parametrize(
    "recorded",
    ["Monads", "A Study of the Document Layout", "年次報告", "Отчёт за год", "On .pdf files"],
)
def test_a_title_is_kept(recorded: str) -> None:
    assert choose_title(recorded, [], Path("x.pdf")) == recorded


@pytest.mark.parametrize(
    ("recorded", "author"),
    [
        ("Jeffrey P. Snover", "Jeffrey P. Snover"),
        ("Adobe\x00 Inc.", "Adobe Inc."),
        ("Plato", "Plato"),
        ("山田太郎", "山田太郎"),
        ("WIN7", ""),
        ("ADMS", ""),
        ("Administrator", ""),
        ("user", ""),
        ("Microsoft Office User", ""),
        ("Kaleidoscope http://kscope.io", ""),
        ("a@b.org", ""),
        ("", ""),
    ],
)
def test_an_account_or_a_program_is_no_author(recorded: str, author: str) -> None:
    assert choose_author(recorded) == author


def test_the_largest_words_of_the_first_page_come_before_the_file_name(make_pdf: MakePdf) -> None:
    body = [(60, 500 - 14 * i, 11, f"Line {i} of body text.") for i in range(9)]
    cover = [(60, 700, 24, "On the Flight"), (60, 670, 24, "of Birds"), *body]
    assert read_pdf(make_pdf("a.pdf", [cover])).title == "On the Flight of Birds"
    scattered = [(60, 700, 24, "Methods"), *body, (60, 300, 24, "Results")]
    assert read_pdf(make_pdf("birds 2.pdf", [scattered])).title == "birds 2"
    assert read_pdf(make_pdf("plain.pdf", [body])).title == "plain"


records = st.tuples(st.integers(-2, 20), st.text(max_size=20), st.integers(-3, 12))


@given(st.lists(records), st.integers(0, 10))
def test_outline_items_lead_to_pages_and_levels_have_no_gaps(
    found: list[tuple[int, str, int]], n_pages: int
) -> None:
    items = outline_items(found, n_pages)
    assert all(1 <= item.page <= n_pages and item.title.strip() for item in items)
    level = -1
    for item in items:
        assert 0 <= item.level <= level + 1
        level = item.level
