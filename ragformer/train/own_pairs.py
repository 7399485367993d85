"""Questions mined from a collection's own chunks, and the chunks that are easily taken for theirs.

    chunks -> (to learn from, held out) -> questions, each with the text that answers it

A sentence, thinned, asks for its chunk; a heading asks for the chunks below it.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ragformer.retrieve.embed import Encoder, passage_text
from ragformer.retrieve.words import search_words
from ragformer.store.store import Store
from ragformer.store.vectors import VectorIndex
from ragformer.train.pairs import mine_heading, mine_sentence
from ragformer.types import Passage

HELD_OUT = 0.2
"""Share of the chunks that nothing is learned from."""
CANDIDATES = 12
"""Chunks looked at each, by vectors and by words, for those easily taken for the right one."""
ROUNDS = 3
"""How often a held-out chunk may be asked for."""
TWIN = 0.95
"""Cosine from which on a chunk counts as a copy of the right one, not as a wrong one."""


@dataclass(frozen=True, slots=True)
class Question:
    """A mined question. passage: what answers it, as it would be embedded, without the question's
    own words where those were taken out. gold: ids of the chunks that count as right."""

    text: str
    passage: str
    gold: frozenset[int]


def split_passages(
    passages: Sequence[Passage], seed: int, share: float = HELD_OUT
) -> tuple[list[Passage], list[Passage]]:
    """(to learn from, held out), both in order: whole documents are held out where that comes near
    `share` of the chunks, else the end of every document."""
    sizes = Counter(passage.document.id for passage in passages)
    wanted, held, n_held = share * len(passages), set(), 0
    for key in random.Random(seed).sample(sorted(sizes), len(sizes)):
        if n_held < wanted and n_held + sizes[key] <= 1.5 * wanted:
            held.add(key)
            n_held += sizes[key]
    seen: Counter[str] = Counter()
    parts: tuple[list[Passage], list[Passage]] = ([], [])
    for passage in passages:
        key = passage.document.id
        seen[key] += 1
        late = seen[key] > (1 - share) * sizes[key]
        parts[key in held if n_held >= wanted / 2 else late].append(passage)
    return parts


class Miner:
    """Makes questions of a collection's chunks. Each call draws others from `rng`."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        below: defaultdict[tuple[str, tuple[str, ...]], set[int]] = defaultdict(set)
        documents: defaultdict[str, set[str]] = defaultdict(set)
        for passage in passages:
            below[_place(passage)].add(passage.chunk_id)
            for heading in passage.heading_path[-1:]:
                documents[heading].add(passage.document.id)
        self._below = {place: frozenset(ids) for place, ids in below.items()}
        self._shared = {heading for heading, ids in documents.items() if len(ids) > 1}

    def of_sentence(self, passage: Passage, rng: random.Random) -> Iterator[Question]:
        """At most one: a sentence of the chunk, thinned; some chunks have none."""
        title, headings = passage.document.title, passage.heading_path
        line = " ".join(passage.text.split())
        for query, kept in mine_sentence(title, "", line, rng):
            text = passage_text(title, headings, kept.removeprefix(f"{title}. "))
            yield Question(query, text, frozenset([passage.chunk_id]))

    def of_heading(self, passage: Passage, rng: random.Random) -> Iterator[Question]:
        """At most one: the heading the chunk stands below, which the text then goes without.

        A heading that several documents have, and no question, needs the title beside it.
        """
        title, headings = passage.document.title, passage.heading_path
        if not headings or headings[-1] == title:
            return
        body = passage.text.removeprefix(headings[-1]).strip()
        for query, section in mine_heading(title, headings[-1], body, rng):
            alone = headings[-1].endswith("?") or headings[-1] not in self._shared
            text = passage_text(title, headings[:-1], section)
            yield Question(headings[-1] if alone else query, text, self._below[_place(passage)])

    def any_of(self, passage: Passage, rng: random.Random) -> Question | None:
        """One of either kind, a sentence three times in four; None if the chunk has neither."""
        ways = [self.of_sentence, self.of_heading]
        if rng.random() < 0.25:
            ways.reverse()
        return next((question for way in ways for question in way(passage, rng)), None)


def _place(passage: Passage) -> tuple[str, tuple[str, ...]]:
    return passage.document.id, passage.heading_path


def held_out_questions(
    miner: Miner, held: Sequence[Passage], most: int, seed: int
) -> list[Question]:
    """Up to `most` questions to chunks that nothing is learned from, no text twice.

    Of a small collection each chunk is asked for several times, by other sentences.
    """
    rng = random.Random(seed + 1)
    found: dict[str, Question] = {}
    for passage in [p for _ in range(ROUNDS) for p in rng.sample(held, len(held))]:
        for question in (*miner.of_sentence(passage, rng), *miner.of_heading(passage, rng)):
            found.setdefault(question.text, question)
        if len(found) >= most:
            break
    return list(found.values())[:most]


def hard_negatives(
    store: Store, encoder: Encoder, miner: Miner, learned: Sequence[Passage], seed: int
) -> dict[int, list[int]]:
    """For each chunk, ids of chunks to learn from that its question finds too, hardest first.

    Those of the same document come first. What reads nearly the same as the chunk is left out.
    """
    rng = random.Random(seed + 2)
    asked = [(p, q) for p in learned if (q := miner.any_of(p, rng)) is not None]
    ids_N, vectors_ND = store.vectors(encoder.id)
    index = VectorIndex.build(ids_N, vectors_ND)
    row_of = {int(key): row for row, key in enumerate(ids_N)}
    document_of = {passage.chunk_id: passage.document.id for passage in learned}
    queries_QD = encoder.encode_queries([question.text for _, question in asked])
    negatives = {}
    for (passage, question), vector_D in zip(asked, queries_QD, strict=True):
        hits = index.search(vector_D, CANDIDATES) + search_words(store, question.text, CANDIDATES)
        found = dict.fromkeys(key for key, _ in hits)
        own_D = vectors_ND[row_of[passage.chunk_id]]
        wrong = [
            key
            for key in found
            if key in document_of
            and key not in question.gold
            and float(np.dot(vectors_ND[row_of[key]], own_D)) < TWIN
        ]
        negatives[passage.chunk_id] = sorted(
            wrong, key=lambda key: document_of[key] != document_of[passage.chunk_id]
        )
    return negatives
