"""An answer as the blocks that are shown: plain values, every text a text and nothing more."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ragformer.answer.cite import place_name
from ragformer.store.chats import Turn
from ragformer.types import Citation
from ragformer_ui.plain import counted, shown

_MARK = re.compile(r"\[(\d{1,3})\]")
_PLACE = re.compile(r"\[\d{1,3}\] \S")
SURE = ((0.75, "Quite sure"), (0.5, "Fairly sure"), (0.0, "Not very sure"))


def answer_blocks(text: str, citations: Sequence[Citation]) -> list[dict[str, Any]]:
    """The answer's paragraphs, each {"kind": "short" | "quote" | "place" | "text", "parts"}.

    A part is a text, or the number of a mark. The short answer is a first paragraph with others
    below it and no mark in it; a line that begins with a quotation mark is a quote, and the one
    after it its place, as is a line that begins with a mark.
    """
    marks = {citation.mark for citation in citations}
    lines = [line for line in text.split("\n") if line.strip()]
    short = "\n\n" in text.strip() and bool(citations)
    blocks: list[dict[str, Any]] = []
    for i, line in enumerate(lines):
        kind = "text"
        if short and i == 0 and not any(isinstance(part, int) for part in _parts(line, marks)):
            kind = "short"
        elif line.startswith("“"):
            kind = "quote"
        elif (blocks and blocks[-1]["kind"] == "quote") or _PLACE.match(line):
            kind = "place"
        blocks.append({"kind": kind, "parts": _parts(line, marks)})
    return blocks


def _parts(line: str, marks: set[int]) -> list[str | int]:
    """Texts and marks by turns; a number in brackets that is no mark stays text."""
    parts: list[str | int] = []
    end = 0
    for found in _MARK.finditer(line):
        if int(found[1]) in marks:
            parts += [line[end : found.start()], int(found[1])]
            end = found.end()
    parts.append(line[end:])
    return [part for part in parts if part != ""]


def sureness(confidence: float | None, refused: bool) -> str:
    """How sure an answer is, in words and as a number; "" where nothing was measured."""
    if confidence is None or refused:
        return ""
    words = next(words for least, words in SURE if confidence >= least)
    return f"{words} ({confidence:.0%})"


def notes(turn: Turn, scope: str) -> list[str]:
    """The small lines below an answer, a sentence each."""
    read = len(turn.passages)
    lines = [turn.note] if turn.note else []
    if turn.stopped:
        lines.append("Stopped by you before it was finished.")
    if turn.reason is not None and read:
        lines.append(f"Read for this: {counted(read, 'passage')} of {scope}.")
    if turn.searched_as:
        lines.append(f"Searched as: {turn.searched_as}")
    if turn.backend != "local" and turn.model:
        lines.append(f"Written by {turn.model}; its quotes re-read here.")
    if sure := sureness(turn.confidence if turn.citations else None, turn.reason is not None):
        lines.append(sure)
    return lines


def citation_name(citation: Citation) -> str:
    return shown(place_name(citation))
