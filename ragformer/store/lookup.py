"""The documents that names given by a person mean, and where a document's bytes lie."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from ragformer.errors import InputError, NotFoundError
from ragformer.store.rows import KnownFile, file_hash
from ragformer.store.store import Store
from ragformer.store.within import without_up
from ragformer.types import Document


def the_document(store: Store, name: str, collection: str) -> Document:
    """The document meant: by path, by a path's last parts, or by id prefix (4 digits or more).

    collection: its name, for the error. Raises NotFoundError if there is none, InputError naming
    them if there are several.
    """
    here = os.path.abspath(name)  # noqa: PTH100 (keeps links)
    by_id = re.fullmatch(r"[0-9a-f]{4,64}", name) is not None
    documents = store.documents()
    exact = [d for d in documents if Path(here) in d.paths]
    found = exact or store.documents([name])
    if not found and by_id:
        found = [d for d in documents if d.id.startswith(name)]
    if not found:
        raise NotFoundError(
            f"there is no document {name} in collection {collection}; "
            "`ragformer list` shows what is there"
        )
    if len(found) > 1:
        names = ", ".join(f"{d.path} ({d.id[:12]})" for d in found[:5])
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        raise InputError(f"{name} may mean {len(found)} documents: {names}{more}; name one")
    return found[0]


def documents_within(store: Store, within: Sequence[str | Path], collection: str) -> list[Document]:
    """Those in the files named, each with the path first that is; raises NotFoundError for none.

    within: names, folders or patterns as for `--in`. collection: its name, for the error.
    """
    names = [without_up(os.fspath(name)) for name in within]
    documents = store.documents(names)
    if not documents:
        raise NotFoundError(
            f"no document in collection {collection} matches {', '.join(names)}; "
            "`ragformer list` shows what is there"
        )
    return documents


def unchanged_path(store: Store, document: Document) -> Path | None:
    """Where the document's own bytes still lie: as far as size and time tell, and where the time
    is another, as its hash tells."""
    for path in document.paths:
        try:
            now, known = KnownFile.of(path), store.known_file(path)
            if known is None or now.size != known.size:
                continue
            if now.is_unchanged(known) or file_hash(path) == document.id:
                return path
        except OSError:
            continue
    return None
