"""Sentences are found in order, miss no character, and end where a reader would end them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragformer.text.sentences import leads_to_page, sentence_spans

PIECES = [
    "A b. ",
    "Dr. ",
    "3.5",
    "\n",
    "\n\n",
    "- ",
    "| x |",
    "。",
    '?" ',
    "!",
    " ",
    "\u3000",
    "Ab",
]
texts = st.text() | st.lists(st.sampled_from(PIECES) | st.text(max_size=2)).map("".join)


def sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in sentence_spans(text)]


@given(texts)
def test_sentences_are_in_order_and_leave_out_only_white_space(text):
    last = 0
    for start, end in sentence_spans(text):
        assert last <= start < end
        assert text[last:start].strip() == ""
        assert text[start:end] == text[start:end].strip()
        last = end
    assert text[last:].strip() == ""


@pytest.mark.parametrize(
    "text",
    [
        "Dr. Smith met Mr. Jones and Prof. Lee in St. Gallen.",
        "It weighs 3.5 kg, costs 1,200.00 EUR and runs on version 2.0 Beta.",
        "See Fig. 3, Eq. 4, Sec. 5 and pp. 6 to 9 of vol. 2.",
        "J. R. Doe vs. Acme Inc. was heard in the U.S. Court in Jan. 2020.",
        "Some forms, e.g. A and i.e. B, are due at approx. 5 o'clock.",
        "Smith et al. 2019 write to info@example.com. about it.",
    ],
)
def test_a_point_within_a_sentence_does_not_end_it(text):
    assert sentences(text) == [text]


@pytest.mark.parametrize(
    "wanted",
    [
        ["The fee is due.", "Pay it."],
        ["Is it due?", "Yes!", "Pay it."],
        ['He said "pay."', "She did."],
        ["It is due (now.)", "“Pay it.”", "2 of 3 did."],
        ["It costs 3.5 EUR.", "That is 4.2 USD."],
    ],
)
def test_a_sentence_ends_where_a_new_one_starts(wanted):
    assert sentences(" ".join(wanted)) == wanted


def test_sentences_without_spaces_between_them():
    assert sentences("今日は晴れ。明日は雨？はい！") == ["今日は晴れ。", "明日は雨？", "はい！"]


def test_bullets_and_table_rows_are_sentences_of_their_own():
    lines = [
        "The following things are needed before the work",
        "- a screwdriver of the right size for the panel",
        "• four screws, which come in the small plastic bag",
        "3. a level, and someone who holds it while you look",
        "(b) a pencil to mark the places of all the four holes",
        "| Screw | 4 | steel | the small plastic bag in the box |",
    ]
    assert sentences("\n".join(lines)) == lines


def test_a_heading_or_a_blank_line_ends_a_sentence_and_a_full_line_does_not():
    paragraph = (
        "The notice period is three months for every employee who has\n"
        "worked here for two years or more, counted from the first day\n"
        "of the following month and never from the day of the letter."
    )
    assert sentences(paragraph) == [paragraph]
    assert sentences(f"Leaving\n{paragraph}\n\n{paragraph}") == ["Leaving", paragraph, paragraph]


@pytest.mark.parametrize(
    "lines",
    [
        ["Location: Elyria, OH Accident Number: CHI08CA048", "Aircraft: Smith, Ted Aerostar 601"],
        ["22 School of Art, Design and Media", "23 School of Social Sciences and its guests"],
        ["Installing the hardware ........... 4", "Removing the hardware again ........... 17"],
        ["Screw 4 0.2", "Bolts 8 0.75"],
        ["Opened by\tthe keeper at dawn", "closed by\tthe keeper at dusk", "every day of the year"],
    ],
)
def test_lines_of_a_form_a_list_of_contents_or_a_table_are_sentences_of_their_own(lines):
    assert sentences("\n".join(lines)) == lines
    assert sentences("\n".join([*lines, "and so on until the end of it"]))[0] == lines[0]


def test_one_line_like_a_field_or_an_entry_is_no_form():
    text = "There is one thing to keep in mind about the\nNotice period: it starts on the first day"
    assert sentences(text) == [text]
    text = "It was built in the first days of the year\n1900 Paris being its home until today."
    assert sentences(text) == [text]


@pytest.mark.parametrize(
    "line", ["Results ..... 12", "9.1 Notice . . . . . . .", "Index . . . . . 7 "]
)
def test_leader_dots_lead_to_a_page_and_end_no_sentence(line):
    assert leads_to_page(line)
    assert sentences(line) == [line.strip()]


@pytest.mark.parametrize("line", ["It goes on...", "See page 12.", "", "A. B. C. D. E."])
def test_other_dots_lead_nowhere(line):
    assert not leads_to_page(line)
