"""One encoder's stored vectors as an array."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from ragformer.errors import StoreError

Ids = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]


def read_vectors(db: sqlite3.Connection, encoder_id: str) -> tuple[Ids, Vectors]:
    """(ids_N ascending, vectors_ND), both of one moment; D is 0 when there are none.

    Raises StoreError where they differ in length.
    """
    rows = db.execute("SELECT chunk_id, vector FROM vectors WHERE encoder_id = ?", (encoder_id,))
    # In blocks: all rows as Python objects at once would hold the vectors twice.
    return _unpack(iter(lambda: rows.fetchmany(1000), []), encoder_id)


def unpack_vectors(rows: Sequence[tuple[int, bytes]], encoder_id: str) -> tuple[Ids, Vectors]:
    """As `read_vectors`, for rows (chunk id, vector)."""
    return _unpack([rows], encoder_id)


def _unpack(blocks: Iterable[Sequence[tuple[int, bytes]]], encoder_id: str) -> tuple[Ids, Vectors]:
    keys: list[int] = []
    data = bytearray()
    lengths: set[int] = set()
    for block in blocks:
        keys += [key for key, _ in block]
        data += b"".join(blob for _, blob in block)
        lengths.update(len(blob) for _, blob in block)
    if len(lengths) > 1:
        raise StoreError(
            f"the vectors of encoder {encoder_id} differ in length; run `ragformer index --reembed`"
        )
    ids = np.array(keys, dtype=np.int64)
    vectors_ND = np.frombuffer(data, dtype="<f4").reshape(len(ids), -1 if keys else 0)
    if (np.diff(ids) < 0).any():
        order = np.argsort(ids)
        ids, vectors_ND = ids[order], vectors_ND[order]
    return ids, vectors_ND
