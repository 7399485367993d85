"""Files from a browser: whatever they are called, they lie in one folder under plain names."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ragformer_ui.uploads import readable_place

from ragformer.errors import InputError
from ragformer.store.uploads import UPLOADS, drop_uploads, safe_name, save_upload


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("report.pdf", "report.pdf"),
        ("Report.PDF", "Report.pdf"),
        ("../../etc/passwd", "passwd.pdf"),
        ("C:\\temp\\a.pdf", "a.pdf"),
        ("...hidden.pdf", "hidden.pdf"),
        ("a\x00b\n\u202egpj.pdf", "abgpj.pdf"),
        ("", "document.pdf"),
        ("..", "document.pdf"),
        ("e\u0301t\u00e9.pdf", "été.pdf"),
        ("-rf.pdf", "-rf.pdf"),
    ],
)
def test_names_are_made_safe(given: str, name: str) -> None:
    assert safe_name(given) == name


@given(st.text())
def test_no_name_leads_anywhere(text: str) -> None:
    name = safe_name(text)
    assert Path(name).name == name
    assert name.endswith(".pdf")
    assert not name.startswith(".")
    assert len(name.encode()) <= 200
    assert safe_name(name) == name


def test_the_same_bytes_make_one_file_and_others_get_a_number(tmp_path: Path) -> None:
    first, is_new = save_upload(tmp_path / "home" / "c", "a.pdf", io.BytesIO(b"one"))
    assert is_new
    assert first == tmp_path / "home" / "c" / UPLOADS / "a.pdf"
    assert save_upload(tmp_path / "home" / "c", "a.pdf", io.BytesIO(b"one")) == (first, False)
    second, _ = save_upload(tmp_path / "home" / "c", "x/a.pdf", io.BytesIO(b"two"))
    assert (second.name, second.read_bytes()) == ("a (2).pdf", b"two")
    assert sorted(path.name for path in first.parent.iterdir()) == ["a (2).pdf", "a.pdf"]
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    for folder in (first.parent, first.parents[1], first.parents[2]):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("links", [True, False])
def test_two_files_of_one_name_that_come_at_the_same_time_are_both_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", _cannot)
    others: dict[Path, bytes] = {}

    class Slow(io.BytesIO):
        def seek(self, at: int, whence: int = 0, /) -> int:
            """Another file is saved whenever this one is about to be read."""
            content = b"%d" % len(others)
            others[save_upload(tmp_path, "a.pdf", io.BytesIO(content))[0]] = content
            return super().seek(at, whence)

    mine, _ = save_upload(tmp_path, "a.pdf", Slow(b"mine"))
    assert len(others) >= 2
    found = {path: path.read_bytes() for path in mine.parent.iterdir()}
    assert found == {mine: b"mine", **others}


def _cannot(*_: object) -> None:
    raise PermissionError(1, "Operation not permitted")


def test_the_same_file_from_two_sides_at_once_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, seen = os.link, []

    def meanwhile(part: Path, path: Path) -> None:
        """Another saves the same just before this one gets its name."""
        monkeypatch.setattr(os, "link", link)
        seen.append(save_upload(tmp_path, "a.pdf", io.BytesIO(b"one")))
        link(part, path)

    monkeypatch.setattr(os, "link", meanwhile)
    mine = save_upload(tmp_path, "a.pdf", io.BytesIO(b"one"))
    assert [mine, *seen] == [(tmp_path / UPLOADS / "a.pdf", new) for new in (False, True)]
    assert [path.name for path in mine[0].parent.iterdir()] == ["a.pdf"]


def test_only_our_copies_are_deleted(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.pdf"
    theirs.write_bytes(b"1")
    ours, _ = save_upload(tmp_path / "c", "ours.pdf", io.BytesIO(b"2"))
    drop_uploads(tmp_path / "c", [theirs, ours])
    assert (theirs.exists(), ours.exists()) == (True, False)


def test_a_place_on_this_machine_is_looked_at_before_it_is_taken(tmp_path: Path) -> None:
    (tmp_path / "papers").mkdir()
    (tmp_path / "a.pdf").write_bytes(b"1")
    (tmp_path / "a.txt").write_bytes(b"1")
    assert readable_place(f" {tmp_path}/papers/../papers ") == tmp_path / "papers"
    assert readable_place(str(tmp_path / "a.pdf")) == tmp_path / "a.pdf"
    for wrong, why in (
        ("  ", "give the path"),
        ("papers", "whole path"),
        (str(tmp_path / "gone"), "nothing at"),
        (str(tmp_path / "a.txt"), "neither a folder nor a PDF"),
        ("/", "whole disk"),
    ):
        with pytest.raises(InputError, match=why):
            readable_place(wrong)
