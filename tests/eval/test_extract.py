"""Extraction is measured as its reports say: the same text scores 1, moved parts are counted."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragformer.errors import InputError
from ragformer.eval.extract import comparable, order_errors, run, similarity

WritePdf = Callable[..., Path]
WORDS = [f"word{i}" for i in range(200)]


def test_a_folder_of_pairs(write_pdf: WritePdf) -> None:
    folder = write_pdf("a.pdf", "The otter swims.", "The falcon dives.").parent
    write_pdf("b.pdf", "Bees dance.")
    write_pdf("untold.pdf", "No truth lies beside it.")
    (folder / "a.txt").write_text("The otter swims.\n\nThe fal-\ncon   dives.\n")
    (folder / "b.txt").write_text("Bees dance, we are told.")
    result = run(folder)
    assert (result["suite"], result["n"]) == ("extract", 2)
    assert list(result["files"]) == ["a.pdf", "b.pdf"]
    assert result["files"]["a.pdf"]["ours"] == {"similarity": 1.0, "order_errors": 0.0}
    found = [file["ours"]["similarity"] for file in result["files"].values()]
    assert found[1] < 1
    assert result["all"]["ours"]["similarity"] == pytest.approx(sum(found) / 2)
    assert result["metrics"]["ours/similarity"]["value"] == pytest.approx(sum(found) / 2)
    assert result["least_ahead"] == pytest.approx(0, abs=0.02)


def test_a_folder_without_a_pair_cannot_be_measured(write_pdf: WritePdf) -> None:
    folder = write_pdf("a.pdf", "The otter swims.").parent
    with pytest.raises(InputError, match=r"no x\.pdf with its true text"):
        run(folder)


def test_what_may_differ_does_not_count() -> None:
    read = "of\ufb01ce\u00a0 exam\ufffe\r\nple  and exam-\nple"
    assert comparable(read) == "office example and example"


def test_similarity() -> None:
    assert similarity("", "") == similarity("abc", "abc") == 1
    assert similarity("abc", "") == 0
    assert similarity("abcd", "ab") == pytest.approx(2 * 2 / 6)


@pytest.mark.parametrize("n_moved", [0, 1, 2])
def test_each_part_that_moved_is_an_error(n_moved: int) -> None:
    words = list(WORDS)
    for i in range(n_moved):
        part = words[20 * i : 20 * i + 20]
        words = words[: 20 * i] + words[20 * i + 20 :] + part
    assert order_errors(words, WORDS) == n_moved


@given(st.integers(0, 2**32))
def test_words_that_are_missing_or_new_are_no_order_errors(seed: int) -> None:
    draw = random.Random(seed)
    kept = [word for word in WORDS if draw.random() < 0.9]
    assert order_errors([part for word in kept for part in (word, "new")], WORDS) == 0
    assert order_errors(kept, WORDS) == 0
