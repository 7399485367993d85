"""A small collection of every format there was, as it wrote it: `store/formats/<number>.db.xz`.

    python tests/kept_formats.py     keep today's format; run once when a migration is added

What is in them is made by `fill`, through the Store of the day.
"""

from __future__ import annotations

import lzma
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from made_documents import make

from ragformer.store.files import DATABASE
from ragformer.store.migrations import MIGRATIONS
from ragformer.store.rows import KnownFile
from ragformer.store.store import Store

FORMATS = Path(__file__).parent / "store" / "formats"


def kept() -> dict[int, Path]:
    """The kept collections by the number of their format."""
    return {int(file.name.removesuffix(".db.xz")): file for file in FORMATS.glob("*.db.xz")}


def unpack(file: Path, folder: Path) -> None:
    """Put a kept collection into `folder`."""
    folder.mkdir(parents=True)
    (folder / DATABASE).write_bytes(lzma.decompress(file.read_bytes()))


def fill(store: Store) -> None:
    """Two documents, a copy, an empty page, a script without spaces, a failure, two encoders."""
    plain = make("plain.pdf", ["Cats sleep most of the day.", "", "Dogs bark at night."])
    dense = make("dense.pdf", ["人口密度について", "The café closes at six."], heading="Überblick")
    for made in (plain, dense):
        made.add_to(store)
        copy = KnownFile(Path("/copies") / made.document.title, 10, 20)
        store.add_document(
            made.document, made.pages, made.chunks, made.vectors, "test-encoder", files=[copy]
        )
    store.set_vectors("other-encoder", store.chunk_ids(), np.eye(4, dtype=np.float32))
    store.replace_chunks(plain.document.id, plain.chunks, plain.vectors, "test-encoder", 2)
    store.record_failure(KnownFile(Path("/docs/broken.pdf"), 3, 4, reason="truncated"))
    store.checkpoint()


def content(store: Store) -> object:
    """All that `fill` put in, but for the ids of chunks."""
    vectors = [store.vectors(key)[1].tolist() for key in store.encoders()]
    documents = [
        (
            document,
            [*store.pages(document.id)],
            store.chunks(document.id),
            store.outline(document.id),
            store.stages(document.id),
            [store.known_file(path) for path in document.paths],
        )
        for document in store.documents()
    ]
    return documents, vectors, store.encoders(), store.failures()


def main() -> None:
    with TemporaryDirectory() as folder:
        with Store.open(Path(folder), create=True) as store:
            fill(store)
        packed = lzma.compress((Path(folder) / DATABASE).read_bytes(), preset=9)
    FORMATS.mkdir(exist_ok=True)
    (FORMATS / f"{len(MIGRATIONS)}.db.xz").write_bytes(packed)


if __name__ == "__main__":
    main()
