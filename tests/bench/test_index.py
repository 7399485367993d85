"""Indexing is timed as users run it, and every stage has its share."""

from __future__ import annotations

import json
import time

import pytest

from ragformer.bench import index
from ragformer.errors import InputError
from ragformer.retrieve.embed import load_encoder


def test_rates_and_shares_of_real_files(home, write_pdf):
    folder = write_pdf("a.pdf", "The otter swims.", "The falcon dives.").parent
    write_pdf("b.pdf", "Bees dance.")
    (folder / "c.pdf").write_bytes(b"not a PDF")
    result = index.run(folder, repeats=2)
    assert (result["files"], result["files_failed"]) == (3, 1)
    assert result["pages"] == 3
    assert result["chunks"] >= 2
    shares = [told["median"] for told in result["share"].values()]
    assert list(result["share"]) == ["read", "chunk", "embed", "store"]
    assert all(share > 0 for share in shares)
    assert result["perfect_overlap_seconds"]["low"] > 0
    rate, seconds = result["pages_per_second"], result["seconds"]
    assert rate["low"] * seconds["high"] == pytest.approx(3)
    assert rate["high"] * seconds["low"] == pytest.approx(3)
    assert json.loads(json.dumps(result)) == result
    assert not home.exists()  # nothing of it went into the user's own collections
    assert index.run(folder, limit=1, repeats=1)["files"] == 1


def test_every_second_is_some_stages_and_a_bad_file_costs_reading_only(tiny_models, write_pdf):
    path = write_pdf("a.pdf", "The otter swims.", "The falcon dives.")
    bad = path.with_name("b.pdf")
    bad.write_bytes(b"not a PDF")
    encoder = load_encoder(tiny_models / "encoder")
    start = time.perf_counter()
    seconds = index.time_stages([path, bad], encoder).seconds
    assert 0 < sum(seconds.values()) <= time.perf_counter() - start
    assert all(value > 0 for value in seconds.values())
    only_bad = index.time_stages([bad], encoder).seconds
    assert only_bad["read"] > 0
    assert only_bad["chunk"] == only_bad["embed"] == only_bad["store"] == 0
    for read, embed, overlapped in [(3.0, 1.0, 3.0), (1.0, 3.0, 3.0), (0.1, 0.2, 0.5)]:
        told = {"read": read, "chunk": 0.25, "embed": embed, "store": 0.25}
        assert index.Stages(told).overlapped == overlapped


def test_a_folder_without_pdfs_cannot_be_timed(home, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no PDF in"):
        index.run(tmp_path / "empty")
