"""A question and its passages to a cited answer, or to an honest refusal.

read -> how sure -> short answer -> the sentence it stands in, quoted and marked -> where that is.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ragformer.answer.cite import cite, quote_range, unread_sentence
from ragformer.answer.confidence import Confidence, features, question_coverage
from ragformer.answer.reader import OpenPrompt, Read, Reader
from ragformer.errors import WeightsError
from ragformer.nn.constrain import Range
from ragformer.store.rows import context_line
from ragformer.store.store import Store
from ragformer.text.overlap import question_stems
from ragformer.text.tokenizer import MAX_MARKS
from ragformer.types import AbstainReason, Answer, Citation, Document, Passage

BACKEND = "local"
_EDGES = " \n\t,;:"
"""Left out at both ends of a short answer, where a token holds more than the answer."""


Unread = Sequence[tuple[Document, tuple[int, ...]]]
"""Documents that were asked of, each with its pages that have no text."""


def answer_question(
    question: str,
    passages: Sequence[Passage],
    store: Store,
    reader: Reader,
    threshold: float | None = None,
    unread: Unread = (),
) -> Iterator[str | Answer]:
    """Yield the answer's text as it is written and, last, exactly one Answer.

    passages: best first; the first 32 can be marked. threshold: the confidence below which to
    decline; the one stored beside the weights when absent. unread: what a refusal must mention.
    """
    started = time.perf_counter()
    passages = tuple(passages[:MAX_MARKS])
    if not passages:
        reason = _nothing_found(store, unread)
        yield from _refuse(Refusal(question, reason, unread), passages, reader, 0.0)
        return
    prompt = reader.open(question, [_read_as(passage) for passage in passages])
    read = reader.find(prompt)
    confidence = _confidence(reader)
    sure = confidence(_features(question, read, prompt, reader)) if read.candidates else 0.0
    limit = confidence.threshold if threshold is None else threshold
    if not read.candidates or sure < limit:
        yield from _refuse(Refusal(question, "low_confidence", unread), passages, reader, sure)
        return
    text, citation = "", None
    for part in _write(store, passages, reader, prompt, read):
        if isinstance(part, Citation):
            citation = part
        else:
            text += part
            yield part
    usage = {
        "prompt_tokens": float(read.n_tokens),
        "passages_read": float(read.n_passages),
        "seconds": round(time.perf_counter() - started, 3),
    }
    citations = (citation,) if citation is not None else ()
    yield Answer(question, text, citations, passages, sure, False, None, BACKEND, reader.id, usage)


def _read_as(passage: Passage) -> tuple[str, str]:
    """A passage as the decoder reads it: its context line and its text."""
    return context_line(passage.document.title, passage.heading_path), passage.text


def _write(
    store: Store,
    passages: Sequence[Passage],
    reader: Reader,
    prompt: OpenPrompt,
    read: Read,
) -> Iterator[str | Citation]:
    """The short answer, its sentence quoted under the mask, and where; last the citation."""
    best = read.candidates[0]
    passage = passages[best.passage]
    start, end = quote_range(passage, best.start, best.end)
    short = short_form(passage.text[best.start : best.end])
    if short != short_form(passage.text[start:end]):  # a quote that says no more stands alone
        yield f"{short}\n\n"
    yield "“"
    written, mark = "", 0
    for piece in reader.write_quote(prompt, passage.text, Range(best.passage, start, end)):
        if isinstance(piece, int):
            mark = piece
        else:
            written += piece
            yield piece.replace("\n", " ")
    citation = cite(store, passages[mark - 1], mark, start, start + len(written))
    yield f"” [{mark}]\n{citation.path.name}, page {_page_name(citation)}"
    yield citation


def short_form(chosen: str) -> str:
    """The chosen characters on one line, without separators at the ends or a sentence's stop."""
    short = " ".join((chosen.strip(_EDGES) or chosen).split())
    return short[:-1] if short.endswith(".") and short.count(".") == 1 < len(short) else short


def _page_name(citation: Citation) -> str:
    """The physical page, with the printed label where it differs."""
    if citation.page_label in ("", str(citation.page)):
        return str(citation.page)
    return f"{citation.page} (printed {citation.page_label})"


def _features(question: str, read: Read, prompt: OpenPrompt, reader: Reader) -> tuple[float, ...]:
    best = read.candidates[0]
    source = next(s for s in prompt.sources if s.index == best.passage)
    coverage = question_coverage(question_stems(question, reader.rarity), source.overlap)
    return features(read.margin, best.log_likelihood, coverage)


def _confidence(reader: Reader) -> Confidence:
    if reader.confidence is None:
        raise WeightsError(
            "this decoder has no confidence.json beside its weights, so it cannot tell an answer"
            " from a guess; fit one with: ragformer train confidence"
        )
    return reader.confidence


def _nothing_found(store: Store, unread: Unread) -> AbstainReason:
    if not len(store.chunk_ids()):
        return "unread_pages" if unread else "empty_collection"
    return "unread_pages" if unread else "no_passage"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a question is declined, and which pages could not be searched."""

    question: str
    reason: AbstainReason
    unread: Unread

    @property
    def text(self) -> str:
        if self.reason == "empty_collection":
            return "There are no documents to search. Add some with: ragformer index FOLDER"
        first = "That is not in your documents, as far as I can tell."
        if self.reason == "unread_pages":
            first = "Nothing was found in what could be read."
        not_searched = unread_sentence(
            [(document.path.name, pages, document.n_pages) for document, pages in self.unread]
        )
        return f"{first} {not_searched}".strip()


def _refuse(
    refusal: Refusal, passages: tuple[Passage, ...], reader: Reader, confidence: float
) -> Iterator[str | Answer]:
    yield refusal.text
    yield Answer(
        refusal.question,
        refusal.text,
        (),
        passages,
        confidence,
        True,
        refusal.reason,
        BACKEND,
        reader.id,
        {},
    )
