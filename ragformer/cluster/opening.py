"""A collection by its name, whether it is one store or shards, and all there are."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ragformer.cluster.layout import is_sharded, refuse_shards
from ragformer.cluster.sharded import ShardedIndex, ShardedStore
from ragformer.config import DEFAULT_COLLECTION, Settings
from ragformer.errors import NotFoundError, StoreError
from ragformer.store import listing, saved_vectors
from ragformer.store.files import DATABASE
from ragformer.store.listing import CollectionInfo
from ragformer.store.saved_vectors import AnyIndex
from ragformer.store.store import Store
from ragformer.types import Answer


def is_there(folder: Path) -> bool:
    """Whether there is a collection in `folder`."""
    return (folder / DATABASE).exists() or is_sharded(folder)


def open_collection(settings: Settings) -> Store:
    """The collection on disk. The default one is empty before it is made.

    Raises NotFoundError if another name was asked for and there is none of that name.
    """
    folder = settings.collections / settings.collection
    if is_sharded(folder):
        return _open_shards(folder, settings.ray_address)
    if is_there(folder):
        return Store.open(folder)
    if settings.collection == DEFAULT_COLLECTION:
        return Store.empty(folder)
    names = ", ".join(collection_names(settings.collections)) or "none yet"
    raise NotFoundError(
        f"there is no collection {settings.collection} in {settings.home}; "
        f"there are: {names}. `ragformer index -c {settings.collection} PATH` makes it"
    )


def make_collection(settings: Settings) -> Store:
    """The collection to write to, made when missing; raises InputError where it is in shards."""
    folder = settings.collections / settings.collection
    refuse_shards(folder)
    with contextlib.suppress(OSError):  # Store.open says in full what cannot be made
        settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Store.open(folder, create=True)


def _open_shards(folder: Path, ray_address: str) -> ShardedStore:
    if not ray_address:
        return ShardedStore(folder)
    from ragformer.cluster.actors import Actors

    return ShardedStore(folder, partial(Actors, ray_address))


def open_index(store: Store, encoder_id: str) -> AnyIndex:
    """Every vector of this encoder, searchable; raises EncoderMismatchError unless all are."""
    if isinstance(store, ShardedStore):
        return ShardedIndex(store, encoder_id)
    return saved_vectors.open_index(store, encoder_id)


def collection_names(folder: Path) -> list[str]:
    """Of every collection in `folder`, in order."""
    return sorted(path.name for path in folder.glob("*") if is_there(path))


def list_collections(folder: Path) -> list[CollectionInfo]:
    """Every collection in `folder`, by name."""
    found = listing.list_collections(folder)
    found += [_together(path) for path in folder.glob("*") if is_sharded(path)]
    return sorted(found, key=lambda info: info.name)


def _together(folder: Path) -> CollectionInfo:
    """The counts of all shards, and the first that cannot be opened."""
    try:
        with ShardedStore(folder) as store:
            documents, failed, pages, chunks = (
                store.query(f"SELECT count(*) FROM {table}")[0][0]
                for table in ("documents", "failures", "pages", "chunks")
            )
            fault = next(iter(store.missing), "")
            return CollectionInfo(folder.name, folder, documents, failed, pages, chunks, fault)
    except StoreError as error:
        return CollectionInfo(folder.name, folder, fault=str(error))


def missing(store: Store) -> tuple[str, ...]:
    """The shards that could not be asked, a sentence each; of one store, none."""
    return store.missing if isinstance(store, ShardedStore) else ()


@contextlib.contextmanager
def blaming_missing(store: Store) -> Iterator[None]:
    """What is not found in it may lie in a shard that could not be asked: the error says so."""
    try:
        yield
    except NotFoundError as error:
        if lost := missing(store):
            raise NotFoundError(f"{error}; but {' and '.join(lost)}") from error
        raise


def naming_missing(pieces: Iterator[str | Answer], store: Store) -> Iterator[str | Answer]:
    """The same pieces; the Answer's note names the shards that could not be asked."""
    for piece in pieces:
        if isinstance(piece, Answer) and (lost := missing(store)):
            yield dataclasses.replace(piece, note=" ".join((*lost, piece.note)).strip())
        else:
            yield piece
