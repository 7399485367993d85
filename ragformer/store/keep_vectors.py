"""When the vectors of a collection get a file of their own, and what keeps it true.

    index, rm, repair -> refresh -> nothing to do | drop | train | without the removed, with the new

Only those who write the store write the file. Whoever asks uses what is there: the file and, one by
one, the chunks since; or all vectors where there is none.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ragformer.store.read_vectors import Ids, Vectors
from ragformer.store.saved_vectors import last_id, stored_vectors
from ragformer.store.vector_file import (
    VECTOR_FILE,
    Label,
    drop_file,
    drop_parts,
    is_whole,
    load,
    read_label,
    take_name,
    write_part,
)
from ragformer.store.vectors import faiss_module

if TYPE_CHECKING:
    from ragformer.store.store import Store

FLAT_VALUES = 50_000_000
"""Numbers that are searched one by one, without a file: 195,000 vectors of 256."""
LISTS = 2.0
"""Times the root of the number of vectors: so many lists."""
COMPARED = 400_000
"""Codes that a search compares, about: it looks into as many of the nearest lists as hold them.

So many, as questions lie far from the passages that answer them: of 8,000 chunks of real text, the
best 10 for a SQuAD question lie in the nearest 1/10 of the lists for 0.83, 1/5 for 0.92, 2/5 for
0.98, and of fewer chunks in more lists."""
TRAINED_ON = 40
"""Vectors for each list, from which the lists are chosen; FAISS asks for 39."""
GROWTH = 2
"""Lists are chosen anew when there are so many times the vectors they were chosen for."""
_ROUNDS = 10  # of k-means
_MARGIN = 0.3
"""Of the range of each number in the sample, kept free on both sides for other vectors: beyond it a
vector is far from its code, and one such makes every search among some chunks look further."""
_BLOCK = 8192
_TRIES = 5


def refresh(store: Store, encoder_id: str | None = None) -> None:
    """Bring the file in line with the store; make it where it is due.

    encoder_id: whose vectors; None for those that the file has, if there is one. Afterwards no
    vector of a removed chunk is left in it. Raises StoreError where it cannot be written.
    """
    label = read_label(store.folder)
    if label and encoder_id in (None, label.encoder_id) and _is_current(store, label):
        return
    drop_parts(store.folder)
    encoder_id = encoder_id or (label.encoder_id if label else None)
    if encoder_id is None or not _is_big(store, encoder_id):
        drop_file(store.folder)
        return
    seen, last = store.generation, last_id(store)
    whole = not store.chunks_without_vectors(encoder_id, 1)
    ids = _ids(store, encoder_id)
    old = _of_use(store, encoder_id, len(ids))
    if old is not None:
        label, lists = old
        _remove(lists, np.setdiff1d(listed_ids(lists), ids))
        first = label.last_id
        if whole:  # else the file stands for what it did before, less what was removed
            label = dataclasses.replace(label, generation=seen, last_id=last)
    elif whole:
        lists, first = _train(store, encoder_id, ids), 0
        label = Label(encoder_id, seen, last, len(ids), 0.0)
    else:
        drop_file(store.folder)
        return
    label = _add(store, label, lists, ids[(ids > first) & (ids <= label.last_id)])
    lists.nprobe = max(1, math.ceil(lists.nlist * min(1.0, COMPARED / max(1, lists.ntotal))))
    _name(store, lists, label, seen)


def _of_use(store: Store, encoder_id: str, n: int) -> tuple[Label, Any] | None:
    """The file's label and index, read whole; None where its lists do not suit n vectors."""
    found = load(store.folder, mapped=False)
    if found is None or found[0].encoder_id != encoder_id or n > GROWTH * found[0].n_trained:
        return None
    return found


def _is_current(store: Store, label: Label) -> bool:
    return label.generation == store.generation and load(store.folder) is not None


def _is_big(store: Store, encoder_id: str) -> bool:
    some = "SELECT length(vector) / 4 FROM vectors WHERE encoder_id = ? LIMIT 1"
    rows = store.query(some, encoder_id)
    if not rows:
        return False
    most = FLAT_VALUES // max(1, rows[0][0])
    count = "SELECT count(*) FROM (SELECT 1 FROM vectors WHERE encoder_id = ? LIMIT ?)"
    return bool(store.query(count, encoder_id, most + 1)[0][0] > most)


def _ids(store: Store, encoder_id: str) -> Ids:
    rows = store.query("SELECT chunk_id FROM vectors WHERE encoder_id = ?", encoder_id)
    return np.sort(np.fromiter((row[0] for row in rows), np.int64, len(rows)))


def _blocks(store: Store, encoder_id: str, ids: Ids) -> Iterator[tuple[Ids, Vectors]]:
    """The stored vectors of these chunks, as many of them as are still there."""
    for start in range(0, len(ids), _BLOCK):
        found = stored_vectors(store, encoder_id, ids[start : start + _BLOCK])
        if len(found[0]):
            yield found


def _train(store: Store, encoder_id: str, ids: Ids) -> Any:
    """An empty index whose lists suit a sample of these chunks' vectors.

    Source: Sivic & Zisserman 2003, "Video Google"; Jegou et al. 2011, "Product quantization", on
    the inverted file, here with a byte for each number.
    """
    n_lists = max(1, min(round(LISTS * math.sqrt(len(ids))), len(ids) // TRAINED_ON))
    random = np.random.default_rng(0)
    n_sample = min(len(ids), TRAINED_ON * n_lists)
    chosen = np.sort(random.choice(ids, n_sample, replace=False))
    sample_ND = np.concatenate([vectors for _, vectors in _blocks(store, encoder_id, chosen)])
    faiss = faiss_module()
    d = sample_ND.shape[1]
    kind, product = faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
    lists = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(d), d, n_lists, kind, product, False
    )  # False: codes of the vectors themselves, so that one error holds for all
    lists.sq.rangestat, lists.sq.rangestat_arg = faiss.ScalarQuantizer.RS_minmax, _MARGIN
    lists.cp.niter = _ROUNDS
    lists.train(sample_ND)
    return lists


def _add(store: Store, label: Label, lists: Any, ids: Ids) -> Label:
    """Add these chunks; the label with the greatest distance of any vector from its code."""
    error = label.error
    for some, vectors_ND in _blocks(store, label.encoder_id, ids):
        lists.add_with_ids(vectors_ND, some)
        kept_ND = lists.sq.decode(lists.sq.compute_codes(vectors_ND))
        error = max(error, float(np.linalg.norm(kept_ND - vectors_ND, axis=1).max()))
    return dataclasses.replace(label, error=error)


def _remove(lists: Any, ids: Ids) -> None:
    if len(ids):
        lists.remove_ids(faiss_module().IDSelectorBatch(ids))


def _name(store: Store, lists: Any, label: Label, seen: int) -> None:
    """Write the file; what another process removes meanwhile goes too, before it takes its name.

    seen: the store's generation when its ids were read. While it is the same, nothing was removed.
    """
    none = np.empty(0, np.int64)
    for _ in range(_TRIES):
        part = write_part(store.folder, lists, label)
        with store.writing(changes=0):  # from here to the name nobody removes anything
            changed = store.generation != seen
            here = _ids(store, label.encoder_id) if changed else none
            gone = np.setdiff1d(listed_ids(lists), here) if changed else none
            if not len(gone) and take_name(part):
                return
        part.unlink(missing_ok=True)
        _remove(lists, gone)
    drop_file(store.folder)


def listed_ids(lists: Any) -> Ids:
    """The ids of every chunk in an index, in no order."""
    lists_of, n = lists.invlists, lists.nlist
    sizes = [lists_of.list_size(i) for i in range(n)]
    view = faiss_module().rev_swig_ptr
    found = [view(lists_of.get_ids(i), sizes[i]).copy() for i in range(n) if sizes[i]]
    return np.concatenate(found) if found else np.empty(0, np.int64)


def find_file_faults(store: Store) -> Iterator[str]:
    """What is wrong with the file, a sentence each; none where there is no file."""
    way_out = "run `ragformer doctor --repair`"
    if not (store.folder / VECTOR_FILE).exists():
        return
    label = read_label(store.folder)
    loaded = load(store.folder) if label and is_whole(store.folder, label) else None
    if loaded is None:
        yield f"{VECTOR_FILE} is damaged, and searches do without it; {way_out}"
        return
    label, lists = loaded
    ids = _ids(store, label.encoder_id)
    listed = listed_ids(lists)
    if n_gone := len(np.setdiff1d(listed, ids)):
        yield f"{VECTOR_FILE} holds {n_gone} chunks that were removed; {way_out}"
    if n_missing := len(np.setdiff1d(ids[ids <= label.last_id], listed)):
        yield f"{VECTOR_FILE} lacks {n_missing} chunks; {way_out}"
    if n_other := sum(_differing(store, label, lists)):
        yield f"{VECTOR_FILE} differs from the stored vectors of {n_other} chunks; {way_out}"


def _differing(store: Store, label: Label, lists: Any) -> Iterator[int]:
    """How many vectors of each list are further from their codes than any was."""
    faiss = faiss_module()
    for i in range(lists.nlist):
        if not (n := lists.invlists.list_size(i)):
            continue
        ids = faiss.rev_swig_ptr(lists.invlists.get_ids(i), n).copy()
        codes = faiss.rev_swig_ptr(lists.invlists.get_codes(i), n * lists.code_size)
        kept_ND = lists.sq.decode(codes.reshape(n, -1).copy())[np.argsort(ids)]
        stored, vectors_ND = stored_vectors(store, label.encoder_id, ids)
        here = np.isin(np.sort(ids), stored)
        far = np.linalg.norm(kept_ND[here] - vectors_ND, axis=1) > label.error + 1e-5
        yield int(far.sum())
