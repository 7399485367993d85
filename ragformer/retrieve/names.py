"""Words of the question that name a document, said for each of its passages.

candidates -> their documents -> titles, file names, heads of first pages -> words of the question

"How heavy is the M270TF?" names the manual and asks for something in it. Its title page has the
name, the page with the weight does not; bm25 prefers the title page. So a word that stands in the
name of a passage's document and not in the passage counts for it too, a part of its weight.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from ragformer.retrieve.fuse import Ranking, best
from ragformer.retrieve.memory_words import texts_with
from ragformer.retrieve.words import idf
from ragformer.store.rows import storable, unpack_path
from ragformer.store.store import Store
from ragformer.text.words import question_words

MAX_WORDS = 64
HEAD = 100
"""Characters at the start of a document that are its name: a title, a number, who wrote it."""
CREDIT = 0.5
"""Of the weight that a word has in bm25, where it names the document only.

By hand: of 132 questions to real PDFs the right page is first with 0 / 0.3 / 0.5 / 1 for 0.598 /
0.636 / 0.644 / 0.629, with the file given for 0.636 / 0.667 / 0.659 / 0.652; with heads of 0 / 100
/ 200 / 300 characters for 0.614 / 0.644 / 0.629 / 0.629. Of 600 SQuAD dev questions to 24 typeset
articles for 0.867 / 0.868 / 0.870 / -."""

_NAMES = """
    SELECT chunks.id, documents.id, documents.title, substr(pages.text, 1, ?)
    FROM chunks JOIN documents ON documents.id = chunks.document_id
    LEFT JOIN pages ON pages.document_id = documents.id AND pages.number = 1
    WHERE chunks.id IN (SELECT value FROM json_each(?))"""
_PATHS = "SELECT document_id, path FROM paths WHERE document_id IN (SELECT value FROM json_each(?))"
_COUNT = "SELECT count(*) FROM chunk_words WHERE chunk_words MATCH ?"
_HAVE = """SELECT rowid FROM chunk_words WHERE chunk_words MATCH ?
    AND +rowid IN (SELECT value FROM json_each(?))"""


@dataclass(frozen=True, slots=True)
class Named:
    """document_of: of each candidate chunk. by: each word of the question that names some of these
    documents, stemmed as in search, and which."""

    document_of: dict[int, str] = field(default_factory=dict)
    by: dict[str, set[str]] = field(default_factory=dict)


def named(store: Store, question: str, chunks: Sequence[int]) -> Named:
    """Which words of the question name which documents of these chunks."""
    document_of: dict[int, str] = {}
    name_of: dict[str, str] = {}
    for key, document, title, head in store.query(
        _NAMES, HEAD, json.dumps([int(key) for key in chunks])
    ):
        document_of[int(key)] = document
        name_of[document] = f"{title}\n{head or ''}"
    for document, path in store.query(_PATHS, json.dumps(list(name_of))):
        name_of[document] += f"\n{storable(unpack_path(path).stem)}"
    words = list(dict.fromkeys(question_words(question)))[:MAX_WORDS]
    naming = zip(words, texts_with(words, name_of), strict=True)
    return Named(document_of, {word: documents for word, documents in naming if documents})


def credits(store: Store, found: Named) -> list[tuple[int, float]]:
    """(chunk id, what it gains), best first: CREDIT of the weight of each word that names its
    document and does not stand in it."""
    if not found.by:
        return []
    # The highest id stands for how many there are: counting a million takes longer than the search.
    [(n_chunks,)] = store.query("SELECT max(id) FROM chunks")
    chunks = json.dumps(list(found.document_of))
    gained: dict[int, float] = {}
    for word, documents in found.by.items():
        [(n_with,)] = store.query(_COUNT, f'"{word}"')
        weight = idf(n_with, n_chunks)
        have = {int(key) for (key,) in store.query(_HAVE, f'"{word}"', chunks)}
        for key, document in found.document_of.items():
            if document in documents and key not in have:
                gained[key] = gained.get(key, 0.0) + CREDIT * weight
    return best(gained, len(gained))


def credited(words: Ranking, gained: Ranking) -> list[tuple[int, float]]:
    """The ranking by words with what the chunks gained, best first."""
    score_of = dict(words)
    for key, gain in gained:
        score_of[key] = score_of.get(key, 0.0) + gain
    return best(score_of, len(score_of))
