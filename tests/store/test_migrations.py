"""Every format there was opens as today's, with all that it held; a step is all or nothing."""

from __future__ import annotations

import sqlite3

import pytest
from kept_formats import content, fill, kept, unpack

from ragformer.store import migrations
from ragformer.store.migrations import MIGRATIONS, migrate, version
from ragformer.store.store import Store


def test_a_collection_of_every_format_is_kept():
    missing = set(range(1, len(MIGRATIONS) + 1)) - kept().keys()
    assert not missing, "run `python tests/kept_formats.py` and add the file it writes"


@pytest.mark.parametrize("number", sorted(kept()))
def test_a_collection_of_an_earlier_format_holds_what_a_new_one_would(number, tmp_path, store):
    unpack(kept()[number], tmp_path / "old")
    with sqlite3.connect(tmp_path / "old" / "store.db") as before:
        assert version(before) == number
    before.close()
    fill(store)
    with Store.open(tmp_path / "old") as old:
        assert version(old.connection) == len(MIGRATIONS)
        assert content(old) == content(store)
        assert old.check() == []
        for words in ("cat", "dog", "café"):
            found = [
                s.query("SELECT count(*) FROM chunk_words WHERE chunk_words MATCH ?", words)
                for s in (old, store)
            ]
            assert found[0] == found[1] != [(0,)]
        for document in old.documents():
            old.remove_document(document.id)
        assert old.checkpoint()
        assert old.check() == []


def test_a_step_that_breaks_off_leaves_the_format_as_it_was(monkeypatch, store):
    fill(store)
    before = content(store)
    steps = (*MIGRATIONS, ("CREATE TABLE later (a)", "INSERT INTO later VALUES (1)", "no SQL"))
    monkeypatch.setattr(migrations, "MIGRATIONS", steps)
    with pytest.raises(sqlite3.OperationalError):
        migrate(store.connection)
    assert version(store.connection) == len(MIGRATIONS)
    assert store.query("SELECT name FROM sqlite_schema WHERE name = 'later'") == []
    assert content(store) == before
    monkeypatch.setattr(migrations, "MIGRATIONS", (*MIGRATIONS, ("CREATE TABLE later (a)",)))
    migrate(store.connection)
    assert version(store.connection) == len(MIGRATIONS) + 1
    assert content(store) == before
