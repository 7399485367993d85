"""Laws of citations: one span, one page, the answer inside, and the store has the last word."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ragformer.answer.cite import (
    LONGEST_QUOTE,
    cite,
    line_boxes,
    part_spans,
    passage_boxes,
    place_of,
    quote_range,
    range_of,
)
from ragformer.store.store import Store
from ragformer.types import Passage, Span

AddPassage = Callable[..., Passage]
PAGE = st.lists(
    st.sampled_from(
        [
            "It ended. ",
            "Fig. 3 shows",
            " 12 mm",
            "\n",
            "\n\n",
            "• one",
            "日本。",
            "😀 ",
            "a | b\n",
            "x" * 90,
        ]
    ),
    min_size=1,
    max_size=12,
).map("".join)


@st.composite
def places(draw: st.DrawFn) -> tuple[list[str], list[Span]]:
    """Pages, and spans on them in order that do not overlap."""
    pages = draw(st.lists(PAGE, min_size=1, max_size=3))
    spans = []
    for number, text in enumerate(pages, start=1):
        cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=4)))
        spans += [Span(number, a, b) for a, b in zip(cuts[::2], cuts[1::2], strict=False)]
    assume(spans)
    return pages, spans


@st.composite
def answers(draw: st.DrawFn) -> tuple[list[str], list[Span], int, int]:
    """Such a passage and an answer in one of its spans, from one visible character to the end of
    another."""
    pages, spans = draw(places())
    texts = [pages[span.page - 1][span.start : span.end] for span in spans]
    which = draw(st.integers(0, len(texts) - 1))
    before = len("\n".join([*texts[:which], ""]))
    visible = [before + at for at, letter in enumerate(texts[which]) if not letter.isspace()]
    assume(visible)
    start, last = sorted([draw(st.sampled_from(visible)), draw(st.sampled_from(visible))])
    return pages, spans, start, last + 1


@given(answers())
def test_a_quote_lies_in_one_span_and_holds_the_answer_as_far_as_it_has_room(
    add_passage: AddPassage, store: Store, made: tuple[list[str], list[Span], int, int]
) -> None:
    pages, spans, start, end = made
    passage = add_passage(pages, spans)
    first, last = quote_range(passage, start, end)
    assert first <= start < last
    assert end <= last or len(passage.text[start:end].encode()) > LONGEST_QUOTE
    assert len(passage.text[first:last].encode()) <= LONGEST_QUOTE
    (span,) = [s for low, high, s in part_spans(passage) if low <= first and last <= high]
    citation = cite(store, passage, 2, first, last)
    page = store.page(passage.document.id, citation.page)
    assert citation.verified
    assert page.text[citation.span.start : citation.span.end] == citation.quote
    assert citation.quote == passage.text[first:last]
    assert (citation.page, citation.span.page) == (span.page, span.page)
    assert span.start <= citation.span.start < citation.span.end <= span.end
    assert (citation.mark, citation.path) == (2, passage.document.path)


@given(places())
def test_every_character_of_a_passage_has_its_place(
    add_passage: AddPassage, made: tuple[list[str], list[Span]]
) -> None:
    pages, spans = made
    passage = add_passage(pages, spans)
    for low, high, span in part_spans(passage):
        assert passage.text[low:high] == pages[span.page - 1][span.start : span.end]
        assert place_of(passage, low, high) == span
        assert range_of(passage, span) == (low, high)
        assert range_of(passage, Span(span.page, span.start, span.end + 1)) is None
    joins = [high for _, high, _ in part_spans(passage)][:-1]
    assert all(passage.text[join] == "\n" for join in joins)
    for join in joins:
        with pytest.raises(ValueError, match="do not lie in one span"):
            place_of(passage, join - 1, join + 2)


@settings(max_examples=30)
@given(st.text("ab ", min_size=1, max_size=30), st.data())
def test_a_page_changed_underneath_is_noticed(
    add_passage: AddPassage, store: Store, text: str, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    passage = add_passage([text])
    assert cite(store, passage, 1, start, end).verified
    at = data.draw(st.integers(start, end - 1))
    for changed in (text[:at] + "c" + text[at + 1 :], ""):
        _set_text(store, passage, changed)
        again = cite(store, passage, 1, start, end)
        assert (again.verified, again.quote) == (False, text[start:end])
    _set_text(store, passage, text)


def _set_text(store: Store, passage: Passage, text: str) -> None:
    store.query("UPDATE pages SET text = ? WHERE document_id = ?", text, passage.document.id)


def test_the_sentence_is_quoted_and_neither_its_neighbour_nor_the_next_span(
    add_passage: AddPassage,
) -> None:
    page = "The rent is due in May. The deposit is\n900 euros. It is paid back. [note] Later on."
    note = page.index(" [note]")
    spans = [Span(1, 0, note), Span(1, note + len(" [note]"), len(page))]
    passage = add_passage([page], spans)

    def quoted(answer: str) -> str:
        start = passage.text.index(answer)
        first, last = quote_range(passage, start, start + len(answer))
        return passage.text[first:last]

    assert quoted("900 euros") == "The deposit is\n900 euros."
    assert quoted("900 euros. It") == "The deposit is\n900 euros. It is paid back."
    assert quoted("Later") == "Later on."


@pytest.mark.parametrize("word", ["word", "日本語日本", "😀"])
@pytest.mark.parametrize("space", [" ", ""])
def test_a_very_long_sentence_is_quoted_around_the_answer(
    add_passage: AddPassage, word: str, space: str
) -> None:
    text = space.join([word] * 300 + ["FOUND"] + [word] * 300)
    passage = add_passage([text])
    start = text.index("FOUND")
    first, last = quote_range(passage, start, start + 5)
    quote = text[first:last]
    assert "FOUND" in quote
    assert LONGEST_QUOTE // 2 < len(quote.encode()) <= LONGEST_QUOTE
    if space:
        assert set(quote.split()) == {word, "FOUND"}  # no word is cut
    first, last = quote_range(passage, 0, len(text))
    assert (first, len(text[first:last].encode()) <= LONGEST_QUOTE) == (0, True)


@given(PAGE, st.data())
def test_boxes_cover_the_words_of_the_quote_line_by_line(
    add_passage: AddPassage, store: Store, text: str, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    passage = add_passage([text])
    page = store.page(passage.document.id, 1)
    boxes = line_boxes(page, start, end)
    quoted = [word for word in page.words if word.end > start and word.start < end]
    for word in page.words:
        around = [b for b in boxes if b[0] <= word.x0 and b[1] <= word.y0 and word.x1 <= b[2]]
        around = [b for b in around if word.y1 <= b[3]]
        assert len(around) == (word in quoted)
    assert len(boxes) == len({word.y0 for word in quoted})
    width = 6.0 * max(map(len, text.split("\n")))
    assert all(0 <= b[0] < b[2] <= width and 0 <= b[1] < b[3] for b in boxes)


def test_a_passage_has_the_boxes_of_each_of_its_pages(
    add_passage: AddPassage, store: Store
) -> None:
    passage = add_passage(["one two\nthree", "four"])
    found = passage_boxes(store, passage)
    assert [page for page, _ in found] == [1, 1, 2]
    assert found[0][1] == (0.0, 0.0, 42.0, 10.0)
