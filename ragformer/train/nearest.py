"""Which texts look most like the answer to a question and are not: hard distractors."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from ragformer.text.words import question_words

MAX_WORDS = 32


class Nearest:
    """Texts ranked by bm25 against a question, as the product's search by words does it."""

    def __init__(self, texts: Sequence[str]) -> None:
        # Made in one thread, asked in the one that prepares batches.
        self._rows = sqlite3.connect(":memory:", check_same_thread=False)
        self._rows.execute(
            "CREATE VIRTUAL TABLE texts USING fts5(text, tokenize='porter unicode61')"
        )
        self._rows.executemany("INSERT INTO texts VALUES (?)", ((text,) for text in texts))

    def __call__(self, question: str, n: int) -> list[int]:
        """Places in the texts of the n best, best first; fewer where no word is shared."""
        words = list(dict.fromkeys(question_words(question)))[:MAX_WORDS]
        if not words:
            return []
        found = self._rows.execute(
            "SELECT rowid FROM texts WHERE texts MATCH ? ORDER BY bm25(texts), rowid LIMIT ?",
            (" OR ".join(f'"{word}"' for word in words), n),
        )
        return [key - 1 for (key,) in found]
