"""Which files a walk finds: each once, none that is hidden or ignored."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_documents import CATS, WritePdf

from ragformer.errors import InputError
from ragformer.walk import IGNORE_FILE, Ignoring, find_files


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


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_the_nearest_ignore_file_has_the_last_word_and_those_above_count(tmp_path: Path) -> None:
    kept = {tmp_path / name for name in ("a/b/keep.pdf", "a/wanted.pdf")}
    left_out = {tmp_path / name for name in ("a/x.pdf", "a/b/y.pdf", "a/old/keep.pdf", "a/c/z.pdf")}
    touch(*kept, *left_out)
    (tmp_path / IGNORE_FILE).write_bytes(b"\xef\xbb\xbf*.pdf\r\n!wanted.pdf\nold/\n")
    (tmp_path / "a" / "b" / IGNORE_FILE).write_text("# all but this one\n!keep.pdf\n")
    (tmp_path / "a" / "c" / IGNORE_FILE).mkdir()
    for root in (tmp_path, tmp_path / "a"):
        assert set(find_files([root]).files) == kept
    assert set(find_files([tmp_path / "a" / "x.pdf", tmp_path / "a" / "old"]).files) == {
        tmp_path / "a" / "x.pdf"  # named itself; what is in a named folder is not
    }


def test_a_walk_names_the_folders_that_links_led_to(tmp_path: Path) -> None:
    touch(tmp_path / "docs" / "a.pdf", tmp_path / "far" / "sub" / "b.pdf")
    (tmp_path / "docs" / "link").symlink_to(tmp_path / "far")
    (tmp_path / "docs" / "twice").symlink_to(tmp_path / "far" / "sub")
    found = find_files([tmp_path / "docs"])
    link = tmp_path / "docs" / "link"
    assert (set(found.files), found.folders) == (
        {tmp_path / "docs" / "a.pdf", link / "sub" / "b.pdf"},
        (link, tmp_path / "docs" / "twice"),
    )


names = st.sampled_from(["a", "b", "ab", "a b", "c.pdf", "b.pdf", "é.pdf"])
patterns = st.lists(
    st.tuples(
        st.sampled_from(["", "!"]),
        st.lists(
            st.sampled_from(["a", "b", "*", "**", "?", "/", ".pdf", "[ab]", "é", "c"]), max_size=5
        ),
        st.sampled_from(["", "/"]),
    ).map(lambda parts: parts[0] + "".join(parts[1]) + parts[2]),
    max_size=4,
)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty git repository; without git the test skips."""
    if shutil.which("git") is None:
        pytest.skip("there is no git here to compare with")
    folder = tmp_path_factory.mktemp("repository")
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    return folder


@given(
    st.lists(st.lists(names, min_size=1, max_size=3), min_size=1, max_size=6),
    st.dictionaries(st.sampled_from(["", "a", "b", "a/b"]), patterns, max_size=3),
)
def test_what_is_ignored_is_what_git_ignores(
    repository: Path, tree: list[list[str]], rules: dict[str, list[str]]
) -> None:
    with tempfile.TemporaryDirectory(dir=repository) as name:
        root = Path(name).resolve()
        for parts in tree:
            path = root.joinpath(*parts).with_suffix(".pdf")
            if not any(parent.is_file() for parent in path.parents) and not path.exists():
                touch(path)
        for folder, lines in rules.items():
            if (root / folder).is_dir():
                good = [line for line in lines if line.strip("!/")]
                (root / folder / IGNORE_FILE).write_text("\n".join(good))
        only = ["--others", "-z", f"--exclude-per-directory={IGNORE_FILE}", "--", "*.pdf"]
        listed = subprocess.run(
            ["git", "-C", str(root), "ls-files", *only], check=True, capture_output=True
        ).stdout
        wanted = {root / os.fsdecode(line) for line in listed.split(b"\0") if line}
        assert set(find_files([root]).files) == wanted
        everything = {path for path in root.rglob("*.pdf") if path.is_file()}
        ignoring = Ignoring()
        assert {path for path in everything if not ignoring.lost(path, [root])} == wanted
