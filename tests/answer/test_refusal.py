"""A refusal says why, and names what could not be searched well, three files at most of each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ragformer.answer.refusal import Refusal, nothing_found
from ragformer.store.rows import KnownFile
from ragformer.store.store import Store
from ragformer.types import Document

FIRST = "That is not in your documents, as far as I can tell."


def document(name: str, n_pages: int = 1, unread: Sequence[int] = (), language: str = "en"):
    added = datetime(2026, 1, 2, tzinfo=UTC)
    path = Path("/docs") / name
    return Document(
        name, name, (path,), n_pages, added, language=language, unread_pages=tuple(unread)
    )


def said(*scope: Document) -> str:
    """What a refusal says behind its first sentence."""
    text = Refusal("What?", "no_passage", scope).text
    assert text.startswith(FIRST)
    return text.removeprefix(FIRST).strip()


def test_pages_without_text_are_named() -> None:
    assert said() == said(document("a.pdf", 4)) == ""
    assert said(document("a.pdf", 1, [1])) == "Not searched: the page of a.pdf has no text."
    assert said(document("a.pdf", 9, [2, 3]), document("c.pdf"), document("b.pdf", 8, [7])) == (
        "Not searched: 2 of 9 pages of a.pdf have no text; 1 of 8 pages of b.pdf has no text."
    )
    many = [document(f"{n}.pdf", 1, [1]) for n in range(5)]
    assert said(*many).endswith("2.pdf has no text; and 2 more files like that.")
    assert said(*many[:4]).endswith("; and 1 more file like that.")


def test_files_that_are_not_in_english_are_named_with_their_language() -> None:
    weak = "Not in English, so search by meaning is weak:"
    german = document("a.pdf", language="de")
    assert said(document("b.pdf", language=""), german) == f"{weak} a.pdf (de)."
    assert said(*[german] * 3) == f"{weak} a.pdf (de), a.pdf (de), a.pdf (de)."
    assert said(*[german] * 5).endswith("a.pdf (de), 2 more.")
    assert said(document("c.pdf", 1, [1], "fr")) == (
        f"Not searched: the page of c.pdf has no text. {weak} c.pdf (fr)."
    )
    assert weak in Refusal("What?", "low_confidence", [german]).text


@pytest.mark.parametrize(
    ("n_failed", "text"),
    [
        (0, "There are no documents to search. Add some with: ragformer index FOLDER"),
        (
            1,
            "There are no documents to search: the file indexed could not be read."
            " See why with: ragformer list",
        ),
        (
            2,
            "There are no documents to search: the 2 files indexed could not be read."
            " See why with: ragformer list",
        ),
    ],
)
def test_files_that_could_not_be_read_are_counted(tmp_path: Path, n_failed: int, text: str) -> None:
    with Store.open(tmp_path / "collection", create=True) as store:
        for n in range(n_failed):
            store.record_failure(KnownFile(Path(f"/docs/{n}.pdf"), 1, 1, None, "not a PDF"))
        refusal = nothing_found("What?", store, [])
    assert (refusal.reason, refusal.text) == ("empty_collection", text)
