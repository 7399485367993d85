"""Pieces of an answer come through as they are, and can be left at any time."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from ragformer_ui.pieces import told

from ragformer.errors import StoreError
from ragformer.types import Answer

ANSWER = Answer("Why?", "So it is", (), (), 0.5, False, None, "local", "m")


def test_every_piece_comes_in_order_and_the_answer_ends_it() -> None:
    pieces = ["So ", "it ", "is", ANSWER]
    assert [piece for piece in told(lambda: iter(pieces)) if piece is not None] == pieces


def test_an_error_comes_after_the_pieces_before_it() -> None:
    def fails() -> Iterator[str | Answer]:
        yield "So "
        raise StoreError("the disk is gone")

    coming = (piece for piece in told(fails) if piece is not None)
    assert next(coming) == "So "
    with pytest.raises(StoreError, match="the disk is gone"):
        next(coming)


def test_it_can_be_left_while_nothing_comes() -> None:
    going_on, closed = threading.Event(), threading.Event()

    def stalls() -> Iterator[str | Answer]:
        try:
            yield "So "
            going_on.wait()
            yield "it "
            pytest.fail("asked for more than one piece after it was left")
        finally:
            closed.set()

    coming = told(stalls)
    assert next(piece for piece in coming if piece is not None) == "So "
    assert next(coming) is None
    coming.close()
    going_on.set()
    assert closed.wait(30)


def test_a_stream_without_an_answer_does_not_go_on_for_ever() -> None:
    with pytest.raises(AssertionError, match="without an Answer"):
        list(told(lambda: iter(["So "])))
