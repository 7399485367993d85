"""A question and its passages to a cited answer, or to an honest refusal.

read -> how sure -> short answer -> the sentence it stands in, quoted and marked -> where that is.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ragformer.answer.cite import checked_citation, joins, place_name, quote_range
from ragformer.answer.confidence import Confidence
from ragformer.answer.evidence import evidence
from ragformer.answer.freely import write_freely
from ragformer.answer.reader import OpenPrompt, Read, Reader
from ragformer.answer.refusal import Refusal, nothing_found
from ragformer.answer.rerank import prior_of, read_as, search_score
from ragformer.errors import WeightsError
from ragformer.nn.constrain import Range
from ragformer.store.store import Store
from ragformer.text.tokenizer import MAX_MARKS
from ragformer.text.words import says_something
from ragformer.types import Answer, Citation, Document, Passage

BACKEND = "local"
_YES_OR_NO = re.compile(
    r"(is|are|was|were|do|does|did|has|have|had|can|could|may|must|should|will|would)\b"
    r"(?!.*\bor\b)",
    re.IGNORECASE,
)
"""A question to which a few words cut out of a sentence are no answer, but the sentence is."""
_EDGES = " \n\t,;:"
"""Left out at both ends of a short answer, where a token holds more than the answer."""


def answer_question(
    question: str,
    passages: Sequence[Passage],
    store: Store,
    reader: Reader,
    threshold: float | None = None,
    scope: Sequence[Document] = (),
) -> Iterator[str | Answer]:
    """Yield the answer's text as it is written and, last, exactly one Answer.

    passages: best first; the first 32 can be marked. threshold: the confidence below which to
    decline; the one stored beside the weights when absent. scope: the documents asked, of which a
    refusal says what could not be searched. Raises StoreError if the best passage is not, or no
    longer, what its page says.
    """
    started = time.perf_counter()
    passages = tuple(passages[:MAX_MARKS])
    if not passages:
        yield from _refuse(nothing_found(question, store, scope), passages, reader, 0.0)
        return
    texts = list(map(read_as, passages))
    prompt = reader.open(question, texts, list(map(joins, passages)))
    prior = prior_of(map(search_score, passages))
    read = reader.find(prompt, prior)
    confidence = _confidence(reader)
    sure = 0.0
    if read.candidates and says_something(question):
        sure = confidence(evidence(question, read, texts, reader))
    limit = confidence.threshold if threshold is None else threshold
    if not read.candidates or sure < limit:
        yield from _refuse(Refusal(question, "low_confidence", scope), passages, reader, sure)
        return
    found = _found(question, store, passages, read)
    if reader.free and found.short and (written := write_freely(reader, prompt, prior)):
        found = replace(found, short=short_form(written))
    parts = []
    for part in _write(found, reader, prompt):
        parts.append(part)
        yield part
    text, citations, usage = "".join(parts), (found.citation,), _usage(read, started)
    yield Answer(question, text, citations, passages, sure, False, None, BACKEND, reader.id, usage)


def _usage(read: Read, started: float) -> dict[str, float]:
    return {
        "prompt_tokens": float(read.n_tokens),
        "passages_read": float(read.n_passages),
        "seconds": round(time.perf_counter() - started, 3),
    }


@dataclass(frozen=True, slots=True)
class _Found:
    """The short answer if the quote does not stand alone, the characters of its passage to quote,
    and where they stand."""

    short: str
    text: str
    quote: Range
    citation: Citation


def _found(question: str, store: Store, passages: Sequence[Passage], read: Read) -> _Found:
    """The best answer and its citation, re-read before anything is shown."""
    best = read.candidates[0]
    passage = passages[best.passage]
    start, end = quote_range(passage, best.start, best.end)
    citation = checked_citation(store, passage, best.passage + 1, start, end)
    # A word longer than a quote may be is cut with it.
    short = short_form(passage.text[best.start : min(best.end, end)])
    if _YES_OR_NO.match(question) or short == short_form(citation.quote):
        short = ""
    return _Found(short, passage.text, Range(best.passage, start, end), citation)


def _write(found: _Found, reader: Reader, prompt: OpenPrompt) -> Iterator[str]:
    """The short answer, its sentence quoted under the mask, and where."""
    citation = found.citation
    if found.short:
        yield f"{found.short}\n\n"
    yield "“"
    for piece in reader.write_quote(prompt, found.text, found.quote):
        yield f"” [{piece}]\n" if isinstance(piece, int) else piece.replace("\n", " ")
    yield place_name(citation)


def short_form(chosen: str) -> str:
    """The chosen characters on one line, without separators at the ends or a sentence's stop."""
    short = " ".join((chosen.strip(_EDGES) or chosen).split())
    return short[:-1] if short.endswith(".") and short.count(".") == 1 < len(short) else short


def _confidence(reader: Reader) -> Confidence:
    if reader.confidence is None:
        raise WeightsError(
            "this decoder has no confidence.json beside its weights, so it cannot tell an answer"
            " from a guess; fit one with: ragformer train confidence"
        )
    return reader.confidence


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
