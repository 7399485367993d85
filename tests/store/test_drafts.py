"""The journal of a long document: kept in parts, found where it still holds, seen by no reader."""

from __future__ import annotations

import dataclasses

import numpy as np
from made_documents import ENCODER

from ragformer.store.drafts import DraftVectors, begun, drop_drafts, keep_pages


def test_pages_are_found_up_to_the_first_gap_by_the_version_that_read_them(store, make_document):
    made = make_document("a", ["one", "two", "three", "four"])
    key, generation = made.document.id, store.generation
    keep_pages(store, key, made.pages[:2], "pdfium", 1)
    keep_pages(store, key, made.pages[3:], "pdfium+pypdf", 1)
    assert begun(store, 1) == {key: (tuple(made.pages[:2]), "pdfium")}
    assert begun(store, 2) == {}
    keep_pages(store, key, made.pages[2:3], "pdfium+pypdf", 1)
    assert begun(store, 1) == {key: (tuple(made.pages), "pdfium+pypdf")}
    keep_pages(store, key, made.pages[:1], "pdfium", 2)  # a newer reader began anew
    assert begun(store, 1) == {}
    assert begun(store, 2) == {key: (tuple(made.pages[:1]), "pdfium")}
    assert store.generation == generation
    assert store.documents() == store.check() == []


def test_a_vector_is_found_by_all_that_went_into_it(store, make_document):
    made = make_document("a", ["one", "two"])
    key = made.document.id
    DraftVectors(store, key, ENCODER).keep("title", made.chunks, made.vectors)
    kept = DraftVectors(store, key, ENCODER)
    np.testing.assert_array_equal(kept.of("title", made.chunks), made.vectors)
    np.testing.assert_array_equal(kept.of("title", made.chunks[::-1]), made.vectors[::-1])
    other = dataclasses.replace(made.chunks[0], heading_path=("elsewhere",))
    for title, chunks in [
        ("other", made.chunks),
        ("title", [made.chunks[1], other]),
        ("title", []),
    ]:
        assert kept.of(title, chunks) is None
    assert DraftVectors(store, key, "other").of("title", made.chunks) is None
    assert DraftVectors(store, "other", ENCODER).of("title", made.chunks) is None


def test_a_draft_goes_with_its_document_and_when_it_is_whole(store, make_document):
    made = make_document("a", ["one", "two"])
    key = made.document.id

    def keep() -> None:
        keep_pages(store, key, made.pages, "pdfium", 1)
        DraftVectors(store, key, ENCODER).keep("", made.chunks, made.vectors)
        assert count() == [(2, 2)]

    def count() -> list[tuple[int, int]]:
        tables = ("draft_pages", "draft_vectors")
        return store.query("SELECT " + ", ".join(f"(SELECT count(*) FROM {t})" for t in tables))

    keep()
    made.add_to(store)
    assert count() == [(0, 0)]
    keep()
    store.replace_chunks(key, made.chunks, made.vectors, ENCODER, 2)
    assert count() == [(0, 0)]
    keep()
    store.remove_document(key)
    assert count() == [(0, 0)]
    keep()
    assert drop_drafts(store)
    assert not drop_drafts(store)
    assert count() == [(0, 0)]
