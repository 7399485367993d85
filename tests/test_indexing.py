"""Which files a walk finds."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from ragformer.errors import InputError
from ragformer.indexing import find_files

WritePdf = Callable[..., Path]
CATS = "The cat sleeps eighteen hours a day."


def test_a_walk_finds_each_pdf_once_and_survives_what_lies_about(
    write_pdf: WritePdf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {write_pdf("a.PDF", CATS), write_pdf("sub/deep/b.pdf", CATS)}
    docs = tmp_path / "docs"
    write_pdf(".hidden/c.pdf", CATS)
    (docs / ".d.pdf").write_bytes(b"hidden")
    (docs / "notes.txt").write_text("no")
    (docs / "folder.pdf").mkdir()
    os.mkfifo(docs / "pipe.pdf")
    (docs / "sub" / "loop").symlink_to(docs)
    (docs / "again").symlink_to(docs / "sub")
    (docs / "nowhere.pdf").symlink_to(tmp_path / "missing")
    linked = docs / "linked.pdf"
    linked.symlink_to(docs / "a.PDF")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(docs)
        server.bind("socket.pdf")
        found = find_files([docs, docs / "sub", docs / "a.PDF"])
        assert set(found.files) == wanted | {linked}
        assert found.problems == ()
        with pytest.raises(InputError, match="neither a file nor a folder"):
            find_files([docs / "pipe.pdf"])
    with pytest.raises(InputError, match="there is no file or folder"):
        find_files([tmp_path / "missing"])


def test_a_folder_that_cannot_be_opened_is_accounted_for(
    write_pdf: WritePdf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_pdf("fine/a.pdf", CATS)
    closed = tmp_path / "docs" / "closed"
    closed.mkdir()
    listed = Path.iterdir

    def iterdir(folder: Path) -> object:
        if folder == closed:  # as for a user without the right to read it; root has every right
            raise PermissionError(13, "Permission denied")
        return listed(folder)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    found = find_files([tmp_path / "docs"])
    assert found.files == (path,)
    (problem,) = found.problems
    assert (problem.path, problem.status) == (closed, "failed")
    assert problem.reason == "the folder cannot be opened: Permission denied"
