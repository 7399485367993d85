"""`adapt` prints a table or one object, its progress elsewhere; its laws are in tests/train."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ragformer.train import adapt
from ragformer.train.adapt import Adapted, Config

BEFORE = {"vectors/ndcg@10": 0.41234, "fused/ndcg@10": 0.7}
AFTER = {"vectors/ndcg@10": 0.5, "fused/ndcg@10": 0.71111}


@pytest.fixture
def ends(monkeypatch):
    """ends(status): `adapt` has this end without doing the work; returns the Configs it gets."""

    def set_end(status: str) -> list[Config]:
        seen: list[Config] = []

        def main(config: Config) -> Iterator[str | Adapted]:
            seen.append(config)
            yield "600 chunks"
            yield Adapted(status, "0123456789ab", 600, 120, BEFORE, AFTER, 61.23456)

        monkeypatch.setattr(adapt, "main", main)
        return seen

    return set_end


@pytest.mark.parametrize(
    ("status", "last"),
    [
        (
            "kept",
            "kept: this collection now has its own encoder, 0123456789ab; "
            "`ragformer adapt --undo` goes back",
        ),
        ("rolled_back", "not kept, as it finds no more than before: nothing was changed"),
    ],
)
def test_the_table_shows_before_and_after_and_what_came_of_it(ragformer, ends, status, last):
    seen = ends(status)
    ran = ragformer("adapt", "--minutes", "1.5", "-c", "papers")
    assert ran.code == 0
    assert ran.out.splitlines() == [
        "120 questions   before  after",
        "vectors/ndcg@10  0.412  0.500",
        "fused/ndcg@10    0.700  0.711",
        last,
    ]
    assert ran.err == "600 chunks\n"
    assert seen == [Config("papers", minutes=1.5)]


def test_json_is_one_object(ragformer, ends):
    ends("kept")
    assert ragformer("adapt", "--json").json == {
        "status": "kept",
        "encoder": "0123456789ab",
        "chunks": 600,
        "questions": 120,
        "before": {"vectors/ndcg@10": 0.4123, "fused/ndcg@10": 0.7},
        "after": {"vectors/ndcg@10": 0.5, "fused/ndcg@10": 0.7111},
        "seconds": 61.235,
    }


def test_a_small_collection_is_one_sentence_and_undoing_nothing_is_no_error(ragformer, write_pdf):
    assert ragformer("index", write_pdf("a.pdf", "The cat sleeps by the river.")).code == 0
    ran = ragformer("adapt")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        "ragformer: collection default is too small to learn from, with 1 of the 50 chunks "
        "it takes; index more documents first\n"
    )
    ran = ragformer("adapt", "--undo")
    assert ran.code == 0
    assert ran.out == "this collection uses the encoder in the box; there is nothing to undo\n"
    ran = ragformer("adapt", "--undo", "--json")
    assert ran.json["status"] == "unchanged"
    assert (ran.json["before"], ran.json["after"]) == ({}, {})
