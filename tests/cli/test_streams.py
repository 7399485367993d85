"""Streams that are closed, full, left early or in another encoding, and a folder that is gone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from ragformer.store.chats import Chats

WritePdf = Callable[..., Path]
Ragformer = Callable[..., Any]
CATS = "The cat sleeps eighteen hours a day. It hunts at night near the river."
QUESTION = "How long does the cat sleep?"
READER_GONE = 141
PROGRAM = "import sys; from ragformer_cli.main import run; sys.exit(run())"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="this system has no POSIX shell")


@pytest.fixture
def good(ragformer: Ragformer, write_pdf: WritePdf) -> Path:
    """A file that is indexed."""
    path = write_pdf("good.pdf", CATS)
    assert ragformer("index", path).code == 0
    return path


@contextmanager
def nobody_reads() -> Iterator[None]:
    """stdout is a pipe, and nobody is at its other end."""
    ours, theirs = os.pipe()
    os.close(ours)
    with os.fdopen(theirs, "w") as stream, redirect_stdout(stream):
        yield


def shell(line: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which `ragformer` is the command line."""
    script = f"ragformer() {{ '{sys.executable}' -c '{PROGRAM}' \"$@\"; }}\n{line}"
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)


@pytest.mark.usefixtures("good")
def test_a_closed_stream_takes_what_it_is_given() -> None:
    assert shell("ragformer list <&- 2>&-").stdout.startswith("docs/good.pdf: 1 page")
    ran = shell("ragformer list <&- >&-")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_a_closed_stdin_is_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    from ragformer_cli.main import run

    monkeypatch.setattr("sys.stdin", None)
    assert run(["chat"]) == 0
    sys.stdin.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.usefixtures("good")
def test_output_that_cannot_be_written_is_one_sentence() -> None:
    for command in ("list", "list --json", "--help"):
        ran = shell(f"ragformer {command} >/dev/full")
        said = "ragformer: cannot read or write its input or output: No space left on device\n"
        assert (ran.returncode, ran.stderr) == (1, said), command


@pytest.mark.usefixtures("good")
def test_a_reader_that_goes_away_is_no_error() -> None:
    for command in ("list", "list --json", "--help"):
        ran = shell(f"ragformer {command} | true; echo ${{PIPESTATUS[0]}}")
        assert (ran.stdout, ran.stderr) == (f"{READER_GONE}\n", ""), command


@pytest.mark.usefixtures("good")
def test_an_answer_nobody_reads_to_its_end_is_kept(
    ragformer: Ragformer, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAGFORMER_THRESHOLD", "0")
    for options in ([], ["--no-stream"], ["--json"]):
        with nobody_reads():
            ran = ragformer("ask", QUESTION, *options)
        assert (ran.code, ran.err) == (0, ""), options
    chats = Chats(home / "collections" / "default")
    assert [chats.turns(n)[0].question for n in (1, 2, 3)] == [QUESTION] * 3


@pytest.mark.usefixtures("good")
def test_chat_and_batch_stop_when_nobody_reads(ragformer: Ragformer, home: Path) -> None:
    for command in (["chat"], ["search", "--batch", "-"]):
        with nobody_reads():
            ran = ragformer(*command, stdin=b"one\ntwo\nthree\n")
        assert (ran.code, ran.err) == (READER_GONE, ""), command
    assert [turn.question for turn in Chats(home / "collections" / "default").turns(1)] == ["one"]


@pytest.mark.usefixtures("good")
def test_a_question_in_another_encoding_is_asked_with_what_can_be_read(
    ragformer: Ragformer,
) -> None:
    form = ragformer("ask", "-", "--json", stdin=b"a caf\xe9 cat?").json
    assert form["question"] == "a caf\ufffd cat?"
    ran = ragformer("chat", stdin=b"a caf\xe9 cat?\n")
    assert (ran.code, bool(ran.out), ran.err) == (0, True, "")


def test_a_working_folder_that_is_gone_shows_whole_paths(
    ragformer: Ragformer, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    for command in (["list"], ["show", good], ["search", "cat"], ["rm", good, "--yes"]):
        ran = ragformer(*command)
        assert (str(good) in ran.out, ran.err) == (True, ""), command
