"""index, list, show, rm, collections: their JSON, their words, their exit codes."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ragformer_cli.documents import paths_in_lists, summary, troubles
from ragformer_cli.terminal import follow, progress_line, safe

from ragformer.types import FileOutcome, Progress, Report

WritePdf = Callable[..., Path]
Ragformer = Callable[..., Any]
CATS = "The cat sleeps eighteen hours a day and hunts at night near the river."
TAX = "Annual tax returns are due on 31 October at the district office."


@pytest.fixture
def docs(write_pdf: WritePdf, tmp_path: Path) -> Path:
    """Two good files, one with an empty page, and one that is no PDF."""
    write_pdf("cats.pdf", CATS, "")
    write_pdf("sub/tax.pdf", TAX)
    (tmp_path / "docs" / "picture.pdf").write_bytes(b"\x89PNG\r\n\x1a\n")
    return tmp_path / "docs"


def test_index_accounts_for_every_file(ragformer: Ragformer, docs: Path) -> None:
    ran = ragformer("index", docs, "--json")
    assert ran.code == 0
    assert set(ran.json) == {"files", "seconds"}
    files = {Path(file["path"]).name: file for file in ran.json["files"]}
    assert [file["path"] for file in ran.json["files"]] == sorted(
        str(docs / name) for name in ("cats.pdf", "picture.pdf", "sub/tax.pdf")
    )
    fields = ["path", "document_id", "status", "reason", "pages", "unread_pages", "moved_from"]
    fields += ["ocr_pages"]
    assert all(list(file) == fields for file in files.values())
    cats, picture = files["cats.pdf"], files["picture.pdf"]
    assert (cats["status"], cats["pages"], cats["unread_pages"]) == ("added", 2, [2])
    assert (picture["status"], picture["document_id"], picture["pages"]) == ("failed", None, 0)
    assert "not a PDF" in picture["reason"]
    assert "failed: docs/picture.pdf" in ran.err
    assert "no text: docs/cats.pdf: 1 of 2 pages: 2" in ran.err


def test_a_text_file_stands_for_the_paths_in_it(tmp_path: Path) -> None:
    listed, other = tmp_path / "all.txt", Path("docs/b.pdf")
    listed.write_bytes("/docs\r\n\n  \nsub/\u00fcber uns.pdf\n".encode())
    found = [Path("/docs"), tmp_path / "sub" / "\u00fcber uns.pdf", other]
    assert paths_in_lists([listed, other]) == found


def test_progress_is_a_line_of_json_a_step(ragformer: Ragformer, docs: Path) -> None:
    ran = ragformer("index", docs, "--json", "--progress")
    steps = [json.loads(line) for line in ran.err.splitlines() if line.startswith("{")]
    assert steps[0]["files_done"] == 0
    assert (steps[-1]["files_done"], steps[-1]["files_total"], steps[-1]["pages_done"]) == (3, 3, 3)
    assert len(ran.json["files"]) == 3


def test_a_second_run_says_unchanged_and_stays_quiet_without_a_terminal(
    ragformer: Ragformer, write_pdf: WritePdf
) -> None:
    path = write_pdf("cats.pdf", CATS)
    first = ragformer("index", path)
    assert (first.code, first.err) == (0, "")
    assert first.out.startswith("1 added, 1 page read in ")
    assert ragformer("index", path).out.startswith("1 unchanged, 0 pages read in ")


def test_list_has_an_object_for_every_file(ragformer: Ragformer, docs: Path) -> None:
    assert (ragformer("list", "--json").json, ragformer("list").code) == ([], 0)
    ragformer("index", docs)
    rows = ragformer("list", "--json").json
    assert all(
        list(row)
        == [
            "path",
            "document_id",
            "title",
            "status",
            "reason",
            "pages",
            "page_counts",
            "unread_pages",
            "language",
            "added_at",
        ]
        for row in rows
    )
    assert [(Path(row["path"]).name, row["status"]) for row in rows] == [
        ("cats.pdf", "indexed"),
        ("picture.pdf", "failed"),
        ("tax.pdf", "indexed"),
    ]
    assert rows[0]["page_counts"] == {"text": 1, "ocr": 0, "empty": 1, "failed": 0}
    words = ragformer("list").out
    assert "docs/cats.pdf: 2 pages, 1 without text" in words
    assert "docs/picture.pdf: failed: " in words


def test_a_file_of_which_no_page_could_be_read_is_listed_as_such(
    ragformer: Ragformer, write_pdf: WritePdf
) -> None:
    ragformer("index", write_pdf("scan.pdf", "", ""))
    assert "docs/scan.pdf: 2 pages, none with text" in ragformer("list").out


def test_show_gives_the_text_that_offsets_count_in(ragformer: Ragformer, docs: Path) -> None:
    ragformer("index", docs)
    page = ragformer("show", "cats.pdf:1", "--json").json
    assert list(page) == [
        "path",
        "document_id",
        "title",
        "page",
        "page_label",
        "status",
        "reason",
        "text",
        "words",
    ]
    first = page["words"][0]
    assert page["text"][first["start"] : first["end"]] == "The"
    assert len(first["box"]) == 4
    assert ragformer("show", "cats.pdf:1").out == page["text"] + "\n"
    (hit, *_) = ragformer("search", "tax returns", "-k", "1", "--json").json
    (span,) = hit["spans"]
    shown = ragformer("show", f"{hit['document_id']}:{span['page']}", "--json").json
    assert shown["text"][span["start"] : span["end"]] == hit["text"]
    empty = ragformer("show", "cats.pdf:2")
    assert (empty.code, empty.out) == (0, "")
    assert "has no text" in empty.err


def test_show_describes_a_document(ragformer: Ragformer, docs: Path) -> None:
    ragformer("index", docs)
    form = ragformer("show", docs / "cats.pdf", "--json").json
    assert form["paths"] == [str(docs / "cats.pdf")]
    assert (form["title"], form["pages"], form["outline"]) == ("cats", 2, [])
    said = ragformer("show", form["document_id"][:6])
    assert said.out.startswith("cats\n2 pages, 1 without text\nid ")


@pytest.mark.parametrize("name", ["dogs.pdf", "cats.pdf:3", "cats.pdf:0", "cats.pdf:x", ":1"])
def test_what_is_not_there_is_said_in_one_sentence(
    ragformer: Ragformer, docs: Path, name: str
) -> None:
    ragformer("index", docs)
    ran = ragformer("show", name)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("ragformer: ")
    assert ran.err.count("\n") == 1


def test_an_ambiguous_name_lists_the_candidates(ragformer: Ragformer, write_pdf: WritePdf) -> None:
    ragformer("index", write_pdf("a/x.pdf", CATS), write_pdf("b/x.pdf", TAX))
    ran = ragformer("show", "x.pdf")
    assert ran.code == 1
    assert "a/x.pdf" in ran.err
    assert "b/x.pdf" in ran.err
    assert ragformer("rm", "x.pdf", "--yes").code == 1
    assert len(ragformer("list", "--json").json) == 2


def test_rm_asks_first_and_leaves_the_file(ragformer: Ragformer, docs: Path) -> None:
    ragformer("index", docs)
    assert ragformer("rm", "cats.pdf", stdin=b"n\n").code == 1
    assert len(ragformer("list", "--json").json) == 3
    assert ragformer("rm", "cats.pdf", stdin=b"y\n").code == 0
    assert ragformer("rm", "sub/tax.pdf", "--yes").out == "removed docs/sub/tax.pdf\n"
    assert ragformer("rm", "picture.pdf").out == "removed docs/picture.pdf\n"
    assert ragformer("list", "--json").json == []
    assert ragformer("rm", "cats.pdf", "--yes").code == 1
    assert (docs / "cats.pdf").exists()


def test_rm_without_anyone_to_ask_says_what_to_do(ragformer: Ragformer, docs: Path) -> None:
    ragformer("index", docs)
    ran = ragformer("rm", "cats.pdf")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.splitlines()[-1].startswith("nobody answered, so nothing was removed; ")
    assert "--yes" in ran.err
    assert len(ragformer("list", "--json").json) == 3


def test_a_name_of_two_lines_takes_one(ragformer: Ragformer, write_pdf: WritePdf) -> None:
    path = write_pdf("two\nlines\u2028.pdf", CATS)
    shown = "docs/two\\nlines\\u2028.pdf"
    ragformer("index", path)
    assert ragformer("list").out == f"{shown}: 1 page\n"
    assert ragformer("show", path).out.splitlines()[-1] == shown
    assert ragformer("list", "--json").json[0]["path"] == str(path)
    assert ragformer("rm", path, "--yes").out == f"removed {shown}\n"
    path.write_bytes(b"")
    assert len(ragformer("index", path).err.splitlines()) == 1
    assert len(ragformer("list").out.splitlines()) == 1


def test_collections_are_listed_and_apart(ragformer: Ragformer, docs: Path) -> None:
    assert ragformer("collections", "--json").json == []
    ragformer("index", docs, "-c", "first")
    ragformer("index", docs / "cats.pdf", "--collection", "second")
    found = ragformer("collections", "--json").json
    assert [list(c) for c in found] == [
        ["name", "path", "documents", "failed", "pages", "chunks", "fault"]
    ] * 2
    assert [(c["name"], c["documents"], c["failed"]) for c in found] == [
        ("first", 2, 1),
        ("second", 1, 0),
    ]
    assert ragformer("collections").out.startswith("first: 2 documents, 3 pages, 1 failed\n")
    missing = ragformer("list", "-c", "third")
    assert missing.code == 1
    assert "there are: first, second" in missing.err


@pytest.mark.parametrize("way", ["given", "piped"])
def test_a_password_comes_from_the_line_or_from_stdin(
    ragformer: Ragformer, write_pdf: WritePdf, way: str
) -> None:
    path = write_pdf("secret.pdf", CATS, password="tiger")
    closed = ragformer("index", path, "--json")
    assert closed.code == 0
    assert "needs a password" in closed.json["files"][0]["reason"]
    ways = {"given": ("tiger", b""), "piped": ("-", b"tiger\n")}
    word, stdin = ways[way]
    opened = ragformer("index", path, "--password", word, "--json", stdin=stdin)
    assert opened.json["files"][0]["status"] == "added"


def test_a_report_names_its_troubles_briefly() -> None:
    path = Path("/x/y.pdf")
    many = FileOutcome(path, "a", "added", pages=99, unread_pages=tuple(range(1, 31)))
    whole = FileOutcome(path, "b", "added", pages=3, unread_pages=(1, 2, 3))
    single = FileOutcome(path, "c", "unchanged", pages=1, unread_pages=(1,))
    report = Report((many, whole, single), 1, 2, 3.21)
    assert summary(report) == "2 added, 1 unchanged, 1 page read in 3.2 s"
    lines = troubles(report)
    assert lines[0].endswith("30 of 99 pages: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 and 18 more")
    assert lines[1].endswith("all 3 pages")
    assert lines[2].endswith("its only page")


def test_files_in_another_language_share_one_line() -> None:
    languages = ["de", "en", "", "fr", "de", "de", "de", "ru"]
    files = tuple(
        FileOutcome(Path(f"/x/{n}.pdf"), "a", "added", language=language)
        for n, language in enumerate(languages)
    )
    (line,) = troubles(Report(files, 1, 2, 3.0))
    assert line == (
        "not English, so search by meaning is weak: /x/0.pdf (de), /x/3.pdf (fr), /x/4.pdf (de),"
        " /x/5.pdf (de), /x/6.pdf (de), 1 more"
    )
    assert troubles(Report(files[1:3], 1, 2, 3.0)) == []


def test_progress_says_files_pages_a_second_and_time_left() -> None:
    start = Progress(0, 2, 0, 0)
    reading = Progress(0, 2, 0, 0, pages_read=300, pages_total=2400)
    embedding = Progress(1, 2, 600, 900, pages_read=1200, pages_total=2400)
    assert progress_line(start, 0.0) == "indexing 0/2 files"
    assert progress_line(reading, 0.0) == "indexing 0/2 files, 300 of 2,400 pages read"
    assert progress_line(embedding, 48.0) == "indexing 1/2 files, 12.5 pages/s, 02:24 left"


def test_the_bar_is_drawn_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    report = Report((), 0, 0, 0.0)
    for terminal in (True, False):
        stream = io.StringIO()
        monkeypatch.setattr(stream, "isatty", lambda terminal=terminal: terminal)
        with monkeypatch.context() as patch:
            patch.setattr("sys.stderr", stream)
            assert follow(iter([Progress(0, 2, 0, 0), report])) is report
        assert ("indexing" in stream.getvalue()) is terminal


class Screen:
    """A stream that says whether it is a terminal."""

    def __init__(self, terminal: bool) -> None:
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


def test_a_terminal_gets_no_control_characters_and_a_file_gets_all() -> None:
    hostile = "a\x1b[31mred\x9b2J\x07\u202egpj.exe\r\ttab\nend\x7f"
    assert safe(hostile, Screen(True)) == "a[31mred2Jgpj.exe\ttab\nend"  # type: ignore[arg-type]
    assert safe(hostile, Screen(False)) == hostile  # type: ignore[arg-type]
