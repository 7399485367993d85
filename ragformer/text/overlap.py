"""Which words of a passage stand in the question, and how much that says.

These are the lexical features the decoder reads beside the tokens. A small model trained on
little text gains more from being told what a stemmer knows than from anything else
(Chen et al. 2017, arXiv:1704.00051, section 3.2).
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from functools import lru_cache

import snowballstemmer

from ragformer.text.sentences import sentence_spans
from ragformer.text.tokenizer import Tokenizer
from ragformer.text.words import STOP_WORDS

_WORD = re.compile(r"\w+")
_stemmer = snowballstemmer.stemmer("english")
_stemming = threading.Lock()


@lru_cache(maxsize=200_000)
def stem(word: str) -> str:
    """The Porter2 stem of a lower-cased word."""
    # The stemmer keeps the word it works on in itself: two threads would stem each other's.
    with _stemming:
        return str(_stemmer.stemWord(word))


class Rarity:
    """How rare a word is, in nats: its surprisal under the tokenizer's unigram model."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._known: dict[str, float] = {}

    def __call__(self, word: str) -> float:
        value = self._known.get(word)
        if value is None:
            ids = self._tokenizer.encode(" " + word[:40])
            value = sum(map(self._tokenizer.surprisal_of, ids)) or 12.0
            self._known[word] = value
        return value


def question_stems(question: str, rarity: Rarity) -> dict[str, float]:
    """Stem to rarity of the question's words, stop words aside unless nothing else is left."""
    found = _WORD.findall(question.lower())
    kept = [word for word in found if word not in STOP_WORDS] or found
    return {stem(word): rarity(word) for word in kept}


@dataclass(frozen=True, slots=True)
class Overlap:
    """A passage against a question.

    matches: start, end and rarity of every word whose stem stands in the question.
    sentences: start, end and score of every sentence: the summed rarity of the distinct stems of
    the question it holds.
    found: the stems of the question that stand anywhere in the passage.
    """

    found: frozenset[str]
    matches: tuple[tuple[int, int, float], ...]
    sentences: tuple[tuple[int, int, float], ...]


def overlap(stems: dict[str, float], text: str) -> Overlap:
    """Compare `text` with the stems of a question."""
    matches = []
    found: list[tuple[int, str]] = []
    for match in _WORD.finditer(text):
        root = stem(match.group().lower())
        if root in stems:
            matches.append((match.start(), match.end(), stems[root]))
            found.append((match.start(), root))
    sentences = []
    for start, end in sentence_spans(text):
        here = {root for place, root in found if start <= place < end}
        sentences.append((start, end, sum(stems[root] for root in here)))
    return Overlap(frozenset(root for _, root in found), tuple(matches), tuple(sentences))


def words_found(question: str, stems: frozenset[str]) -> list[tuple[int, int]]:
    """Start and end of the words of `question` whose stem is among `stems`."""
    return [
        match.span() for match in _WORD.finditer(question) if stem(match.group().lower()) in stems
    ]
