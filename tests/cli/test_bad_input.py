"""Bad input gets one plain sentence and the right exit code, and loses nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ragformer.store.lock import LOCK

WritePdf = Callable[..., Path]
Ragformer = Callable[..., Any]
CATS = "The cat sleeps eighteen hours a day. It hunts at night near the river."


@pytest.fixture
def good(ragformer: Ragformer, write_pdf: WritePdf) -> Iterator[Path]:
    """A file that is indexed, and after the test still is, as it was."""
    path = write_pdf("good.pdf", CATS)
    assert ragformer("index", path).code == 0
    before = ragformer("show", path, "--json").json
    yield path
    assert ragformer("show", path, "--json").json == before
    assert ragformer("doctor", "--check").code == 0


def sentence(err: str) -> str:
    """The one line on stderr."""
    assert err.endswith("\n")
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize(
    ("name", "said"),
    [("missing.pdf", "there is no file or folder"), ("empty", "there is no PDF in")],
)
def test_a_path_that_leads_to_nothing(
    ragformer: Ragformer, good: Path, tmp_path: Path, name: str, said: str
) -> None:
    (tmp_path / "empty").mkdir()
    ran = ragformer("index", tmp_path / name)
    assert (ran.code, ran.out) == (1, "")
    assert f"{said} {tmp_path / name}" in sentence(ran.err)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty (0 bytes)"),
        (b"\x89PNG\r\n\x1a\n" + bytes(200), "is not a PDF, or too damaged to open"),
        (b"%PDF-1.7\n", "is not a PDF, or too damaged to open"),
    ],
    ids=["empty", "png", "truncated"],
)
def test_a_file_that_is_no_pdf_is_reported_and_stops_nothing(
    ragformer: Ragformer, good: Path, write_pdf: WritePdf, content: bytes, said: str
) -> None:
    bad = write_pdf("folder/bad.pdf", CATS)
    bad.write_bytes(content)
    write_pdf("folder/fine.pdf", "Bees dance to tell where the flowers are.")
    ran = ragformer("index", bad.parent, "--json")
    assert ran.code == 0
    assert [file["status"] for file in ran.json["files"]] == ["failed", "added"]
    assert said in ran.json["files"][0]["reason"]
    assert said in sentence(ran.err)


def test_a_pdf_cut_in_half_is_accounted_for(
    ragformer: Ragformer, good: Path, write_pdf: WritePdf
) -> None:
    path = write_pdf("half.pdf", *[f"{CATS} {n}" for n in range(30)])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (file,) = ragformer("index", path, "--json").json["files"]
    assert file["status"] in ("added", "failed")
    assert file["status"] == "added" or file["reason"]


def test_a_wrong_password_says_so(ragformer: Ragformer, good: Path, write_pdf: WritePdf) -> None:
    path = write_pdf("secret.pdf", CATS, password="tiger")
    ran = ragformer("index", path, "--password", "lion")
    assert ran.code == 0
    assert "does not open with the password given (1 tried)" in sentence(ran.err)


@pytest.mark.parametrize("command", ["ask", "search"])
@pytest.mark.parametrize(
    ("question", "said"),
    [("", "is empty"), (" \n\t", "is empty"), ("x" * 100_000, "100,000 characters and at most")],
    ids=["none", "blank", "long"],
)
def test_a_question_of_the_wrong_length(
    ragformer: Ragformer, good: Path, command: str, question: str, said: str
) -> None:
    ran = ragformer(command, question)
    assert (ran.code, ran.out) == (1, "")
    assert said in sentence(ran.err)


@pytest.mark.parametrize(
    "question", ["猫はどこですか", "где кошка?", "؟", "🐈", "\udcff", "'\"*()"]
)
def test_a_question_in_another_script_is_just_a_question(
    ragformer: Ragformer, good: Path, question: str
) -> None:
    assert ragformer("search", question).code == 0
    ran = ragformer("ask", question, "--json")
    assert ran.code in (0, 3)
    assert ran.json["abstained"] is (ran.code == 3)


# An ordinary user may not be able to read root's Python: first do the same in another home, as who
# we are, which loads every module, then give up the rights.
AS_NOBODY = """
import contextlib, io, os, sys
from ragformer_cli.main import run
pdf, warm, home, *arguments = sys.argv[1:]
os.environ["RAGFORMER_HOME"] = warm
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    run(["index", pdf]), run(["ask", "x"]), run(["search", "x"])
os.environ["RAGFORMER_HOME"] = home
if os.getuid() == 0:
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
sys.exit(run(arguments))
"""


def as_nobody(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as an ordinary user, who may not write what root made."""
    own = {"RAGFORMER_MODELS": str(folder / "models"), "XDG_CONFIG_HOME": str(folder)}
    places = [str(folder / name) for name in ("good.pdf", "warm", "home")]
    return subprocess.run(
        [sys.executable, "-c", AS_NOBODY, *places, *arguments],
        env=os.environ | own,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def read_only(good: Path, home: Path, tiny_models: Path) -> Iterator[Path]:
    """A folder with copies of home, models and good.pdf that all may read; nobody writes home."""
    if os.name == "nt":
        pytest.skip("this system has no permission bits to take away")
    # Not below pytest's own folder, which only its owner may enter.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(home, folder / "home")
        shutil.copytree(tiny_models, folder / "models")
        shutil.copy(good, folder)
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
        locked = [folder / "home", *(folder / "home").rglob("*")]
        for path in locked:
            path.chmod(0o555 if path.is_dir() else 0o444)
        yield folder
        for path in locked:
            path.chmod(0o700)


def test_a_read_only_home_answers_and_says_the_chat_is_not_saved(read_only: Path) -> None:
    ran = as_nobody(read_only, "ask", "How long does the cat sleep?")
    assert (ran.returncode in (0, 3), bool(ran.stdout)) == (True, True)
    assert "the chat is not saved" in sentence(ran.stderr)
    assert as_nobody(read_only, "search", "cat").returncode == 0
    refused = as_nobody(read_only, "index", "good.pdf")
    assert refused.returncode == 1
    assert str(read_only / "home") in sentence(refused.stderr)
    assert as_nobody(read_only, "rm", "good.pdf", "--yes").returncode == 1
    assert not list(read_only.rglob("home/**/chats.db"))


def test_two_indexers_at_once(
    ragformer: Ragformer, good: Path, write_pdf: WritePdf, home: Path
) -> None:
    code = (
        "import sys; from ragformer.store.lock import indexer_lock; from pathlib import Path\n"
        "with indexer_lock(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    folder = home / "collections" / "default"
    holder = subprocess.Popen(
        [sys.executable, "-c", code, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        new = write_pdf("new.pdf", CATS)
        ran = ragformer("index", new)
        assert ran.code == 1
        assert f"process {holder.pid} is indexing the collection" in sentence(ran.err)
        assert (folder / LOCK).exists()
        assert ragformer("search", "cat").code == 0
        holder.communicate()
    assert ragformer("index", new).code == 0


def test_a_full_disk_is_said_and_nothing_is_lost(
    ragformer: Ragformer, good: Path, write_pdf: WritePdf, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ragformer.store import files

    connect = files._open

    def on_a_full_disk(database: Path, how: str) -> Any:
        connection = connect(database, how)
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        return connection

    large = write_pdf("large.pdf", *[f"{CATS} {n}" for n in range(60)])
    monkeypatch.setattr(files, "_open", on_a_full_disk)
    ran = ragformer("index", large)
    assert ran.code == 1
    assert "no space is left" in sentence(ran.err)
    monkeypatch.setattr(files, "_open", connect)
    assert len(ragformer("list", "--json").json) == 1


def test_a_damaged_store_is_named_and_left_alone(
    ragformer: Ragformer, write_pdf: WritePdf, home: Path
) -> None:
    assert ragformer("index", write_pdf("a.pdf", CATS)).code == 0
    database = home / "collections" / "default" / "store.db"
    database.write_bytes(b"this is no database" * 500)
    ran = ragformer("list")
    assert ran.code == 1
    assert "is damaged" in sentence(ran.err)
    assert database.read_bytes().startswith(b"this is no database")


def test_index_and_ask_open_no_socket(home: Path, write_pdf: WritePdf) -> None:
    """Of all that a process can do, audit hooks see each socket that is made."""
    path = write_pdf("a.pdf", CATS)
    code = (
        "import sys\n"
        "def look(event, arguments):\n"
        "    if event.startswith('socket.'): sys.exit(f'opened a socket: {event}')\n"
        "sys.addaudithook(look)\n"
        "from ragformer_cli.main import run\n"
        "codes = run(['index', sys.argv[1]]), run(['ask', 'How long does the cat sleep?'])\n"
        "if 'openai' in sys.modules: sys.exit('imported openai')\n"
        "sys.exit(0 if codes[0] == 0 and codes[1] in (0, 3) else str(codes))"
    )
    command = [sys.executable, "-c", code, str(path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize(
    ("command", "option", "value", "why"),
    [
        ("train encoder", "--save-every", "0", "0 is not in the range x>=1"),
        ("train decoder", "--dev-every", "0", "0 is not in the range x>=1"),
        ("train encoder", "--max-tokens", "0", "0 is not in the range x>=1"),
        ("train encoder", "--chunk", "-1", "-1 is not in the range x>=0"),
        ("train decoder", "--batch", "-8", "-8 is not in the range x>=1"),
        ("train decoder", "--steps", "-1", "-1 is not in the range x>=0"),
        ("train encoder", "--minutes", "nan", "'nan' is not a finite number"),
        ("train encoder", "--bag-minutes", "-1", "-1.0 is not in the range x>=0"),
        ("train decoder", "--peak-rate", "inf", "inf is not in the range 0<=x<=1"),
        ("train decoder", "--cloze-share", "1.5", "1.5 is not in the range 0<=x<=1"),
        ("train confidence", "--coverage", "nan", "'nan' is not a finite number"),
        ("train tokenizer", "--threads", "0", "0 is not in the range x>=1"),
        ("adapt", "--minutes", "nan", "'nan' is not a finite number"),
        ("calibrate", "--error-rate", "nan", "'nan' is not a finite number"),
    ],
)
def test_numbers_that_nothing_can_be_trained_with_are_refused(
    ragformer, command, option, value, why
):
    ran = ragformer(*command.split(), option, value)
    assert (ran.code, why in ran.err) == (2, True), ran.err
