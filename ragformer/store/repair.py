"""What `ragformer doctor --repair` can make good inside the store, from what the store holds."""

from __future__ import annotations

from ragformer.store.check import unreadable
from ragformer.store.store import Store


def repair_words(store: Store) -> None:
    """Make both word tables anew from the chunks' text."""
    for table in ("chunk_words", "chunk_grams"):
        store.query(f"INSERT INTO {table} ({table}) VALUES ('rebuild')")


def broken_documents(store: Store) -> list[str]:
    """Ids of the documents that are not whole: pages lost, nowhere seen, text that differs."""
    lost = store.query(
        "SELECT id FROM documents WHERE n_pages <> (SELECT count(*) FROM pages"
        " WHERE document_id = documents.id)"
        " OR NOT EXISTS (SELECT 1 FROM paths WHERE document_id = documents.id)"
    )
    broken = {row[0] for row in lost}
    for (key,) in store.query("SELECT id FROM documents ORDER BY id"):
        if any(unreadable(store, key)):
            broken.add(key)
    return sorted(broken)
