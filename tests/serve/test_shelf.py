"""Collections are held open while they are used, and no more of them than that."""

from __future__ import annotations

from pathlib import Path

from ragformer.serve.shelf import KEPT_PROMPTS, MOST_OPEN, Shelf


def test_a_collection_in_use_stays_open_and_others_go(served_home: Path) -> None:
    shelf = Shelf(served_home)
    names = [f"c{n}" for n in range(MOST_OPEN + 3)]
    with shelf.using("default") as library:
        store = library.store
        opened = [shelf.open(name) for name in names]
        assert shelf.open("default") is library
        assert library.store is store
        assert len(shelf._open) == MOST_OPEN
        assert shelf.open(names[-1]) is opened[-1]
        assert shelf.open(names[0]) is not opened[0]
    for name in names:
        shelf.open(name)
    assert shelf.open("default") is not library
    shelf.close()


def test_it_keeps_what_its_decoder_has_read(served_home: Path) -> None:
    shelf = Shelf(served_home)
    kept = shelf.open("default").reader.kept
    assert kept is not None
    assert kept.most_bytes == KEPT_PROMPTS
    shelf.close()
