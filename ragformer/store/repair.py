"""What `ragformer doctor --repair` can make good inside the store, from what the store holds."""

from __future__ import annotations

from ragformer.store.check import unreadable
from ragformer.store.keep_vectors import find_file_faults, refresh
from ragformer.store.store import Store
from ragformer.store.vector_file import VECTOR_FILE, drop_file


def repair_rows(store: Store) -> list[str]:
    """Make the word tables anew and remove the documents that are not whole; says what was done.

    The words first: removing a document takes its own out of them.
    """
    repair_words(store)
    done = ["made the word tables anew"]
    for key in broken_documents(store):
        document = store.find(key)
        store.remove_document(key)
        names = ", ".join(map(str, document.paths)) if document else key[:12]
        done.append(f"removed {names or key[:12]}: it was not whole; index it again")
    return done


def repair_words(store: Store) -> None:
    """Make both word tables anew from the chunks' text."""
    for table in ("chunk_words", "chunk_grams"):
        store.query(f"INSERT INTO {table} ({table}) VALUES ('rebuild')")


def repair_vectors(store: Store, encoder_id: str) -> list[str]:
    """Make the file of vectors anew where it is not sound, or due; says so where it was not."""
    faulty = any(find_file_faults(store))
    if faulty:
        drop_file(store.folder)
    refresh(store, encoder_id)
    return [f"made {VECTOR_FILE} anew"] if faulty else []


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
