"""A document in a few of its own sentences, each with its page.

    chunks -> sections -> as many parts as sentences are wanted -> the central sentence of each

A sentence is central where its vector is nearest to the mean of its part's (Radev et al. 2004,
"Centroid-based summarization of multiple documents"), less what is already said (maximal marginal
relevance, Carbonell & Goldstein 1998). It is copied, never written, and re-read from its page.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np

from ragformer.answer.cite import LONGEST_QUOTE, checked_citation, part_spans
from ragformer.errors import InputError
from ragformer.retrieve.embed import Encoder, Vectors
from ragformer.store.store import Store
from ragformer.text.sentences import sentence_spans
from ragformer.types import Answer, Citation, Document, Passage

FEWEST, MOST = 5, 12
"""Sentences, unless told: one a section, within these bounds."""
MOST_COMPARED = 200
"""Sentences of a part; of a longer one so many, evenly spread, are compared."""
NEWS = 0.3
"""Weight of saying something new, against that of being central."""
LEANING = 0.2
"""Taken from the score of a sentence that leans on the one before it."""

_LEANS = re.compile(
    r"(?:It|Its|They|Their|He|His|She|Her|This|That|These|Those|Such|However|But|And|Also|So|Then"
    r"|Thus|Therefore|Hence|Moreover|Instead|Otherwise)\b"
)
_SENTENCE = re.compile(r"[\"'“‘(\[]*[A-Z0-9][^|]*[.!?。！？][\"'”’)\]]*\Z", re.DOTALL)
_APART = re.compile(
    r"(?:\d[\d.]*\s*)?(?:references|bibliography|index|(?:table of )?contents|acknowledge?ments?)",
    re.IGNORECASE,
)
"""Headings below which nothing is said of the document's subject."""


@dataclass(frozen=True, slots=True)
class Said:
    """A sentence of the document, the headings above it, and where it stands."""

    heading_path: tuple[str, ...]
    citation: Citation


@dataclass(frozen=True, slots=True)
class Summary:
    """Sentences in the document's order; `document.unread_pages` had no part in it.

    written: what a remote model made of the passages they are from, if one was asked.
    """

    document: Document
    sentences: tuple[Said, ...]
    written: Answer | None = None


@dataclass(frozen=True, slots=True)
class _Sentence:
    """Characters start..end of a passage, within one of its spans."""

    passage: Passage
    start: int
    end: int

    @property
    def text(self) -> str:
        return self.passage.text[self.start : self.end]


def summarize(document: Document, store: Store, encoder: Encoder, n: int | None = None) -> Summary:
    """The n central sentences of a stored document, fewer where it has no more.

    n: by default one a section, from FEWEST to MOST. Raises InputError where there is nothing to
    quote, StoreError if a sentence is not, or no longer, what its page says.
    """
    passages = store.passages([(int(key), 0.0) for key in store.chunk_ids([document.id])])
    sections = _sections(passages)
    if not sections:
        raise InputError(
            f"{document.path.name} has no sentence to quote: {len(document.unread_pages)} of its "
            f"{document.n_pages} pages have no text"
        )
    parts = _parts(sections, n or min(MOST, max(FEWEST, len(sections))))
    chosen = _central(parts, encoder)
    cited = (_cited(store, mark, sentence) for mark, sentence in enumerate(chosen, start=1))
    return Summary(document, tuple(cited))


def _sections(passages: Sequence[Passage]) -> list[list[_Sentence]]:
    """The sentences of every section that has some, in order: of whole sentences if there are any,
    else of whatever stands there, such as a form's lines."""
    by_heading = [
        (path, [s for passage in group for s in _sentences(passage)])
        for path, group in groupby(passages, key=lambda passage: passage.heading_path)
    ]
    told = [found for path, found in by_heading if not any(map(_APART.fullmatch, path))]
    whole = [[s for s in found if _is_whole(s.text)] for found in told]
    return [found for found in whole if found] or [found for _, found in by_heading if found]


def _sentences(passage: Passage) -> list[_Sentence]:
    """Those within one span: a quote never crosses a page, nor anything left out."""
    spans = part_spans(passage)
    return [
        _Sentence(passage, start, end)
        for start, end in sentence_spans(passage.text)
        if any(low <= start and end <= high for low, high, _ in spans)
        and len(passage.text[start:end].encode()) <= LONGEST_QUOTE
    ]


def _is_whole(text: str) -> bool:
    """Whether it reads as a sentence, not as a heading, a row of a table or a bare number."""
    words = text.split()
    letters = sum(character.isalpha() or character.isspace() for character in text)
    long = len(words) >= 6 or len(text) >= 40
    return bool(_SENTENCE.match(text)) and long and letters > 0.75 * len(text)


def _parts(sections: Sequence[list[_Sentence]], n: int) -> list[list[_Sentence]]:
    """At most n runs of sentences that are the whole document, in order: small neighbouring
    sections joined, or long sections divided."""
    parts = list(sections)
    while len(parts) > n:
        sizes = [len(a) + len(b) for a, b in pairwise(parts)]
        at = int(np.argmin(sizes))
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    while len(parts) < n:
        at = int(np.argmax([len(part) for part in parts]))
        middle = len(parts[at]) // 2
        if not middle:
            break
        parts[at : at + 1] = [parts[at][:middle], parts[at][middle:]]
    return parts


def _central(parts: Sequence[list[_Sentence]], encoder: Encoder) -> list[_Sentence]:
    """One sentence of each part: near to its mean, understood alone, and unlike those chosen
    before. Ties: the first."""
    chosen: list[_Sentence] = []
    said_ND: list[Vectors] = []
    for part in parts:
        step = max(1, -(-len(part) // MOST_COMPARED))
        compared = part[::step]
        vectors_ND = encoder.encode([" ".join(sentence.text.split()) for sentence in compared])
        score_N = (1 - NEWS) * (vectors_ND @ _unit(vectors_ND.mean(axis=0)))
        score_N -= LEANING * np.array([bool(_LEANS.match(one.text)) for one in compared])
        if said_ND:
            score_N = score_N - NEWS * (vectors_ND @ np.stack(said_ND).T).max(axis=1)
        best = int(np.argmax(score_N))
        chosen.append(compared[best])
        said_ND.append(vectors_ND[best])
    return chosen


def _unit(vector_D: Vectors) -> Vectors:
    unit_D: Vectors = vector_D / max(float(np.linalg.norm(vector_D)), 1e-12)
    return unit_D


def _cited(store: Store, mark: int, sentence: _Sentence) -> Said:
    citation = checked_citation(store, sentence.passage, mark, sentence.start, sentence.end)
    return Said(sentence.passage.heading_path, citation)
