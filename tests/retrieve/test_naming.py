"""Which documents a few words mean: true friends and false ones."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from ragformer.retrieve.naming import named_documents, plainly_named, surely_named
from ragformer.store.store import Store

ALL = ["manual.pdf", "report.pdf", "scan.pdf"]


@pytest.mark.parametrize(
    ("phrase", "names"),
    [
        ("manual.pdf", ["manual.pdf"]),
        ("Manual", ["manual.pdf"]),
        ("“scan”", ["scan.pdf"]),
        ("the annual report", ["report.pdf"]),
        ("the ferries report", ["report.pdf"]),
        ("this Cassia 3 user manual", ["manual.pdf"]),
        ("the documents", ALL),
        ("it", ALL),
        ("the contract", ALL),
        ("the tax report", []),
        ("other.pdf", []),
        ("the Times", []),
    ],
)
def test_words_of_a_name_mean_the_document(shelf: Store, phrase: str, names: list[str]) -> None:
    found = [document.path.name for document in named_documents(phrase, shelf.documents())]
    assert found == names


@pytest.mark.parametrize(
    ("phrase", "names"),
    [
        ("the manual", ["manual.pdf"]),
        ("Cassia 3", ["manual.pdf"]),
        ("the Northmere ferries", ["report.pdf"]),
        ("the documents", ALL),
        ("this contract", ALL),
        ("the user", []),
        ("the ferries", []),
        ("the contract", []),
        ("the contract say a brief may", []),
    ],
)
def test_a_thing_is_not_taken_for_a_document(shelf: Store, phrase: str, names: list[str]) -> None:
    assert [d.path.name for d in plainly_named(phrase, shelf.documents())] == names


def test_a_name_is_known_by_its_parts_and_without_its_hyphen(shelf: Store) -> None:
    manual, report, _ = shelf.documents()
    filing = dataclasses.replace(manual, title="ACME FY22", paths=(Path("/d/ACME_2022_10K.pdf"),))
    plan = dataclasses.replace(report, title="Rivers", paths=(Path("/d/RiverManifesto.pdf"),))
    for phrase, meant in {"the ACME 10-K": [filing], "the River Manifesto": [plan]}.items():
        assert surely_named(phrase, [filing, plan]) == meant


def test_where_there_is_one_document_it_is_meant_unless_its_name_says_otherwise(
    shelf: Store,
) -> None:
    manual, _, scan = shelf.documents()
    assert plainly_named("the contract", [scan]) == [scan]
    assert plainly_named("the contract", [manual]) == []
    assert plainly_named("this contract", [manual]) == [manual]
    assert named_documents("the contract", []) == plainly_named("it", []) == []


@pytest.mark.parametrize(
    ("phrase", "names"),
    [
        ("manual.pdf", ["manual.pdf"]),
        ("the Cassia 3 manual", ["manual.pdf"]),
        ("the documents", ALL),
        ("Cassia 3", []),
        ("the library", []),
        ("it", []),
    ],
)
def test_a_document_is_sure_only_by_what_it_is(shelf: Store, phrase: str, names: list[str]) -> None:
    assert [d.path.name for d in surely_named(phrase, shelf.documents())] == names
