"""Laws of what is let through of a model's text: every mark and every quotation is a citation's."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragformer.answer.quoting import Checked, find_quote
from ragformer.errors import StoreError
from ragformer.store.store import Store
from ragformer.types import Passage, Span

AddPassage = Callable[..., Passage]
NOTICE = (
    "The notice period is two months. “Notice” is given in writing –\nby post, or by e\u2011mail."
)
FEES = 'Fees are due on 1 May.\nThe fee is 1,250 euros. He said "pay at once" to her.'
SHOWN = re.compile(r"“([^”]*)”(?: ((?:\[\d+\])+))?")


@pytest.fixture(scope="module")
def passages(add_passage: AddPassage) -> list[Passage]:
    both = [Span(1, 0, 22), Span(2, 0, 25)]
    return [
        add_passage([NOTICE], name="notice.pdf"),
        add_passage([FEES], name="fees.pdf"),
        add_passage(["It rains on the hills.", "Snow falls in the valley."], both, "snow.pdf"),
    ]


def check(store: Store, passages: Sequence[Passage], *pieces: str) -> tuple[str, Checked]:
    checked = Checked(store, passages)
    text = "".join(map(checked.add, pieces)) + checked.add("", end=True)
    for citation in checked.citations:
        page = store.page(citation.document_id, citation.page).text
        assert page[citation.span.start : citation.span.end] == citation.quote
        assert passages[citation.mark - 1].document.id == citation.document_id
    return text, checked


@pytest.mark.parametrize(
    ("said", "shown", "marks", "quotes"),
    [
        # What holds, in the page's own characters.
        (
            'Two months: "The notice period is two months." [1]',
            "Two months: “The notice period is two months.” [1]",
            0,
            0,
        ),
        ("“Fees  are\ndue on 1 May” [2].", "“Fees are due on 1 May” [2].", 0, 0),
        ('"Fees are due on 1 May;" [2]', "“Fees are due on 1 May” [2]", 0, 0),
        (
            "\"'Notice' is given in writing - by post, or by e-mail.\" [1]",
            "““Notice” is given in writing – by post, or by e\u2011mail.” [1]",
            0,
            0,
        ),
        (
            '"He said "pay at once" to her." [2] Ok.',
            '“He said "pay at once" to her.” [2] Ok.',
            0,
            0,
        ),
        ('"Fees are due on 1 May." [2][1]', "“Fees are due on 1 May.” [2]", 1, 0),
        ('"Fees are due on 1 May." [1, 2] So [2].', "“Fees are due on 1 May.” [2] So [2].", 1, 0),
        # A mark that was forgotten, or that there is no passage for; a term.
        ('It says "Fees are due on 1 May."', "It says “Fees are due on 1 May.” [2]", 0, 0),
        ('"Fees are due on 1 May." [7]', "“Fees are due on 1 May.” [2]", 1, 0),
        ('The "notice period" is long.', "The “notice period” is long.", 0, 0),
        # What does not hold.
        ('Long: "The notice period is three months." [1]. So.', "Long. So.", 0, 1),
        ('"The notice period is two months." [2] So.', " So.", 0, 1),
        ('So:\n- "Nothing is due." [2]\n- yes', "So:\n- yes", 0, 1),
        ('So:\n- "Nothing is due." [2] is wrong', "So:\n- is wrong", 0, 1),
        ('The "deposit" is 5.', "The deposit is 5.", 0, 1),
        ('"The fee is 1" [2]', "", 0, 1),
        ('"ees are due on 1 Ma" [2]', "", 0, 1),
        ('"" [1]" ." [1]', "", 0, 2),
        ('"It rains on the hills. Snow falls in the valley." [3]', "", 0, 1),
        ("As said [9], and [1] and [2, 3].", "As said, and and.", 4, 0),
        # No marks and no quotations at all.
        ('In [2024], [a] and 5" pipes [', 'In [2024], [a] and 5" pipes [', 0, 0),
        ("", "", 0, 0),
    ],
)
def test_what_holds_is_shown_and_what_does_not_is_counted(
    store: Store, passages: list[Passage], said: str, shown: str, marks: int, quotes: int
) -> None:
    text, checked = check(store, passages, said)
    assert (text, checked.dropped) == (shown, {"marks": marks, "quotes": quotes})


PARTS = st.lists(
    st.sampled_from(
        [
            '"The notice period is two months."',
            "“Fees are due on 1 May.”",
            '"Fees are due on 2 May."',
            '"notice"',
            '"',
            "”",
            " [1]",
            "[2]",
            " [1, 3]",
            " [40]",
            "[",
            "]",
            ": ",
            " yes",
            ". ",
            "\n",
            "\n- ",
            "\n\n",
        ]
    ),
    max_size=12,
).map("".join)


@settings(max_examples=50)
@given(PARTS, st.lists(st.integers(0, 200), max_size=20))
def test_however_it_comes_in_pieces_marks_and_quotations_are_citations(
    store: Store, passages: list[Passage], said: str, cuts: list[int]
) -> None:
    at = sorted({0, len(said), *(cut for cut in cuts if cut < len(said))})
    pieces = [said[a:b] for a, b in pairwise(at)]
    text, checked = check(store, passages, *pieces)
    cited = {(" ".join(c.quote.split()), c.mark) for c in checked.citations}
    for found in SHOWN.finditer(text):
        for mark in re.findall(r"\d+", found[2] or ""):
            assert (found[1], int(mark)) in cited
        assert found[2] or any(find_quote(passage, found[1]) for passage in passages)
    assert set(map(int, re.findall(r"\[(\d+)\]", text))) <= {mark for _, mark in cited}
    at_once, other = check(store, passages, said)
    assert (text, checked.citations, checked.dropped) == (at_once, other.citations, other.dropped)


def test_prose_is_shown_at_once_and_a_quotation_when_it_is_whole(
    store: Store, passages: list[Passage]
) -> None:
    checked = Checked(store, passages)
    pieces = [
        "It is ",
        "two months",
        ': "The notice',
        " period is two months.",
        '" [',
        "1",
        "]",
        ".",
    ]
    shown = [checked.add(piece) for piece in pieces] + [checked.add("", end=True)]
    assert shown[:6] == ["It is", " two months", "", "", "", ""]
    assert "".join(shown) == "It is two months: “The notice period is two months.” [1]."


def test_a_quotation_that_never_ends_is_let_go(store: Store, passages: list[Passage]) -> None:
    checked = Checked(store, passages)
    shown = [checked.add(piece) for piece in ['He said "', *["and so on "] * 1000]]
    assert (shown[:3], len("".join(shown)) > 5000) == (["He said", "", ""], True)


def test_a_page_that_says_something_else_by_now_is_an_error(
    store: Store, passages: list[Passage]
) -> None:
    moved = dataclasses.replace(passages[0], text=passages[0].text.replace("two", "six"))
    with pytest.raises(StoreError, match="does not say what was read there"):
        check(store, [moved], '"The notice period is six months." [1]')
