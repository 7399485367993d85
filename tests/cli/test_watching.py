"""index --watch: the first run as always, then a line for each change, until Ctrl-C."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from ragformer_cli import terminal
from ragformer_cli.documents import change_line, summary
from watchfiles import Change

from ragformer import watch as watching
from ragformer.config import load_settings
from ragformer.store.store import Store
from ragformer.types import FileOutcome, Report

WritePdf = Callable[..., Path]
Ragformer = Callable[..., Any]
CATS = "The cat sleeps eighteen hours a day and hunts at night near the river."
TAX = "Annual tax returns are due on 31 October at the district office."


@pytest.fixture
def docs(write_pdf: WritePdf, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file; while it is watched one comes, one goes, then somebody hits Ctrl-C."""
    docs = write_pdf("cats.pdf", CATS).parent

    def changes(*places: Path, **_: object) -> Iterator[set[tuple[Change, str]]]:
        assert places == (docs,)
        yield set()  # it has begun to look
        yield {(Change.added, str(write_pdf("tax.pdf", TAX, "")))}
        yield set()
        (docs / "cats.pdf").rename(docs / "felines.pdf")
        yield {(Change.deleted, str(docs / "cats.pdf"))}
        (docs / "tax.pdf").unlink()
        yield {(Change.deleted, str(docs / "tax.pdf"))}
        raise KeyboardInterrupt

    monkeypatch.setattr(watching, "system_changes", changes)
    return docs


def test_a_line_for_each_change(ragformer: Ragformer, docs: Path) -> None:
    ran = ragformer("index", docs, "--watch")
    assert ran.code == 130
    first, *lines = ran.out.splitlines()
    assert first.startswith("1 added, 1 page read in ")
    assert lines == [
        "added: docs/tax.pdf: 2 pages, no text: 1 of 2 pages: 2",
        "moved: docs/cats.pdf to docs/felines.pdf",
        "removed: docs/tax.pdf",
    ]
    assert ran.err.split("\n")[:-1] == [
        "watching for changes; Ctrl-C stops",
        "",  # behind the ^C that a terminal shows
        "ragformer: interrupted; what was finished is kept",
    ]
    assert [Path(row["path"]).name for row in ragformer("list", "--json").json] == ["felines.pdf"]
    assert ragformer("doctor", "--check").code == 0


def test_an_object_for_each_change(ragformer: Ragformer, docs: Path) -> None:
    first, *changes = map(
        json.loads, ragformer("index", docs, "--watch", "--json").out.splitlines()
    )
    assert [file["status"] for file in first["files"]] == ["added"]
    assert [list(change) for change in changes] == [list(first["files"][0])] * 3
    assert [change["status"] for change in changes] == ["added", "unchanged", "removed"]
    assert changes[1]["moved_from"] == str(docs / "cats.pdf")


@pytest.mark.parametrize("option", ["--watch", "--wait"])
def test_it_waits_its_turn_and_says_so(
    ragformer: Ragformer, docs: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    folder, warn = load_settings().collections / "default", terminal.warn
    with Store.open(folder, create=True) as other, ExitStack() as held:
        held.enter_context(other.indexing())

        def warned(text: str) -> None:
            warn(text)
            held.close()

        assert "is indexing" in ragformer("index", docs).err
        monkeypatch.setattr(terminal, "warn", warned)
        monkeypatch.setattr(terminal, "LOOK_SECONDS", 0)
        ran = ragformer("index", docs, option)
    assert ran.out.startswith("1 added, 1 page read in ")
    assert f"waiting: process {os.getpid()} is indexing the collection in {folder}\n" in ran.err


def test_watching_does_not_make_anew(ragformer: Ragformer, docs: Path) -> None:
    ran = ragformer("index", docs, "--watch", "--reembed")
    assert (ran.code, ran.out) == (2, "")
    assert "--watch goes with neither" in ran.err


def test_a_failure_and_a_move_are_one_line() -> None:
    path = Path("/x/two\nlines.pdf")
    failed = FileOutcome(path, None, "failed", "not\na PDF")
    assert change_line(failed) == "failed: /x/two\\nlines.pdf: not\\na PDF"
    moved = FileOutcome(path, "a", "unchanged", pages=1, moved_from=Path("/x/old.pdf"))
    assert change_line(moved) == "moved: /x/old.pdf to /x/two\\nlines.pdf"
    assert summary(Report((moved, failed), 0, 0, 0.1)) == "1 failed, 1 moved, 0 pages read in 0.1 s"
