"""Chunks hold every character of the body, once, in order, and nothing of what runs along it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragformer.pdf.chunk import split_pages
from ragformer.pdf.lines import page_lines, running_lines
from ragformer.pdf.read import PdfText, read_pdf
from ragformer.pdf.tables import headers
from ragformer.types import Chunk, OutlineItem, Page, Word

MakePdf = Callable[..., Path]


def count(text: str) -> int:
    """Tokens of at most four letters, as a subword tokenizer might make them."""
    return len(re.findall(r"\w{1,4}|[^\w\s]", text))


def page_of(number: int, rows: list[tuple[str, float, float]]) -> Page:
    """A page of (text, y, height) lines with a box for every word."""
    text, words = "", []
    for row, y, height in rows:
        for match in re.finditer(r"\S+", row):
            start, end = len(text) + match.start(), len(text) + match.end()
            words.append(
                Word(start, end, 50 + 5 * match.start(), y, 50 + 5 * match.end(), y + height)
            )
        text += row + "\n"
    return Page(number, str(number), text, tuple(words), "text" if text.strip() else "empty")


line_texts = st.one_of(
    st.sampled_from(
        ["Chapter 1 Birds", "2.1 The Kestrel", "IMPORTANT", "• a point", "12", "Page 3 of 9", ""]
    ),
    st.text("ab cdE.!? 1é中\u3000", max_size=80).map(lambda text: text.strip()),
    st.lists(st.sampled_from(["the", "falcon", "flew.", "Then", "47", "(two)"]), max_size=60).map(
        " ".join
    ),
    st.integers(100, 1200).map(lambda n: "x" * n),
)
rows = st.tuples(line_texts, st.floats(0, 800), st.sampled_from([10.0, 10.0, 12.0, 16.0]))


@st.composite
def documents(draw: st.DrawFn) -> PdfText:
    n = draw(st.integers(0, 6))
    header = draw(st.sampled_from([None, "The Book of Birds", "Page #", "Invoice 500#"]))
    with_boxes = draw(st.booleans())
    pages = []
    for number in range(1, n + 1):
        found = draw(st.lists(rows, max_size=12))
        top = [(header.replace("#", str(number)), 0.0, 8.0)] if header else []
        page = page_of(number, [*top, *found])
        pages.append(page if with_boxes else Page(number, str(number), page.text))
    items = st.builds(
        OutlineItem,
        st.integers(0, 2),
        st.sampled_from(["Chapter 1 Birds", "The Kestrel", "Elsewhere"]),
        st.integers(1, max(1, n)),
    )
    outline = draw(st.lists(items, max_size=4)) if n else []
    return PdfText("Birds", tuple(pages), tuple(outline), "pdfium")


def visible(page: Page) -> list[tuple[str, set[tuple[int, int]]]]:
    """The lines of a page, each with (page, index) of its characters that are not blank."""
    return [
        (
            page.text[line.start : line.end],
            {(page.number, i) for i in range(line.start, line.end) if not page.text[i].isspace()},
        )
        for line in page_lines(page)
    ]


def but_for_numbers(line: str) -> str:
    numbers = r"(?<=page )\d+ of \d+|\d+|\b[ivxlc]+\b"
    return re.sub(numbers, "#", line.casefold())


@given(documents(), st.sampled_from([1, 5, 40, 200]))
def test_chunks_hold_each_line_once_and_in_order_but_some_that_come_back(
    text: PdfText, max_tokens: int
) -> None:
    covered = [
        (span.page, i)
        for chunk in split_pages(text, count, max_tokens)
        for span in chunk.spans
        for i in range(span.start, span.end)
        if not text.pages[span.page - 1].text[i].isspace()
    ]
    assert covered == sorted(set(covered))
    held = set(covered)
    on_pages = [{but_for_numbers(line) for line, _ in visible(page)} for page in text.pages]
    for line, characters in chain.from_iterable(map(visible, text.pages)):
        if not characters <= held:
            assert characters.isdisjoint(held)
            assert sum(but_for_numbers(line) in lines for lines in on_pages) >= 3
            assert not line.startswith("Invoice")


@given(documents(), st.sampled_from([1, 5, 40, 200]))
def test_a_chunk_is_its_spans_and_fits(text: PdfText, max_tokens: int) -> None:
    for ordinal, chunk in enumerate(split_pages(text, count, max_tokens)):
        assert chunk.ordinal == ordinal
        parts = [text.pages[s.page - 1].text[s.start : s.end] for s in chunk.spans]
        assert chunk.text == "\n".join(parts)
        assert chunk.text == chunk.text.strip()
        assert chunk.n_tokens == count(chunk.text) <= max_tokens
        assert list(chunk.spans) == sorted(chunk.spans)


cells = st.sampled_from(["Year", "Profit", "2021", "12", "—", "net income", "x" * 90])
table_pages = st.lists(st.lists(cells, min_size=1, max_size=4).map("\t".join), max_size=30)


@given(table_pages, st.sampled_from([5, 20, 60]))
def test_only_the_row_that_names_a_tables_columns_comes_twice(
    lines: list[str], max_tokens: int
) -> None:
    page = Page(1, "1", "\n".join(lines))
    chunks = split_pages(PdfText("T", (page,), (), "pdfium"), count, max_tokens)
    assert all(chunk.n_tokens == count(chunk.text) <= max_tokens for chunk in chunks)
    names = {i for part, _ in headers(page.text) for i in range(*part)}
    covered: list[int] = []
    for chunk in chunks:
        held = [i for s in chunk.spans for i in range(s.start, s.end) if not page.text[i].isspace()]
        repeated = names.intersection(covered)
        covered += [i for i in held if i not in repeated]
    assert covered == [i for i, character in enumerate(page.text) if not character.isspace()]


def test_every_chunk_of_a_long_table_names_the_columns() -> None:
    rows = "\n".join(f"Site {i}\t{i * 37 % 100}\t{i * 61 % 100}" for i in range(60))
    page = Page(1, "1", f"How full the sites were.\n\nSite\tSpring\tAutumn\n{rows}\n")
    chunks = split_pages(PdfText("Sites", (page,), (), "pdfium"), count, 60)
    assert len(chunks) > 5
    assert all("Site\tSpring\tAutumn\n" in chunk.text for chunk in chunks[1:])
    assert all(page.text[s.start : s.end] in chunk.text for chunk in chunks for s in chunk.spans)


def sentences(n: int, word: str = "word") -> list[str]:
    return [f"Sentence {i} has a few {word} in it, and then it ends." for i in range(n)]


def book(make_pdf: MakePdf) -> PdfText:
    """Six pages with a header, a footer that counts, headings by size and a table over pages."""
    pages = []
    for n in range(1, 7):
        page = [(60, 770, 8, "The Complete Book of Lamps"), (280, 20, 8, f"{n} | Lamps Ltd")]
        page.append((60, 720, 18, f"Part {n} on Bulbs"))
        page += [(60, 690 - 14 * i, 11, s) for i, s in enumerate(sentences(8, f"bulb{n}"))]
        page.append((60, 540, 14, f"Fittings of kind {n}"))
        page += [(60, 515 - 14 * i, 11, s) for i, s in enumerate(sentences(8, f"fitting{n}"))]
        for i in range(6):
            y = 350 - 14 * i
            page += [
                (60, y, 11, f"Lamp {n}{i}"),
                (250, y, 11, f"{n * 7 + i} W"),
                (400, y, 11, "EUR 5"),
            ]
        pages.append(page)
    return read_pdf(make_pdf("lamps.pdf", pages, title="Lamps"))


def test_running_lines_stay_out_of_chunks_but_in_the_page(make_pdf: MakePdf) -> None:
    text = book(make_pdf)
    chunks = split_pages(text, count)
    for page in text.pages:
        assert "The Complete Book of Lamps" in page.text
        assert f"{page.number} | Lamps Ltd" in page.text
    assert not [chunk for chunk in chunks if "Lamps Ltd" in chunk.text or "Book of" in chunk.text]
    assert all(
        f"Lamp {n}{i}\t{n * 7 + i} W\tEUR 5" in "\n".join(c.text for c in chunks)
        for n in range(1, 7)
        for i in range(6)
    )


def test_headings_by_size_make_the_path(make_pdf: MakePdf) -> None:
    chunks = split_pages(book(make_pdf), count)
    for chunk in chunks:
        for n in range(1, 7):
            if f"bulb{n} " in chunk.text:
                assert chunk.heading_path == (f"Part {n} on Bulbs",)
            if f"fitting{n} " in chunk.text:
                assert chunk.heading_path == (f"Part {n} on Bulbs", f"Fittings of kind {n}")
    assert all(len({span.page for span in chunk.spans}) == 1 for chunk in chunks)


def test_the_outline_makes_the_path(make_pdf: MakePdf) -> None:
    text = book(make_pdf)
    outline = tuple(OutlineItem(0, f"Part {n} on Bulbs", n) for n in range(1, 7))
    outline = (OutlineItem(0, "Lamps", 1), *outline[:3], OutlineItem(1, "Not printed", 4))
    found = {
        span.page: chunk.heading_path
        for chunk in split_pages(PdfText("Lamps", text.pages, outline, "pdfium"), count)
        for span in chunk.spans
        if "bulb" in chunk.text
    }
    assert found[2] == ("Part 2 on Bulbs",)
    assert found[5][:2] == ("Part 3 on Bulbs", "Not printed")


def of_lines(*pages: list[str]) -> list[Chunk]:
    made = [
        page_of(n, [(t, 12.0 * i, 10.0) for i, t in enumerate(p)]) for n, p in enumerate(pages, 1)
    ]
    return split_pages(PdfText("", tuple(made), (), "pdfium"), count, 60)


def test_a_chunk_leaves_its_page_only_with_its_paragraph() -> None:
    ended = of_lines(["Birds fly over the hills."], ["They land in the evening."])
    assert [chunk.text for chunk in ended] == [
        "Birds fly over the hills.",
        "They land in the evening.",
    ]
    running_on = of_lines(["Birds fly over the"], ["hills and land in the evening."])
    assert [chunk.text for chunk in running_on] == [
        "Birds fly over the\nhills and land in the evening."
    ]


def test_long_text_is_cut_at_sentences_and_tables_at_rows() -> None:
    text = " ".join(sentences(12))
    chunks = of_lines([text[i : i + 90] for i in range(0, len(text), 90)])
    assert len(chunks) > 1
    assert all(chunk.text.endswith(".") for chunk in chunks)
    assert min(chunk.n_tokens for chunk in chunks) >= 20
    table = [f"Row {i} 10{i} 20{i} 30{i} 4.{i} 5.{i}" for i in range(30)]
    assert [row for chunk in of_lines(table) for row in chunk.text.split("\n")] == table


def test_a_table_that_repeats_its_shape_is_no_running_line() -> None:
    pages = [
        page_of(n, [(f"Total {n * 13 % 7} {n * n}", 5.0, 10.0), ("Body text.", 90.0, 10.0)])
        for n in range(1, 9)
    ]
    lines = [page_lines(page) for page in pages]
    assert not [line for line in running_lines(pages, lines) if line.y0 == 5.0]


@pytest.mark.parametrize(
    ("line", "first", "body"),
    [
        ("Invoice number #", 5001, True),
        ("Invoice number #", 1, True),
        ("Invoice # · Page 1 of 1", 5001, True),
        ("Order No. # of 2024", 3, True),
        ("12/# Smith", 480, True),
        ("Invoice number 5001", 1, False),
        ("# | Lamps Ltd", 1, False),
        ("Lamps Ltd 2024 · #", 17, False),
        ("Page # of 99", 1, False),
        ("Page #", 345, False),
        ("– # –", 345, False),
    ],
)
def test_a_number_that_counts_on_is_left_out_only_as_the_page_number(
    make_pdf: MakePdf, line: str, first: int, body: bool
) -> None:
    said = [line.replace("#", str(first + n)) for n in range(30)]
    pages = [
        [(72, 790, 11, top), (72, 700, 11, f"Customer {n} bought {n * 7 % 11} lamps of kind {n}.")]
        for n, top in enumerate(said)
    ]
    chunks = split_pages(read_pdf(make_pdf("invoices.pdf", pages)), count)
    found = [any(top in chunk.text for chunk in chunks) for top in said]
    assert found == [body] * 30


def test_a_number_that_the_label_prints_is_the_page_number() -> None:
    def holds_header(label: str) -> bool:
        pages = []
        for n in range(1, 9):
            rows = [(f"{n + 400} Journal of Lamps", 5.0, 10.0), (f"It cost {n * n}.", 50.0, 10.0)]
            pages.append(dataclasses.replace(page_of(n, rows), label=label.format(n + 400)))
        chunks = split_pages(PdfText("", tuple(pages), (), "pdfium"), count)
        return any("Journal" in chunk.text for chunk in chunks)

    assert not holds_header("{}")
    assert not holds_header("A-{}")
    assert holds_header("")


def test_a_heading_that_counts_on_is_no_running_line_but_a_page_number_is() -> None:
    pages = []
    for n in range(1, 9):
        body = [(text, 50.0 + 12 * i, 10.0) for i, text in enumerate(sentences(9, f"word{n}"))]
        pages.append(page_of(n, [(f"Lesson {n}", 5.0, 16.0), *body, (f"Page {n}", 700.0, 16.0)]))
    lines = [page_lines(page) for page in pages]
    large = [line for line in running_lines(pages, lines) if line.height == 16]
    assert sorted(line.page for line in large) == list(range(1, 9))
    assert {line.y0 for line in large} == {700.0}


def test_pages_that_say_only_the_same_are_not_lost() -> None:
    pages = tuple(page_of(n, [("Hello", 50.0, 10.0)]) for n in range(1, 6))
    assert len(split_pages(PdfText("", pages, (), "pdfium"), count)) == 5


def test_a_limit_below_one_token_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 token"):
        split_pages(PdfText("", (), (), "pdfium"), count, 0)


def test_a_long_document_takes_linear_work() -> None:
    """Quadratic work on 5,000 pages or on one page of 2 MB would not end within the test run."""
    rows = [("A line of text on this page.", 12.0 * i, 10.0) for i in range(8)]
    pages = tuple(page_of(n, [("Header", 0.0, 8.0), *rows]) for n in range(1, 5001))
    outline = tuple(OutlineItem(0, f"Item {n}", n) for n in range(1, 5001))
    assert len(split_pages(PdfText("", pages, outline, "pdfium"), count)) == 5000
    page = Page(1, "1", "\n".join(["word " * 40] * 10_000))
    assert split_pages(PdfText("", (page,), (), "pypdf"), count)
