"""What is reread comes in the order of both scores, and nothing is lost or scored twice."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import pytest
import torch

from ragformer.answer import rerank as module
from ragformer.answer.reader import Reader
from ragformer.answer.rerank import RERANKED, SEARCH_NATS, read_as, rerank
from ragformer.types import Passage

QUESTION = "How long is the notice period?"


@pytest.fixture
def passages(add_passage: Callable[..., Passage]) -> list[Passage]:
    """More than are reread, scores falling from 1 to 0."""
    n = RERANKED + 5
    texts = [f"Rule {i}: the period of rule {i} is {i} months, said Holmvik." for i in range(n)]
    found = [add_passage([text]) for text in texts]
    scores = [1 - i / (n - 1) for i in range(n)]
    return [dataclasses.replace(p, score=s) for p, s in zip(found, scores, strict=True)]


def test_the_order_is_that_of_both_scores(reader: Reader, passages: list[Passage]) -> None:
    ordered = rerank(reader, QUESTION, passages)
    assert {p.chunk_id for p in ordered} == {p.chunk_id for p in passages}
    assert len(ordered) == len(passages)
    scores = [p.score for p in ordered]
    assert scores == sorted(scores, reverse=True)
    before = {p.chunk_id: p for p in passages}
    for passage in ordered[:RERANKED]:
        nats = passage.found_by["reading"]
        assert passage.score == pytest.approx(before[passage.chunk_id].score + nats / SEARCH_NATS)
    assert sum(math.exp(p.found_by["reading"]) for p in ordered[:RERANKED]) == pytest.approx(1)
    assert [p.chunk_id for p in ordered[RERANKED:]] == [p.chunk_id for p in passages[RERANKED:]]
    assert not any("reading" in p.found_by for p in ordered[RERANKED:])


def test_reading_alone_decides_where_search_says_nothing(
    readers: tuple[Reader, ...], passages: list[Passage]
) -> None:
    even = [dataclasses.replace(p, score=0.5) for p in passages[:6]]
    orders = set()
    for reader in readers:
        nats = reader.relevance(QUESTION, [read_as(p) for p in even])
        wanted = [even[i].chunk_id for i in torch.tensor(nats).argsort(descending=True).tolist()]
        assert [p.chunk_id for p in rerank(reader, QUESTION, even)] == wanted
        orders.add(tuple(wanted))
    assert len(orders) > 1  # readers of other noise like other passages


def test_search_alone_decides_where_it_counts_for_everything(
    reader: Reader, passages: list[Passage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SEARCH_NATS", 1e6)
    assert [p.chunk_id for p in rerank(reader, QUESTION, passages)] == [
        p.chunk_id for p in passages
    ]


def test_a_passage_too_long_to_read_counts_as_the_average(reader: Reader) -> None:
    long = "many words without end " * 900
    nats = reader.relevance(QUESTION, [("", "Two months."), ("", long), ("", "Gales follow.")])
    assert nats[1] == pytest.approx((nats[0] + nats[2]) / 2, abs=1e-4)
    assert reader.relevance(QUESTION, [("", long)]) == [0.0]


def test_nothing_found_is_nothing_to_order(reader: Reader) -> None:
    assert rerank(reader, QUESTION, []) == []
