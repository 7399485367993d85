"""Laws of page evidence: the share of a question's words that the whole page has."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragformer.retrieve.names import Named, named
from ragformer.retrieve.page_words import page_shares
from ragformer.retrieve.retrieve import PAGED, PAGES_WEIGHT, add_pages, fuse_rankings
from ragformer.retrieve.words import search_words
from ragformer.store.store import Store
from ragformer.types import Chunk, Document, Page, Span

QUESTION = "Which bulb does the lamp of the Norvik fridge need?"
PAGES = (
    ("Norvik fridge. Owner's manual.", "Keep the Norvik fridge dry."),
    ("Norvik fridge. Changing the lamp.", "A new bulb of 40 watts is needed."),
    ("Norvik fridge. Storing food.", "Meat keeps for five days."),
    ("Norvik fridge. Making ice.", "Ice takes one night."),
)
COVER, DRY, LAMP, BULB, *OTHERS = range(1, 9)  # chunk ids


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Four pages of two chunks each and, last, one chunk over the last two pages."""
    with Store.open(tmp_path_factory.mktemp("pages") / "collection", create=True) as opened:
        pages = [Page(n, str(n), "\n".join(parts)) for n, parts in enumerate(PAGES, start=1)]
        spans = [
            (Span(page.number, start, start + len(part)),)
            for page, parts in zip(pages, PAGES, strict=True)
            for start, part in zip((0, len(parts[0]) + 1), parts, strict=True)
        ]
        texts = [part for parts in PAGES for part in parts]
        spans.append((Span(2, 0, 6), Span(4, 0, 6)))
        texts.append("Norvik\nNorvik")
        chunks = [Chunk(n, (), text, spans[n], 8) for n, text in enumerate(texts)]
        document = Document(
            hashlib.sha256(b"manual").hexdigest(),
            "",
            (Path("/docs/manual.pdf"),),
            len(pages),
            datetime(2026, 1, 2, tzinfo=UTC),
        )
        vectors_ND = np.zeros((len(chunks), 2), np.float32)
        opened.add_document(document, pages, chunks, vectors_ND, "none")
        yield opened


def test_a_chunk_is_as_good_as_its_whole_page(store: Store) -> None:
    shares = dict(page_shares(store, QUESTION, [COVER, DRY, LAMP, BULB, *OTHERS], Named()))
    assert shares[LAMP] == shares[BULB] == max(shares.values())  # "needs" is found as "need"
    assert shares[COVER] == shares[DRY] < shares[BULB]
    # "which", "does" and "of" say nothing; "lamp", "bulb" and "need" stand on one page of four,
    # "Norvik" and "fridge" on all, side by side.
    rare, common = np.log(1 + 3.5 / 1.5), np.log(1 + 0.5 / 4.5)
    assert shares[BULB] == pytest.approx(1)
    assert shares[COVER] == pytest.approx(2.5 * common / (2.5 * common + 3 * rare))


def test_a_chunk_over_two_pages_has_the_better_one(store: Store) -> None:
    shares = dict(page_shares(store, QUESTION, [COVER, BULB, 9], Named()))
    assert shares[9] == shares[BULB] > shares[COVER]


def test_words_side_by_side_say_more_than_apart(store: Store) -> None:
    shares = dict(page_shares(store, "five days of meat", [LAMP, OTHERS[0]], Named()))
    apart = dict(page_shares(store, "days five of meat", [LAMP, OTHERS[0]], Named()))
    assert shares == apart == {LAMP: 0, OTHERS[0]: 1}
    half = dict(page_shares(store, "five days at forty watts", [BULB, OTHERS[0]], Named()))
    rest = dict(page_shares(store, "days five at forty watts", [BULB, OTHERS[0]], Named()))
    assert half[OTHERS[0]] > rest[OTHERS[0]]


def test_shares_come_best_first_and_ties_by_id(store: Store) -> None:
    found = page_shares(store, QUESTION, [9, BULB, DRY, LAMP, COVER], Named())
    assert [key for key, _ in found] == [LAMP, BULB, 9, COVER, DRY]


def test_what_no_page_has_weighs_nothing(store: Store) -> None:
    chunks = [COVER, LAMP]
    with_unknown = page_shares(store, "zyxw " + QUESTION, chunks, Named())
    assert with_unknown == page_shares(store, QUESTION, chunks, Named())
    for question in ("zyxw", "?!", "", "日本語"):
        assert page_shares(store, question, chunks, Named()) == []
    assert (
        page_shares(store, QUESTION, [], Named())
        == page_shares(store, QUESTION, [99], Named())
        == []
    )


@given(st.text(max_size=40))
def test_any_string_is_a_question(store: Store, question: str) -> None:
    for _, share in page_shares(store, question + ' lamp" OR (', [COVER, LAMP], Named()):
        assert 0 <= share <= 1


def test_the_page_lifts_the_answer_over_the_cover(store: Store) -> None:
    """The cover has the maker's words twice; the chunk that answers has the rest of the page."""
    by_words = search_words(store, QUESTION, 100)
    found = add_pages(store, QUESTION, {"words": by_words, "vectors": [(COVER, 0.5), (BULB, 0.2)]})
    score_of = dict(fuse_rankings(found, 10))
    plain_of = dict(fuse_rankings({**found, "pages": []}, 10))
    for key, share in found["pages"]:
        assert score_of[key] - plain_of[key] == pytest.approx(
            share * PAGES_WEIGHT / (1 + PAGES_WEIGHT)
        )
    assert all(0 <= score <= 1 for score in score_of.values())
    assert len(found["pages"]) == len(plain_of) <= PAGED


def test_those_not_weighed_stay_behind() -> None:
    words = [(key, 100.0 - key) for key in range(60)]
    pages = [(key, 0.01 * key) for key in range(PAGED)]
    fused = fuse_rankings({"words": words, "vectors": [], "pages": pages}, 60)
    assert {key for key, _ in fused[:PAGED]} == set(range(PAGED))
    assert [key for key, _ in fused[PAGED:]] == list(range(PAGED, 60))


def test_a_word_that_names_the_document_counts_for_each_of_its_pages(store: Store) -> None:
    """ "Owner" stands on the cover alone, in its head."""
    question, chunks = "Which bulb for the owner?", [COVER, BULB, *OTHERS]
    names = named(store, question, chunks)
    plain = dict(page_shares(store, question, chunks, Named()))
    shares = dict(page_shares(store, question, chunks, names))
    assert plain[COVER] == plain[BULB]
    assert shares[COVER] < shares[BULB] == 1
