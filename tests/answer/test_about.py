"""Questions about the documents themselves: what the store says, and what is no such question."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from ragformer.answer.about import MAX_NAMED, about_documents
from ragformer.store.store import Store
from ragformer.types import Document, OutlineItem, Page


def told(store: Store, question: str) -> str:
    answer = about_documents(question, store, store.documents())
    assert answer is not None
    assert (answer.question, answer.citations, answer.passages) == (question, (), ())
    assert (answer.abstained, answer.reason, answer.backend) == (False, None, "local")
    return answer.text


@pytest.mark.parametrize(
    "question",
    [
        "How many pages does the manual have?",
        "how many pages has manual.pdf got",
        "How many pages are in the user manual?",
        "How many pages long is the manual?",
        "Please tell me the number of pages of manual.pdf.",
        "What is the page count of the Cassia 3 manual?",
    ],
)
def test_the_pages_of_a_document(shelf: Store, question: str) -> None:
    assert told(shelf, question) == "manual.pdf has 4 pages."


def test_without_a_name_every_document_answers(shelf: Store) -> None:
    lines = told(shelf, "How many pages are there in total?").splitlines()
    assert lines[1:] == [
        "report.pdf has 4 pages.",
        "scan.pdf has 3 pages.",
        "Together: 11 pages.",
    ]


@pytest.mark.parametrize(
    "question", ["What is the title of report.pdf?", "What’s the report called?"]
)
def test_the_title(shelf: Store, question: str) -> None:
    said = "The title of report.pdf is “Northmere Ferries: Annual Report”."
    assert told(shelf, question) == said


@pytest.mark.parametrize(
    "question",
    [
        "What chapters does the manual have?",
        "Show me the table of contents of the manual",
        "list the headings in manual.pdf",
        "What is the outline of the manual?",
        "How is the manual structured?",
    ],
)
def test_the_outline(shelf: Store, question: str) -> None:
    assert told(shelf, question) == (
        "manual.pdf:\n  1 Safety, page 1\n    1.1 Gloves, page 2\n"
        "  2 Care of the machine, page 3\n  Index, page 4"
    )


def test_a_file_without_an_outline_shows_the_headings_seen_in_it(shelf: Store) -> None:
    lines = told(shelf, "Which sections does the report have?").splitlines()
    assert lines[1:4] == [
        "  Letter, page 1 (printed i)",
        "  Contents, page 2 (printed ii)",
        "  1 Results, page 3 (printed 1)",
    ]
    assert told(shelf, "How is scan.pdf structured?").endswith("no headings that could be read.")


def test_chapters_are_counted_where_they_are_numbered(shelf: Store) -> None:
    text = told(shelf, "How many chapters does the manual have?")
    assert text == "manual.pdf has 2 numbered chapters."
    question = "How many chapters does the report have?"
    assert about_documents(question, shelf, shelf.documents()) is None


@pytest.mark.parametrize(
    "question",
    ["Who wrote the manual?", "Who is the author of manual.pdf?", "the authors of manual.pdf"],
)
def test_the_author_is_what_the_file_records(shelf: Store, question: str) -> None:
    manual, report, _ = shelf.documents()
    assert about_documents(question, shelf, [manual, report]) is None  # the text may name one
    named = dataclasses.replace(manual, author="Ida Holm")
    answer = about_documents(question, shelf, [named, report])
    assert answer is not None
    assert answer.text == "manual.pdf records “Ida Holm” as its author."
    it = about_documents("Who wrote it?", shelf, [named, report], [named])
    assert it is not None
    assert it.text == answer.text


@pytest.mark.parametrize("question", ["What is manual.pdf about?", "Summarise the manual."])
def test_what_a_document_is_about_is_told_by_its_headings(shelf: Store, question: str) -> None:
    assert told(shelf, question).splitlines() == [
        "manual.pdf is “Cassia 3: User Manual”, 4 pages.",
        "Its headings: 1 Safety; 2 Care of the machine; Index.",
        "Its central sentences, each with its page: ragformer summarize manual.pdf",
    ]


@pytest.mark.parametrize(
    "question",
    [
        "What's in the folder?",
        "Which files are in the collection?",
        "How many documents are there?",
        "What documents do you have?",
        "list all the PDFs",
    ],
)
def test_the_files(shelf: Store, question: str) -> None:
    lines = told(shelf, question).splitlines()
    assert (lines[0], len(lines)) == ("3 documents:", 4)
    assert lines[1] == "  manual.pdf: Cassia 3: User Manual, 4 pages"


@pytest.mark.parametrize(
    "question", ["Which pages could not be read?", "Which pages of scan.pdf have no text?"]
)
def test_the_pages_that_could_not_be_read(shelf: Store, question: str) -> None:
    assert told(shelf, question).splitlines()[1:] == ["scan.pdf, of 3 pages: 2-3"]
    assert told(shelf, "Could all pages of the manual be read?") == "Every page could be read."


@pytest.mark.parametrize(
    "question",
    [
        "How many pages does the contract say a brief may have?",
        "How many pages of records were digitized?",
        "How many pages does the printer print?",
        "How many chapter authors of this report come from Bergen?",
        "What are the last 4 chapters listed in the table of contents?",
        "What parts does the machine have?",
        "What is the user called?",
        "What is the title of the song?",
        "Which documents must be handed in?",
        "Which documents do I need for a loan?",
        "How many files can be open at once?",
        "How many pages does report.pdf have on safety?",
        "What parts are there?",
        "What are the main parts?",
        "What are the parts of Cassia 3?",
        "How is the library organised?",
        "How is Cassia 3 structured?",
        "What sections does the collection have?",
        "What is it called?",
        "Who wrote the song?",
        "What is the song about?",
        "What is the user about to do?",
        "Summarise the safety rules",
        "How many files can the folder have?",
        "How many documents can I have in my library?",
        "How many files can it index?",
        "Which files does it have?",
        "pages",
        "",
    ],
)
def test_any_other_question_is_left_to_the_reader(shelf: Store, question: str) -> None:
    assert about_documents(question, shelf, shelf.documents()) is None


def test_it_is_what_the_turn_before_was_about(shelf: Store) -> None:
    documents = shelf.documents()
    answer = about_documents("How many pages does it have?", shelf, documents, documents[2:])
    assert answer is not None
    assert (answer.text, answer.about) == ("scan.pdf has 3 pages.", (documents[2],))


@pytest.mark.parametrize(
    "question", ["What is it called?", "What parts does it have?", "How is that structured?"]
)
def test_it_may_be_what_the_documents_speak_of(shelf: Store, question: str) -> None:
    documents = shelf.documents()
    assert about_documents(question, shelf, documents, documents[:1]) is None
    for pointed in ("this document", "the file"):
        answer = about_documents(f"What is {pointed} called?", shelf, documents, documents[:1])
        assert answer is not None
        assert answer.about == (documents[0],)


def test_what_one_document_speaks_of_is_not_that_document(shelf: Store) -> None:
    (manual, *_) = shelf.documents()
    for question in ("How many pages is the thesis?", "What is the title of the law?"):
        assert about_documents(question, shelf, [manual]) is None


@pytest.mark.parametrize(
    ("titles", "n"),
    [
        ("Part One/ Chapter 1/  Chapter Review/ Chapter 2/Part Two/ Chapter 3", 3),
        ("Chapter 1/Chapter 2/Answer Key/ Chapter 1/ Chapter 2", 2),
        ("1 Ice/1.1 Snow/1.2 Hail/2 Water/2024: a year", 2),
        (" Chapter 1/ Chapter 2/Answer Key/ Chapter 1", None),
    ],
)
def test_only_chapters_are_counted_and_once(tmp_path: Path, titles: str, n: int | None) -> None:
    rows = titles.split("/")
    outline = [OutlineItem(len(t) - len(t.lstrip()), t.strip(), 1) for t in rows]
    document = Document("a" * 64, "Ice", (Path("/d/ice.pdf"),), 1, datetime(2026, 1, 2, tzinfo=UTC))
    with Store.open(tmp_path / "collection", create=True) as store:
        none = np.ones((0, 2), np.float32)
        store.add_document(document, [Page(1, "1", "Ice")], [], none, "none", outline)
        answer = about_documents("How many chapters are there?", store, store.documents())
    assert (answer and answer.text) == (n and f"ice.pdf has {n} numbered chapters.")


def test_of_many_documents_one_is_to_be_named(shelf: Store) -> None:
    (first, *_) = shelf.documents()
    many = [dataclasses.replace(first, id=str(n)) for n in range(MAX_NAMED + 1)]
    for question in ("How many pages are there?", "What is the title of the documents?"):
        answer = about_documents(question, shelf, many)
        assert answer is not None
        assert "Name one" in answer.text
    assert about_documents("How many pages are there?", shelf, []) is None
