"""What the decoder is trained to answer from, before it is numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Example:
    """What to answer from which passages, each (context line, text).

    answer: (passage, start, end) to copy, or None; with `somewhere` the answer is known to start
    in it and no more. response: free text to write, or "". With neither, the right answer is that
    there is none.
    """

    question: str
    passages: tuple[tuple[str, str], ...]
    answer: tuple[int, int, int] | None = None
    response: str = ""
    somewhere: bool = False
