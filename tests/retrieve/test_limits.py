"""Limits that a question sets itself: the phrases that are one, those that are none, the chunks."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from ragformer.retrieve.limits import find_limits, limited_chunks
from ragformer.store.store import Store
from ragformer.types import Chunk, Page, Span


def places(store: Store, question: str) -> tuple[str, list[tuple[str, int]]]:
    """The question without its limits, and file and first page of the chunks within them."""
    rest, limits = find_limits(question, store, store.documents())
    assert limits is not None
    found = store.passages([(key, 1.0) for key in limited_chunks(store, limits)])
    return rest, [(p.document.path.name[:-4], p.spans[0].page) for p in found]


@pytest.mark.parametrize(
    ("question", "rest", "chunks"),
    [
        ("What is said on page 4?", "What is said?", [("manual", 4), ("report", 4)]),
        ("On page 2, what is said?", "what is said?", [("manual", 2), ("report", 4)]),
        ("What is meant on p. 1 of the manual?", "What is meant?", [("manual", 1)]),
        ("Who wins on pages 1-2 of the report?", "Who wins?", [("report", 3), ("report", 4)]),
        ("Who wins on pages ii to 1?", "Who wins?", [("report", 2), ("report", 3)]),
        ("What is at the top of page 3 of manual.pdf about care?", "", [("manual", 2)]),
        ("What stands on the last page of the manual?", "What stands?", [("manual", 4)]),
        ("Who wins on the first page?", "Who wins?", [("manual", 1), ("report", 1), ("scan", 1)]),
        ("What about page ii?", "?", [("report", 2)]),
        ("Who wins in chapter 1?", "Who wins?", [("manual", 1), ("manual", 2), ("report", 3)]),
        ("Who wins in section 1.1 of the report?", "Who wins?", [("report", 4)]),
        ("In chapter two, who wins?", "who wins?", [("manual", 3)]),
        ("Who wins in the chapter on health?", "Who wins?", [("report", 4)]),
        ("In the chapter on safety of the manual, who wins?", "who wins?", [("manual", 1)]),
        ("Who wins in the section about care for me?", "Who wins for me?", [("manual", 3)]),
        ('In the "Health and safety" section, who wins?', "who wins?", [("report", 4)]),
        ("Who wins on page 1 in chapter 1?", "Who wins?", [("manual", 1), ("report", 3)]),
        ("What does page 1 of the manual say on care?", "", [("manual", 1)]),
        ("Who wins, according to chapter 2 of the manual?", "Who wins?", [("manual", 3)]),
        ("What does the manual say on page 1 about care?", "", [("manual", 1)]),
        ("What does it say on page 1?", "What does it say?", [("manual", 1), ("report", 3)]),
        ("Page 4: who wins?", "who wins?", [("manual", 4), ("report", 4)]),
        ("Who wins under the heading Gloves?", "Who wins?", [("manual", 2)]),
        ('Who wins in the section "Results"?', "Who wins?", [("report", 3), ("report", 4)]),
        ("On page 1 of manual.pdf, what is manual?", "what is manual?", [("manual", 1)]),
        ("Who wins on page 3 or page 4?", "Who wins?", [("manual", 3), ("manual", 4)]),
        ("Who wins on pages 1, 2 and 4?", "Who wins?", [("manual", n) for n in (1, 2, 4)]),
        ("Who wins on pages 4-2?", "Who wins?", [("manual", n) for n in (2, 3, 4)]),
        ("What does section 1.1 say?", "What does the text say?", [("manual", 2), ("report", 4)]),
    ],
)
def test_a_limit_leaves_the_question_and_keeps_its_chunks(
    shelf: Store, question: str, rest: str, chunks: list[tuple[str, int]]
) -> None:
    left, found = places(shelf, question)
    if rest:
        assert left == rest
    assert set(chunks) <= set(found)
    if len(chunks) == 1:
        assert {name for name, _ in found} == {chunks[0][0]}


@pytest.mark.parametrize(
    ("question", "rest", "names"),
    [
        ("Who wins in manual.pdf?", "Who wins?", {"manual"}),
        ("According to the file “Manual.PDF”, who wins?", "who wins?", {"manual"}),
        ("report.pdf: who wins?", "who wins?", {"report"}),
        ("What does manual.pdf say of it?", "What does the document say of it?", {"manual"}),
        ("What are report.pdf's results?", "What are the document's results?", {"report"}),
        ("Who wins in manual.pdf and report.pdf?", "Who wins?", {"manual", "report"}),
        ("Compare report.pdf, manual.pdf", "Compare report.pdf, manual.pdf", {"manual", "report"}),
        ("In manual.pdf, who wins on page 1?", "who wins?", {"manual"}),
    ],
)
def test_a_file_that_is_named_in_full_is_asked_alone(
    shelf: Store, question: str, rest: str, names: set[str]
) -> None:
    left, found = places(shelf, question)
    assert (left, {name for name, _ in found}) == (rest, names)


@pytest.mark.parametrize(
    "question",
    [
        "Who wins in a-manual.pdf?",
        "Who wins in old/manual.pdf?",
        "Who wins in manual.pdf.gz?",
        "Who wins in other.pdf?",
        "Who wins in manual?",
        "Who wins, except in manual.pdf?",
        "Who wins in manual.pdf and the lease?",
        "Is what manual.pdf says true in report.pdf?",
    ],
)
def test_what_only_looks_like_a_file_of_the_collection_limits_nothing(
    shelf: Store, question: str
) -> None:
    assert find_limits(question, shelf, shelf.documents()) == (question, None)


def test_a_printed_label_goes_before_a_counted_page(shelf: Store) -> None:
    """Page 2 of the report is printed on its fourth; its third page has no other name than 1."""
    assert places(shelf, "Who wins on page 2 of the report?")[1] == [("report", 4)]
    assert places(shelf, "Who wins on page 3 of the report?")[1] == [("report", 3)]
    assert places(shelf, "Who wins on page 4 of the report?")[1] == [("report", 4)]


def test_where_labels_only_count_a_number_that_the_page_bears_is_meant_too(
    tmp_path: Path, shelf: Store
) -> None:
    texts = ["Cover", "7\nThe river rises.", "The river falls. 8", "In 1998 it froze"]
    pages = [Page(n, str(n), text) for n, text in enumerate(texts, 1)]
    chunks = [
        Chunk(n - 1, (), p.text, (Span(n, 0, len(p.text)),), 4) for n, p in enumerate(pages, 1)
    ]
    document = dataclasses.replace(shelf.documents()[0], n_pages=4)
    with Store.open(tmp_path / "collection", create=True) as store:
        store.add_document(document, pages, chunks, np.ones((4, 2), np.float32), "none")
        for asked, found in {
            "7": [2],
            "8": [3],
            "7-8": [2, 3],
            "2": [2],
            "1998": [],
            "99": [],
        }.items():
            places_found = places(store, f"What does the river do on page {asked}?")[1]
            assert places_found == [("manual", number) for number in found]


def test_a_chunk_that_overlaps_the_page_is_on_it(shelf: Store) -> None:
    assert places(shelf, "Who wins on page 3 of the manual?")[1] == [("manual", 2), ("manual", 3)]


def test_a_heading_takes_those_below_it(shelf: Store) -> None:
    found = places(shelf, "Who wins in chapter 1 of the manual?")[1]
    assert found == [("manual", 1), ("manual", 2)]


@pytest.mark.parametrize(
    "question",
    [
        "How many pages does the manual have?",
        "What is the web page 12 about?",
        "Who filed for Chapter 11 bankruptcy?",
        "What does chapter 11 protect?",
        "Page 3 girls wear what?",
        "What is in the introduction of the new law?",
        "Who wins in the abstract?",
        "Who is protected in chapter 11 bankruptcy?",
        "What was printed on page 3 of the Times?",
        "What did page 3 girls wear?",
        "What does section 4 say?",
        "What does section 4.2 of the act say?",
        "How many words stand on pages?",
        "Who was in part responsible?",
        "Which are the words on pages I should read?",
        "What is in the section?",
        "Who lives in section 1-A?",
        "Who wins apart from page 3?",
        "Who wins, except in chapter 1?",
        "Who is not on page 3?",
        "Who is exempt from section 1?",
        "Other than in the chapter on health, who wins?",
        "Who wins from page 3 on?",
        "Who wins from page 3 to the end?",
        "Who wins on page 3 and the following pages?",
        "Who wins in chapter 1 or 2?",
        "Who wins in chapter 1 and chapter 2?",
        "Who wins on page 1 or in chapter 2?",
        "Who wins on page 1 more often than on page 4?",
        "Is what is said on page 1 true on page 4?",
    ],
)
def test_what_only_looks_like_a_limit_is_none(shelf: Store, question: str) -> None:
    assert find_limits(question, shelf, shelf.documents()) == (question, None)


@pytest.mark.parametrize(
    ("question", "rest"),
    [
        ("Who wins on page 300?", "Who wins?"),
        ("Who wins on page xl?", "Who wins?"),
        ("Who wins in part 1?", "Who wins?"),  # "1 Safety" is no part
        ("Who wins in appendix B?", "Who wins?"),
        ('Who wins in the "Care of cats" section?', 'Who wins in the "Care of cats" section?'),
        ("Who wins in the chapter on rivers?", "Who wins in the chapter on rivers?"),
    ],
)
def test_a_limit_may_hold_nothing(shelf: Store, question: str, rest: str) -> None:
    assert places(shelf, question) == (rest, [])


def test_a_part_that_many_documents_have_needs_no_word_for_what_it_is(
    tmp_path: Path, shelf: Store
) -> None:
    paths = [("1 Introduction",), ("2 Method",), ("Conclusions",)]
    pages = [Page(n, str(n), "The river rises.") for n in range(1, 4)]
    chunks = [
        Chunk(n, p, "The river rises.", (Span(n + 1, 0, 16),), 4) for n, p in enumerate(paths)
    ]
    document = dataclasses.replace(shelf.documents()[0], n_pages=3)
    with Store.open(tmp_path / "collection", create=True) as store:
        store.add_document(document, pages, chunks, np.ones((3, 2), np.float32), "none")
        for asked, found in {
            "In the introduction, what rises?": ("what rises?", [("manual", 1)]),
            "What rises in the conclusion?": ("What rises?", [("manual", 3)]),
            "What rises in the introduction of the manual?": ("What rises?", [("manual", 1)]),
        }.items():
            assert places(store, asked) == found
        left = "What rose in the introduction of the mill?"
        assert find_limits(left, store, store.documents()) == (left, None)
