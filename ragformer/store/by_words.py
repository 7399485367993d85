"""The statement that ranks chunks by their words: FTS5's bm25, the same in every store."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass

CONTEXT_WEIGHT = 1.0  # of a match in the title or a heading, against
TEXT_WEIGHT = 1.0  # a match in the chunk's own text


@dataclass(frozen=True, slots=True)
class Within:
    """The chunks to search in: a query for their ids, and the value of its one parameter."""

    ids: str
    value: str

    @classmethod
    def chunks(cls, ids: Collection[int]) -> Within:
        return cls("SELECT value FROM json_each(?)", json.dumps(list(ids)))

    @classmethod
    def documents(cls, ids: Collection[str]) -> Within:
        listed = "SELECT id FROM chunks WHERE document_id IN (SELECT value FROM json_each(?))"
        return cls(listed, json.dumps(list(ids)))


def ranked_by_words(table: str, within: Within | None) -> str:
    """Rows (chunk id, score) of one FTS5 table, best first, higher is better; ties: lower id first.

    Its parameters: what MATCH takes, the value of `within` where there is one, and how many.
    """
    # The + keeps SQLite from running the whole match once for each allowed row.
    limit = "" if within is None else f"AND +{table}.rowid IN ({within.ids})"
    return (
        f"SELECT rowid, -bm25({table}, {CONTEXT_WEIGHT}, {TEXT_WEIGHT}) AS score FROM {table}"
        f" WHERE {table} MATCH ? {limit} ORDER BY score DESC, rowid LIMIT ?"
    )
