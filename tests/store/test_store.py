"""The store gives back what it was given, and of what was removed it keeps no trace."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ragformer.errors import NotFoundError, StoreError, StoreFullError
from ragformer.store.rows import KnownFile, Stages
from ragformer.store.store import Store

TEXTS = ["Cats sleep most of the day.", "", "Dogs bark — at 🦊 and 人口密度."]


def test_a_document_comes_back_as_it_went_in(store, make_document):
    made = make_document("a.pdf", TEXTS)
    document = made.add_to(store)
    assert document.id == made.document.id
    assert document.paths == made.document.paths
    assert document.added_at == made.document.added_at
    assert document.status_counts == {"text": 2, "empty": 1}
    assert document.unread_pages == (2,)
    assert list(store.pages(document.id)) == made.pages
    assert store.chunks(document.id) == made.chunks
    assert store.outline(document.id) == made.outline
    ids, vectors_ND = store.vectors("test-encoder")
    assert ids.tolist() == store.chunk_ids().tolist()
    assert np.array_equal(vectors_ND, made.vectors)
    assert store.check() == []


def test_what_was_stored_is_there_after_reopening(store, make_document):
    document = make_document("a.pdf", TEXTS).add_to(store)
    store.close()
    with Store.open(store.folder) as again:
        assert again.documents() == [document]
        assert again.check() == []


def test_adding_the_same_document_again_only_adds_the_path(store, make_document):
    made = make_document("a.pdf", TEXTS)
    made.add_to(store)
    ids = store.chunk_ids().tolist()
    copy = KnownFile(Path("/copies/b.pdf"), 10, 20)
    document = store.add_document(
        made.document, made.pages, made.chunks, made.vectors, "test-encoder", files=[copy]
    )
    assert document.paths == (Path("/copies/b.pdf"), Path("/docs/a.pdf"))
    assert store.chunk_ids().tolist() == ids
    assert store.known_file(copy.path) == KnownFile(copy.path, 10, 20, document.id)


def test_a_document_lives_as_long_as_its_last_path(store, make_document):
    document = make_document("a.pdf", TEXTS).add_to(store)
    second = Path("/docs/z.pdf")
    store.attach_path(document.id, KnownFile(second, 1, 2))
    assert store.remove_path(document.path)
    assert store.find(document.id).paths == (second,)
    assert store.remove_path(second)
    assert store.find(document.id) is None
    assert not store.remove_path(second)
    assert len(store.chunk_ids()) == 0
    assert store.encoders() == {}
    assert store.check() == []


def test_a_file_with_new_content_replaces_the_old_document(store, make_document):
    old = make_document("a.pdf", ["The old words."]).add_to(store)
    new = make_document("a.pdf", ["The new words."]).add_to(store)
    assert [document.id for document in store.documents()] == [new.id]
    assert store.known_file(old.path).document_id == new.id


def test_a_failed_file_is_remembered_until_it_is_read(store, make_document):
    path = Path("/docs/a.pdf")
    document = make_document("a.pdf", TEXTS).add_to(store)
    store.record_failure(KnownFile(path, 3, 4, reason="truncated"))
    assert store.find(document.id) is None
    assert store.known_file(path) == KnownFile(path, 3, 4, None, "truncated")
    assert [(f.path, f.status, f.reason) for f in store.failures()] == [
        (path, "failed", "truncated")
    ]
    make_document("a.pdf", TEXTS).add_to(store)
    assert store.failures() == []


def test_a_file_name_need_not_be_utf8(store, make_document):
    document = make_document("a.pdf", TEXTS).add_to(store)
    odd = Path("/docs/caf\udce9.pdf")  # the byte E9, as Python spells it
    store.attach_path(document.id, KnownFile(odd, 1, 2))
    assert odd in store.find(document.id).paths


def test_unknown_names_are_not_found(store, make_document):
    document = make_document("a.pdf", TEXTS).add_to(store)
    assert store.find("0" * 64) is None
    assert store.known_file(Path("/nowhere")) is None
    with pytest.raises(NotFoundError, match="has 3 pages, no page 4"):
        store.page(document.id, 4)
    for call in (store.remove_document, store.stages, lambda key: next(store.pages(key))):
        with pytest.raises(NotFoundError, match="no document"):
            call("0" * 64)
    with pytest.raises(NotFoundError, match="no collection"):
        Store.open(store.folder / "other")


def test_documents_within_put_the_named_path_first(store, make_document):
    document = make_document("a.pdf", TEXTS).add_to(store)
    make_document("b.pdf", TEXTS).add_to(store)
    store.attach_path(document.id, KnownFile(Path("/zoo/copy.pdf"), 1, 2))
    (found,) = store.documents(["zoo/*.pdf"])
    assert found.paths == (Path("/zoo/copy.pdf"), Path("/docs/a.pdf"))
    assert [d.title for d in store.documents(["/docs"])] == ["a.pdf", "b.pdf"]
    assert store.documents(["nothing.pdf"]) == []


def test_passages_keep_the_order_and_skip_what_is_gone(store, make_document):
    document = make_document("a.pdf", TEXTS).add_to(store)
    first, second = store.chunk_ids().tolist()
    found = store.passages([(second, 2.5), (99, 2.0), (first, 1.0)])
    assert [(p.chunk_id, p.score, p.text) for p in found] == [
        (second, 2.5, TEXTS[2]),
        (first, 1.0, TEXTS[0]),
    ]
    assert [p.document for p in found] == [document, document]


def test_chunk_ids_of_some_documents(store, make_document):
    a = make_document("a.pdf", TEXTS).add_to(store)
    b = make_document("b.pdf", TEXTS).add_to(store)
    ids = {key: store.chunk_ids([key]).tolist() for key in (a.id, b.id)}
    assert sorted(ids[a.id] + ids[b.id]) == store.chunk_ids().tolist()
    assert store.chunk_ids([]).tolist() == []


def test_a_second_encoder_embeds_what_is_stored(store, make_document):
    make_document("a.pdf", TEXTS).add_to(store)
    ids = store.chunks_without_vectors("other")
    assert [passage.text for passage in store.passages([(key, 0.0) for key in ids])] == [
        TEXTS[0],
        TEXTS[2],
    ]
    assert store.chunks_without_vectors("other", 1) == ids[:1]
    store.set_vectors("other", [*ids[::-1], 99], np.ones((3, 2), np.float32))
    assert store.vectors("other")[0].tolist() == ids
    assert store.chunks_without_vectors("other") == []
    assert store.encoders() == {"other": 2, "test-encoder": 2}
    store.drop_vectors_except("other")
    assert store.encoders() == {"other": 2}
    assert store.vectors("test-encoder")[1].shape == (0, 0)
    assert store.check() == []


def test_a_vector_that_is_not_finite_is_refused_with_its_document(store, make_document):
    made = make_document("a.pdf", TEXTS)
    made.vectors[0, 0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        made.add_to(store)
    assert store.documents() == []


def test_cutting_anew_replaces_chunks_and_vectors(store, make_document):
    made = make_document("a.pdf", TEXTS)
    document = made.add_to(store)
    assert store.stages(document.id) == Stages("", 1, 1)
    before = set(store.chunk_ids().tolist())
    store.replace_chunks(document.id, made.chunks[:1], made.vectors[:1], "test-encoder", 2)
    assert store.chunks(document.id) == made.chunks[:1]
    assert before.isdisjoint(store.chunk_ids().tolist())
    assert store.stages(document.id).chunk == 2
    assert store.check() == []


def test_every_change_of_content_moves_the_generation_and_nothing_else_does(store, make_document):
    seen = [store.generation]
    document = make_document("a.pdf", TEXTS).add_to(store)
    seen.append(store.generation)
    store.attach_path(document.id, KnownFile(Path("/b"), 1, 2))
    seen.append(store.generation)
    store.remove_document(document.id)
    seen.append(store.generation)
    assert seen == sorted(set(seen))
    store.checkpoint()
    store.documents()
    assert store.generation == seen[-1]


def test_a_removed_sentence_is_nowhere_in_the_folder(store, make_document):
    kept = make_document("kept.pdf", [f"Ordinary words number {n}." for n in range(300)])
    kept.add_to(store)
    secret = make_document("secret.pdf", ["The xyzzyplugh vault opens at 暗証番号九四七."] * 40)
    secret.add_to(store)
    traces = [
        b"xyzzyplugh",
        b"xyzzy",
        "暗証番".encode(),
        b"secret.pdf",
        secret.document.id.encode(),
    ]

    def left() -> list[bytes]:
        contents = b"".join(path.read_bytes() for path in store.folder.iterdir())
        return [trace for trace in traces if trace in contents]

    assert left() == traces
    store.remove_document(secret.document.id)
    assert store.checkpoint()
    assert left() == []
    assert store.check() == []


def test_a_full_disk_loses_only_the_document_being_added(store, make_document):
    kept = make_document("a.pdf", TEXTS).add_to(store)
    pages = store.query("PRAGMA page_count")[0][0]
    store.connection.execute(f"PRAGMA max_page_count = {pages + 3}")
    big = make_document("big.pdf", [f"{n} " + "many words " * 400 for n in range(50)])
    with pytest.raises(StoreFullError, match="free some space"):
        big.add_to(store)
    assert store.documents() == [kept]
    assert store.check() == []
    store.connection.execute("PRAGMA max_page_count = 1000000")
    big.add_to(store)
    assert store.check() == []


def test_check_names_what_is_wrong(store, make_document):
    make_document("a.pdf", TEXTS).add_to(store)
    damage = {
        "does not re-read": "UPDATE pages SET text = 'changed' WHERE number = 1",
        "lies outside the text": "UPDATE pages SET text = '' WHERE number = 1",
        "words of page 1 cannot": "UPDATE pages SET words = x'0011' WHERE number = 1",
        "place of chunk 0 cannot": "UPDATE chunks SET spans = '[[1, 2' WHERE ordinal = 0",
        "not what its status says": "UPDATE pages SET text = '' WHERE number = 3",
        "too few vectors": "DELETE FROM vectors WHERE chunk_id = 1",
        "is not finite": "UPDATE vectors SET vector = x'0000c07f0000c07f0000c07f0000c07f'",
        "chunk_words does not match": "UPDATE chunks SET text = 'changed' WHERE id = 1",
        "chunk_grams covers": "UPDATE chunks SET dense = 0",
        "has no path": "DELETE FROM paths",
        "3 pages and 2 are stored": "DELETE FROM pages WHERE number = 2",
        "no longer there": "UPDATE chunks SET document_id = 'x'",
    }
    store.connection.execute("PRAGMA foreign_keys = OFF")
    for fault, sql in damage.items():
        store.connection.execute("BEGIN")
        store.connection.execute(sql)
        assert any(fault in sentence for sentence in store.check()), (fault, store.check())
        store.connection.execute("ROLLBACK")
    assert store.check() == []


def test_vectors_of_different_length_are_an_error_with_the_way_out(store, make_document):
    make_document("a.pdf", TEXTS).add_to(store)
    store.set_vectors("test-encoder", [1], np.ones((1, 9), np.float32))
    with pytest.raises(StoreError, match="reembed"):
        store.vectors("test-encoder")
