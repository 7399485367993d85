"""A word index of a few texts, made for one question: words are stemmed as search stems them."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import TypeVar

Key = TypeVar("Key")


def texts_with(phrases: Sequence[str], text_of: Mapping[Key, str]) -> list[set[Key]]:
    """For each phrase the keys of the texts that have it; a phrase has no double quotes."""
    keys = list(text_of)
    with closing(sqlite3.connect(":memory:")) as memory:
        memory.execute(
            "CREATE VIRTUAL TABLE found USING fts5 (text, content='', tokenize='porter unicode61')"
        )
        memory.execute("BEGIN")
        memory.executemany(
            "INSERT INTO found (rowid, text) VALUES (?, ?)", enumerate(text_of.values())
        )
        match = "SELECT rowid FROM found WHERE found MATCH ?"
        return [
            {keys[row[0]] for row in memory.execute(match, (f'"{phrase}"',))} for phrase in phrases
        ]
