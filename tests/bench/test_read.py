"""Parsing is timed against pypdf on files that both read."""

from __future__ import annotations

import json
import os

import pytest

from ragformer.bench import read
from ragformer.errors import InputError


def test_rates_of_files_that_both_read(write_pdf):
    folder = write_pdf("a.pdf", "The otter swims.", "The falcon dives.").parent
    write_pdf("b.pdf", "Bees dance.")
    write_pdf("locked.pdf", "Unseen.", password="word")
    (folder / "c.pdf").write_bytes(b"not a PDF")
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    result = read.run(folder, repeats=2)
    assert (result["files"], result["pages"], result["repeats"]) == (2, 3, 2)
    for rate in ("pages_per_second", "pypdf_pages_per_second", "times_pypdf"):
        assert 0 < result[rate]["low"] <= result[rate]["median"] <= result[rate]["high"]
    assert json.loads(json.dumps(result)) == result
    if cores is not None:
        assert result["one_core"]
        assert os.sched_getaffinity(0) == cores


def test_a_folder_without_readable_pdfs_cannot_be_timed(tmp_path):
    (tmp_path / "a.pdf").write_bytes(b"not a PDF")
    with pytest.raises(InputError, match="no PDF that can be read in"):
        read.run(tmp_path)
