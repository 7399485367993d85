"""The collections that lie in a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ragformer.errors import StoreError
from ragformer.store.files import DATABASE
from ragformer.store.store import Store


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """A collection by its counts; `fault` says why they are missing when it cannot be opened."""

    name: str
    folder: Path
    documents: int = 0
    failed: int = 0
    pages: int = 0
    chunks: int = 0
    fault: str = ""


def list_collections(folder: Path) -> list[CollectionInfo]:
    """Every collection in `folder`, by name."""
    return [_describe(file.parent) for file in sorted(folder.glob(f"*/{DATABASE}"))]


def _describe(folder: Path) -> CollectionInfo:
    count = "SELECT (SELECT count(*) FROM documents), (SELECT count(*) FROM failures)"
    count += ", (SELECT count(*) FROM pages), (SELECT count(*) FROM chunks)"
    try:
        with Store.open(folder) as store:
            return CollectionInfo(folder.name, folder, *store.query(count)[0])
    except StoreError as error:
        return CollectionInfo(folder.name, folder, fault=str(error))
