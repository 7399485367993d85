"""What is said where there is no answer: why, and what could not be searched well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ragformer.store.store import Store
from ragformer.types import AbstainReason, Document

NAMED = 3
"""Files that a sentence names before it only counts."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a question is declined, of which documents it was asked, and how many files there are
    that could not be read."""

    question: str
    reason: AbstainReason
    scope: Sequence[Document]
    n_failed: int = 0

    @property
    def text(self) -> str:
        if self.reason == "empty_collection":
            return _no_documents(self.n_failed)
        first = "That is not in your documents, as far as I can tell."
        if self.reason == "unread_pages":
            first = "Nothing was found in what could be read."
        return " ".join(filter(None, (first, _unread(self.scope), _foreign(self.scope))))


def nothing_found(question: str, store: Store, scope: Sequence[Document]) -> Refusal:
    """The refusal where no passage was found in `scope`."""
    reason: AbstainReason = "no_passage" if len(store.chunk_ids()) else "empty_collection"
    if any(document.unread_pages for document in scope):
        reason = "unread_pages"
    return Refusal(question, reason, scope, len(store.failures()))


def _no_documents(n_failed: int) -> str:
    if not n_failed:
        return "There are no documents to search. Add some with: ragformer index FOLDER"
    files = "the file" if n_failed == 1 else f"the {n_failed} files"
    return (
        f"There are no documents to search: {files} indexed could not be read."
        " See why with: ragformer list"
    )


def _unread(scope: Sequence[Document]) -> str:
    """Name what could not be read."""
    parts = []
    for document in scope:
        n, name = len(document.unread_pages), document.path.name
        if n and document.n_pages > 1:
            has = "has" if n == 1 else "have"
            parts.append(f"{n} of {document.n_pages} pages of {name} {has} no text")
        elif n:
            parts.append(f"the page of {name} has no text")
    if more := len(parts[NAMED:]):
        parts[NAMED:] = [f"and {more} more file{'s' if more > 1 else ''} like that"]
    return f"Not searched: {'; '.join(parts)}." if parts else ""


def _foreign(scope: Sequence[Document]) -> str:
    """Name what is not in English, the language the encoder and the decoder were trained on."""
    names = [f"{d.path.name} ({d.language})" for d in scope if d.language not in ("", "en")]
    if more := len(names[NAMED:]):
        names[NAMED:] = [f"{more} more"]
    return f"Not in English, so search by meaning is weak: {', '.join(names)}." if names else ""
