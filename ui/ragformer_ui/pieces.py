"""An answer's pieces from a thread of their own, so that whoever shows them can be stopped."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator

from ragformer.types import Answer

WAIT = 0.1
"""Seconds without a piece after which the shower is asked whether it goes on."""


def told(make: Callable[[], Iterator[str | Answer]]) -> Generator[str | Answer | None]:
    """The pieces as they come, and None where none has come for a while.

    Streamlit stops a script only where it shows something: one that waits for a server would go on
    waiting. Once this is closed, the thread takes one more piece and closes the iterator. Raises
    what the pieces raise.
    """
    here: queue.SimpleQueue[str | Answer | BaseException] = queue.SimpleQueue()
    left = threading.Event()
    threading.Thread(target=_tell, args=(make, here, left), daemon=True, name="answer").start()
    try:
        while True:
            try:
                piece = here.get(timeout=WAIT)
            except queue.Empty:
                yield None
                continue
            if isinstance(piece, BaseException):
                raise piece
            yield piece
            if isinstance(piece, Answer):
                return
    finally:
        left.set()


def _tell(
    make: Callable[[], Iterator[str | Answer]],
    there: queue.SimpleQueue[str | Answer | BaseException],
    left: threading.Event,
) -> None:
    try:
        pieces = make()
        for piece in pieces:
            there.put(piece)
            if left.is_set():
                break
        getattr(pieces, "close", lambda: None)()
        there.put(AssertionError("the stream ended without an Answer"))  # read by nobody if it did
    except BaseException as error:  # it is raised where the pieces are shown
        there.put(error)
