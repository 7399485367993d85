"""A summary is the document's own sentences, each at its page, from its start to its end."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragformer.answer import summarize as module
from ragformer.answer.summarize import MOST, summarize
from ragformer.errors import InputError
from ragformer.types import Passage, Span

AddPassage = Callable[..., Passage]


class Axes:
    """Stands for an encoder: a text's vector has a 1 for each of these words it holds."""

    words = ("otter", "river", "winter", "tax")

    def encode(self, texts):
        rows = [[float(word in text.lower()) for word in self.words] for text in texts]
        vectors_ND = np.array(rows, dtype=np.float32) + 1e-3
        return vectors_ND / np.linalg.norm(vectors_ND, axis=1, keepdims=True)


PAGES = [
    "Otters of the north\nThe otter sleeps in a den by the river. The otter hunts fish in the river"
    " at night. It has been seen by many people. The otter swims down the river.",
    "The tax on furs was raised in the spring. In winter the otter stays in its den. "
    "1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 |\nThe tax on traps was raised as well in that year.",
]


def test_every_sentence_stands_at_its_page_in_the_order_of_the_document(store, add_passage):
    document = add_passage(PAGES).document
    for n in (1, 2, 4, 50):
        summary = summarize(document, store, Axes(), n)
        places = []
        for said in summary.sentences:
            citation = said.citation
            page = store.page(document.id, citation.page)
            assert page.text[citation.span.start : citation.span.end] == citation.quote
            assert citation.verified
            assert citation.boxes
            assert "|" not in citation.quote
            assert said.heading_path == ("Heading",)
            places.append((citation.page, citation.span.start))
        assert places == sorted(set(places))
        assert len(places) == min(n, 6)  # all but the heading and the row of a table
        assert [said.citation.mark for said in summary.sentences] == [*range(1, len(places) + 1)]


def test_the_central_sentence_is_chosen_and_what_is_said_is_not_said_again(store, add_passage):
    text = "\n\n".join(
        [
            "The otter lives by the river in the north. The winter is long up there this time.",
            "The otter lives by the river in the south. The otter and the tax are two subjects.",
        ]
    )
    document = add_passage([text]).document
    (one,) = summarize(document, store, Axes(), 1).sentences
    assert one.citation.quote == "The otter lives by the river in the north."
    quotes = [said.citation.quote for said in summarize(document, store, Axes(), 2).sentences]
    assert len(set(quotes)) == 2
    assert "south" not in quotes[1]  # the north's twin


def test_a_sentence_that_leans_on_the_one_before_is_no_summary(store, add_passage):
    text = "It lives by the river, as they say. The otter and the river were seen by two people."
    (one,) = summarize(add_passage([text]).document, store, Axes(), 1).sentences
    assert one.citation.quote.startswith("The otter and")


def test_a_sentence_over_two_pages_is_left_out(store, add_passage):
    texts = ["One whole sentence stands on this first page. The otter then went", "to the river."]
    document = add_passage(texts).document
    quotes = [said.citation.quote for said in summarize(document, store, Axes()).sentences]
    assert quotes == [texts[0].split(" The otter")[0]]


def test_the_bibliography_says_nothing_of_the_subject():
    for heading in ("References", "7. Bibliography", "Table of contents", "Acknowledgments"):
        assert module._APART.fullmatch(heading)
    assert not module._APART.fullmatch("Index funds")


def test_a_document_without_whole_sentences_is_quoted_as_it_stands(store, add_passage):
    document = add_passage(["Name\nAddress\nTelephone"]).document
    assert summarize(document, store, Axes()).sentences
    passage = add_passage(["x", ""], [Span(1, 0, 1)], name="empty.pdf")
    store.query("UPDATE chunks SET text = ' ' WHERE document_id = ?", passage.document.id)
    with pytest.raises(InputError, match=r"empty\.pdf has no sentence to quote"):
        summarize(passage.document, store, Axes())


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 20))
def test_parts_are_the_whole_document_in_order(sizes, n):
    numbers = iter(range(sum(sizes)))
    sections = [[next(numbers) for _ in range(size)] for size in sizes]
    parts = module._parts(sections, n)
    assert list(chain(*parts)) == list(range(sum(sizes)))
    assert all(parts)
    assert len(parts) == min(n, sum(sizes))
    if n == len(sizes):
        assert parts == sections


def test_a_long_document_is_walked_to_its_end(library, write_pdf, index):
    pages = [f"The town of number {n} has a mayor and a council of its own." for n in range(40)]
    path: Path = write_pdf("towns.pdf", *pages)
    index(library, path)
    summary = library.summarize("towns.pdf")
    found = [said.citation.page for said in summary.sentences]
    assert 5 <= len(found) <= MOST
    assert min(found) <= 10
    assert max(found) > 30
