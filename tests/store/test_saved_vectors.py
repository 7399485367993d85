"""The file of vectors: nearly as good as searching all of them, exact among some, never needed."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_documents import ENCODER, make

from ragformer.errors import EncoderMismatchError, StoreFullError
from ragformer.store import keep_vectors, vector_file
from ragformer.store.keep_vectors import find_file_faults, listed_ids, refresh
from ragformer.store.repair import repair_vectors
from ragformer.store.saved_vectors import SavedIndex, open_index
from ragformer.store.store import Store
from ragformer.store.vector_file import VECTOR_FILE, load, read_label
from ragformer.store.vectors import VectorIndex
from ragformer.types import Document

D, EACH = 16, 120


@pytest.fixture(autouse=True)
def small_is_big(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every collection gets a file, and a search looks into some of its lists only."""
    monkeypatch.setattr(keep_vectors, "FLAT_VALUES", 0)
    monkeypatch.setattr(keep_vectors, "COMPARED", 300)


def near_centres(n: int, seed: int) -> Any:
    """Unit vectors [n, D] around 40 centres, as real ones lie around subjects."""
    centres = np.random.default_rng(99).standard_normal((40, D))
    random = np.random.default_rng(seed)
    rows = centres[random.integers(0, 40, n)] + 0.5 * random.standard_normal((n, D))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def add(store: Store, number: int, n: int = EACH, encoder_id: str = ENCODER) -> Document:
    made = make(f"{number}.pdf", [f"chunk {i} of {number}" for i in range(n)])
    return replace(made, vectors=near_centres(n, number)).add_to(store, encoder_id)


@pytest.fixture
def filled(store: Store) -> Store:
    for number in range(6):
        add(store, number)
    refresh(store, ENCODER)
    return store


def exact(store: Store) -> VectorIndex:
    return VectorIndex.build(*store.vectors(ENCODER))


def saved(store: Store) -> SavedIndex:
    index = open_index(store, ENCODER)
    assert isinstance(index, SavedIndex)
    return index


def recall(store: Store, k: int = 10, seed: int = 5) -> float:
    flat, index = exact(store), saved(store)
    shares = []
    for query_D in near_centres(100, seed):
        wanted = {key for key, _ in flat.search(query_D, k)}
        found = index.search(query_D, k)
        assert [score for _, score in found] == sorted((s for _, s in found), reverse=True)
        shares.append(len(wanted & {key for key, _ in found}) / k)
    return float(np.mean(shares))


def test_it_finds_what_a_flat_search_finds_and_scores_it_exactly(filled: Store) -> None:
    index = saved(filled)
    assert len(index) == 6 * EACH
    lists = load(filled.folder)[1]  # type: ignore[index]
    assert lists.nprobe < lists.nlist / 2
    assert recall(filled) >= 0.97
    score_of = dict(exact(filled).search(near_centres(1, 5)[0], 6 * EACH))
    for key, score in index.search(near_centres(1, 5)[0], 30):
        assert score == pytest.approx(score_of[key], abs=1e-6)
    assert index.search(near_centres(1, 5)[0], 0) == []


@pytest.mark.parametrize("n_allowed", [0, 1, 9, 200, 6 * EACH])
def test_a_search_among_some_chunks_is_exact(filled: Store, n_allowed: int) -> None:
    add(filled, 7)  # not in the file
    random = np.random.default_rng(n_allowed)
    flat, index = exact(filled), saved(filled)
    for query_D in near_centres(20, 8):
        allowed = random.choice(filled.chunk_ids(), n_allowed, replace=False)
        found, wanted = index.search(query_D, 10, allowed), flat.search(query_D, 10, allowed)
        assert [key for key, _ in found] == [key for key, _ in wanted]
        assert [s for _, s in found] == pytest.approx([s for _, s in wanted], abs=1e-6)


def test_equal_vectors_are_told_apart_by_their_ids(store: Store) -> None:
    made = make("same.pdf", [f"chunk {i}" for i in range(300)])
    replace(made, vectors=np.repeat(near_centres(1, 1), 300, axis=0)).add_to(store)
    refresh(store, ENCODER)
    ids = store.chunk_ids()
    found = saved(store).search(near_centres(1, 1)[0], 4, ids[7:])
    assert [key for key, _ in found] == ids[7:11].tolist()


def test_what_came_since_is_found_and_what_went_since_is_not(filled: Store) -> None:
    before = read_label(filled.folder)
    gone = filled.documents()[0]
    removed = set(filled.chunk_ids([gone.id]).tolist())
    filled.remove_document(gone.id)
    added = set(filled.chunk_ids([add(filled, 8).id]).tolist())
    assert read_label(filled.folder) == before
    found = {key for key, _ in saved(filled).search(near_centres(1, 8)[0], 5 * EACH + 60)}
    assert not found & removed
    assert found & added
    assert recall(filled) >= 0.97


def test_a_refresh_takes_the_new_in_and_the_removed_out(filled: Store) -> None:
    filled.remove_document(filled.documents()[0].id)
    add(filled, 8)
    refresh(filled, ENCODER)
    label, lists = load(filled.folder)  # type: ignore[misc]
    assert label.generation == filled.generation
    assert sorted(listed_ids(lists).tolist()) == filled.chunk_ids().tolist()
    assert recall(filled) >= 0.97
    assert list(find_file_faults(filled)) == []


def test_lists_are_chosen_anew_when_the_collection_has_grown(filled: Store) -> None:
    add(filled, 8, n=8 * EACH)
    refresh(filled, ENCODER)
    label = read_label(filled.folder)
    assert label is not None
    assert label.n_trained == 14 * EACH


def test_a_file_of_another_encoder_is_passed_over_and_replaced(filled: Store) -> None:
    ids, vectors_ND = filled.vectors(ENCODER)
    with pytest.raises(EncoderMismatchError, match="embedded by encoder test-encoder, not other"):
        open_index(filled, "other")
    filled.set_vectors("other", ids, vectors_ND[:, ::-1].copy())
    assert isinstance(open_index(filled, "other"), VectorIndex)
    filled.drop_vectors_except("other")
    refresh(filled, "other")
    assert isinstance(open_index(filled, "other"), SavedIndex)
    filled.drop_vectors_except("third")
    filled.checkpoint()
    assert not (filled.folder / VECTOR_FILE).exists()


def test_a_file_of_a_store_that_was_there_before_is_passed_over(
    filled: Store, tmp_path: Path
) -> None:
    with Store.open(tmp_path / "anew", create=True) as store:
        (filled.folder / VECTOR_FILE).rename(store.folder / VECTOR_FILE)
        add(store, 1)
        assert isinstance(open_index(store, ENCODER), VectorIndex)


def test_a_vector_of_every_chunk_is_needed_as_without_a_file(filled: Store) -> None:
    add(filled, 7, encoder_id="other")
    with pytest.raises(EncoderMismatchError):
        open_index(filled, ENCODER)
    before = read_label(filled.folder)
    filled.remove_document(filled.documents()[0].id)
    filled.checkpoint()  # the removed go, and the file claims no more than it holds
    label, lists = load(filled.folder)  # type: ignore[misc]
    assert (label.last_id, label.generation) == (before.last_id, before.generation)  # type: ignore[union-attr]
    assert lists.ntotal == 5 * EACH


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def change_the_lists(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(200)  # within the centres
        file.write(b"\xff" * 40)


def change_the_codes(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(-600, os.SEEK_END)
        byte = file.read(1)
        file.seek(-600, os.SEEK_END)
        file.write(bytes([byte[0] ^ 255]))


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [cut_short, change_the_lists, empty])
def test_a_damaged_file_is_done_without_and_made_anew(
    filled: Store, damage: Callable[[Path], None]
) -> None:
    damage(filled.folder / VECTOR_FILE)
    assert isinstance(open_index(filled, ENCODER), VectorIndex)
    assert [f for f in filled.check() if VECTOR_FILE in f] == [
        "vectors.index is damaged, and searches do without it; run `ragformer doctor --repair`"
    ]
    refresh(filled, ENCODER)
    assert recall(filled) >= 0.97


def test_a_damaged_code_is_found_by_the_check_and_repaired(filled: Store) -> None:
    change_the_codes(filled.folder / VECTOR_FILE)
    assert len(list(find_file_faults(filled))) == 1
    assert repair_vectors(filled, ENCODER) == ["made vectors.index anew"]
    assert list(find_file_faults(filled)) == []
    assert repair_vectors(filled, ENCODER) == []


def test_the_check_compares_the_file_with_the_store(filled: Store) -> None:
    ids, vectors_ND = filled.vectors(ENCODER)
    filled.set_vectors(ENCODER, ids[:3], -vectors_ND[:3])
    (fault,) = find_file_faults(filled)
    assert "differs from the stored vectors of 3 chunks" in fault
    filled.query("DELETE FROM vectors WHERE chunk_id = ?", int(ids[0]))
    assert any("holds 1 chunks that were removed" in fault for fault in find_file_faults(filled))


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")
def test_it_is_the_users_alone_and_nothing_is_left_beside_it(filled: Store) -> None:
    path = filled.folder / VECTOR_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    left = filled.folder / f"{VECTOR_FILE}.1.part"
    left.write_bytes(b"of a run that was killed")
    add(filled, 7)
    refresh(filled)
    assert sorted(filled.folder.glob(f"{VECTOR_FILE}*")) == [path]


def test_what_is_removed_while_it_is_written_is_not_in_it(
    filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, removed = keep_vectors.write_part, []

    def removing(*args: Any) -> Path:
        if not removed:
            document = filled.documents()[0]
            removed.extend(filled.chunk_ids([document.id]).tolist())
            with Store.open(filled.folder) as other:
                other.remove_document(document.id)
        return write(*args)

    monkeypatch.setattr(keep_vectors, "write_part", removing)
    add(filled, 8)
    refresh(filled)
    listed = set(listed_ids(load(filled.folder)[1]).tolist())  # type: ignore[index]
    assert removed
    assert listed == set(filled.chunk_ids().tolist())


def test_a_full_disk_leaves_the_file_that_was_there(
    filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: object, block: bytes) -> None:
        self.error = OSError(28, "No space left on device")  # type: ignore[attr-defined]
        raise self.error  # type: ignore[attr-defined]

    before = (filled.folder / VECTOR_FILE).read_bytes()
    add(filled, 8)
    monkeypatch.setattr(vector_file._Sink, "write", full)
    with pytest.raises(StoreFullError, match="no space is left"):
        refresh(filled)
    assert (filled.folder / VECTOR_FILE).read_bytes() == before
    assert sorted(filled.folder.glob("*.part")) == []


def test_a_small_collection_has_no_file(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keep_vectors, "FLAT_VALUES", D * EACH * 6)
    filled.remove_document(filled.documents()[0].id)
    filled.checkpoint()
    assert not (filled.folder / VECTOR_FILE).exists()
    assert isinstance(open_index(filled, ENCODER), VectorIndex)
