"""A question as it is searched and read: without its limits, with what a follow-up carries.

question -> limits (limits.py) -> carried terms (followup.py) -> Asked
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ragformer.retrieve.followup import carry, cited_chunks, is_follow_up
from ragformer.retrieve.limits import find_limits, limited_chunks
from ragformer.store.store import Store
from ragformer.text.words import STOP_WORDS, words
from ragformer.types import Answer, Document


@dataclass(frozen=True, slots=True)
class Asked:
    """text: what to search and read. chunks: ids to search in, None for all. preferred: ids of
    chunks to rank a little higher. note: what could not be done as asked, a sentence or "".
    follows: whether it leans on the turn before. within: what to say of a limit where there is no
    answer, a sentence or ""."""

    text: str
    chunks: tuple[int, ...] | None = None
    preferred: tuple[int, ...] = ()
    note: str = ""
    follows: bool = False
    within: str = ""


def understand(
    question: str, store: Store, documents: Sequence[Document], last: Answer | None = None
) -> Asked:
    """Take the limits out of a question and add what it leaves to the turn before, if there is one.

    Limits that no chunk of the documents lies in are dropped, and `note` says so.
    """
    rest, limits = find_limits(question, store, documents)
    chunks = limited_chunks(store, limits) if limits else []
    note = within = ""
    said = " ".join(limits.said) if limits else ""
    if chunks:
        within = f"Only “{said}” was searched; leave that out to search everything."
    elif said and documents:
        note = f"There is nothing to search “{said}”, so that limit was left out."
    only = tuple(chunks) or None
    if last is not None and is_follow_up(rest):
        text, preferred = carry(rest, last) or question, tuple(cited_chunks(last))
        return Asked(text, only, preferred, note, True, within)
    says_something = any(word not in STOP_WORDS for word in words(rest))
    return Asked(rest if says_something else question, only, (), note, within=within)


def as_asked(pieces: Iterator[str | Answer], question: str, asked: Asked) -> Iterator[str | Answer]:
    """The same pieces; the Answer is to the question as it was put, and says what was searched."""
    searched_as = "" if asked.text == question else asked.text
    for piece in pieces:
        if isinstance(piece, Answer):
            within = asked.within if piece.abstained else ""
            note = " ".join(filter(None, (asked.note, within, piece.note)))
            yield replace(piece, question=question, searched_as=searched_as, note=note)
        else:
            yield piece
