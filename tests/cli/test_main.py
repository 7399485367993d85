"""The edge: what the command line loads, how errors leave it, and the commands about itself."""

from __future__ import annotations

import os
import random
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from ragformer_cli.main import main, run

WritePdf = Callable[..., Path]
Ragformer = Callable[..., Any]
HEAVY = ("torch", "faiss", "numpy", "sentencepiece", "pypdfium2", "tqdm")


def python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("command", "light"),
    [("--help", HEAVY), ("--version", HEAVY), ("ask --help", HEAVY), ("list", ("torch", "faiss"))],
)
@pytest.mark.usefixtures("home")
def test_a_command_loads_only_what_it_needs(command: str, light: tuple[str, ...]) -> None:
    code = (
        "import sys; from ragformer_cli.main import run; code = run(sys.argv[1:]);"
        f"print(sorted(set({light!r}) & set(sys.modules)), file=sys.stderr); sys.exit(code)"
    )
    ran = python(code, *command.split())
    assert (ran.returncode, ran.stderr.splitlines()[-1]) == (0, "[]")


def commands(group: click.Command, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The words of every command, groups included."""
    found = [path]
    if isinstance(group, click.Group):
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            found += commands(command, (*path, name))
    return found


@pytest.mark.parametrize("words", commands(main), ids=" ".join)
def test_every_command_explains_itself(ragformer: Ragformer, words: tuple[str, ...]) -> None:
    ran = ragformer(*words, "--help")
    assert (ran.code, ran.err) == (0, "")
    usage, _, rest = ran.out.partition("\n\n")
    assert usage.startswith(" ".join(["Usage: ragformer", *words]))
    assert rest.strip()


def test_a_group_without_a_command_is_a_usage_error(ragformer: Ragformer) -> None:
    assert ragformer("models").code == 2


def test_an_unexpected_error_is_one_sentence_and_a_trace_when_asked_for(
    ragformer: Ragformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    @main.command("break")
    def _break() -> None:
        raise ZeroDivisionError("a bug\nin two lines")

    try:
        ran = ragformer("break")
        assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)
        assert ran.err.startswith("ragformer: unexpected ZeroDivisionError: a bug in two lines; ")
        monkeypatch.setenv("RAGFORMER_DEBUG", "1")
        assert "Traceback" in ragformer("break").err
    finally:
        del main.commands["break"]


def test_ctrl_c_is_130(ragformer: Ragformer) -> None:
    @main.command("stop")
    def _stop() -> None:
        raise KeyboardInterrupt

    try:
        ran = ragformer("stop")
        assert ran.code == 130
        assert ran.err.strip() == "ragformer: interrupted; what was finished is kept"
    finally:
        del main.commands["stop"]


@pytest.mark.skipif(sys.platform == "win32", reason="this system has no pseudo-terminals")
@pytest.mark.usefixtures("home")
def test_a_terminal_sees_files_pages_and_time_left(write_pdf: WritePdf) -> None:
    import fcntl
    import pty
    import termios

    path = write_pdf("a.pdf", *["A sentence about cats."] * 3)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 90, 0, 0))
    code = "import sys; from ragformer_cli.main import run; sys.exit(run())"
    command = [sys.executable, "-c", code, "index", str(path)]
    ran = subprocess.run(command, stderr=theirs, stdout=subprocess.PIPE, text=True, check=True)
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert re.search(r"indexing 1/1 files, [\d.,]+ pages/s, 00:00 left \|", shown)
    assert ran.stdout.startswith("1 added, 3 pages read")


def test_a_wrong_setting_is_named(ragformer: Ragformer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGFORMER_COLECTION", "x")
    ran = ragformer("list")
    assert ran.code == 1
    assert "did you mean collection?" in ran.err


def test_doctor_says_where_each_setting_comes_from(
    ragformer: Ragformer, home: Path, write_pdf: WritePdf
) -> None:
    form = ragformer("doctor", "-c", "default", "--json").json
    assert form["settings"]["home"] == {"value": str(home), "origin": "RAGFORMER_HOME"}
    assert form["settings"]["collection"]["origin"] == "flag"
    assert form["settings"]["k"] == {"value": 8, "origin": "default"}
    assert set(HEAVY) - {"faiss", "tqdm"} <= set(form["versions"])
    assert (form["faults"], form["repairs"]) == ([], [])
    ragformer("index", write_pdf("a.pdf", "A sentence about cats."))
    assert "the collection is sound" in ragformer("doctor", "--check").out
    assert f"home = {home}  (RAGFORMER_HOME)" in ragformer("doctor").out


def test_doctor_finds_faults_and_repairs_them(
    ragformer: Ragformer, home: Path, write_pdf: WritePdf
) -> None:
    from ragformer.store.store import Store

    ragformer("index", write_pdf("a.pdf", "A sentence about cats."))
    with Store.open(home / "collections" / "default") as store:
        store.query("DELETE FROM vectors")
    assert ragformer("doctor").code == 0
    checked = ragformer("doctor", "--check")
    assert checked.code == 1
    assert "fault: 1 chunks have too few vectors" in checked.out
    repaired = ragformer("doctor", "--repair", "--json")
    assert (repaired.code, repaired.json["faults"]) == (0, [])
    assert "embedded 1 chunks" in repaired.json["repairs"]


def test_paths_and_models_say_what_is_used(
    ragformer: Ragformer, home: Path, tiny_models: Path
) -> None:
    found = ragformer("paths", "--json").json
    assert found["home"] == str(home)
    assert found["collection"] == str(home / "collections" / "default")
    assert found["models"] == str(tiny_models)
    assert ragformer("paths", "-c", "x").out.count(str(home / "collections" / "x")) == 1
    models = ragformer("models", "list", "--json").json
    assert [list(model) for model in models] == [["kind", "id", "path", "bytes"]] * 2
    info = ragformer("models", "info", "encoder", "--json").json
    assert info["id"] == models[0]["id"]
    assert info["config"]["transformer"]["causal"] is False
    assert ragformer("models", "info", "decoder").out.startswith(f"decoder {models[1]['id']}")
    assert not home.exists()


def test_an_imported_encoder_indexes_and_finds(
    ragformer: Ragformer,
    home: Path,
    write_bert: Callable[..., Path],
    write_pdf: WritePdf,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran = ragformer("models", "import", write_bert("minibert"), "--query-prefix", "query: ")
    folder = home / "models" / "minibert"
    assert (ran.code, ran.out.startswith(f"wrote {folder}; ")) == (0, True)
    assert ran.err == "not used: pooler.dense.bias, pooler.dense.weight\n"
    again = ragformer("models", "import", write_bert("minibert"))
    assert (again.code, "is there already" in again.err) == (1, True)
    pdf = write_pdf("a.pdf", "A sentence about cats.")
    ragformer("index", pdf)
    monkeypatch.setenv("RAGFORMER_ENCODER", str(folder))
    assert ragformer("doctor", "--json").json["settings"]["encoder"] == {
        "value": str(folder),
        "origin": "RAGFORMER_ENCODER",
    }
    info = ragformer("models", "info", "encoder", "--json").json
    assert (info["path"], info["config"]["texts"]["query_prefix"]) == (str(folder), "query: ")
    assert "--reembed" in ragformer("search", "cats").err
    assert ragformer("index", pdf, "--reembed").code == 0
    assert [hit["page"] for hit in ragformer("search", "felines", "--json").json] == [1]
    out = home / "other"
    ran = ragformer("models", "import", write_bert("minibert"), "--out", out, "--json")
    assert ran.json["path"] == str(out)
    assert ragformer("models", "import", home / "none").code == 1


def test_its_readme_names_every_field(ragformer: Ragformer, write_pdf: WritePdf) -> None:
    readme = Path(__file__).parents[2] / "cli" / "README.md"
    section = readme.read_text("utf-8").split("## JSON")[1]
    forms = dict(re.findall(r"^(\w+(?: \w+)?|        DOC:PAGE:) +(.+)$", section, re.M))

    def fields(form: str) -> list[str]:
        """The names of an object, not of what lies in it."""
        found = [(m[1], m.start()) for m in re.finditer(r'"(\w+)"', form)]
        depths = [form.count("{", 0, at) - form.count("}", 0, at) for _, at in found]
        return [name for (name, _), depth in zip(found, depths, strict=True) if depth == depths[0]]

    ragformer("index", write_pdf("a.pdf", "A sentence about cats."))
    more = {"search": ["cats"], "ask": ["cats?"], "index": ["docs"], "models info": ["encoder"]}
    for command in ("list", "collections", "doctor", "paths", "models list", *more):
        ran = ragformer(*command.split(), *more.get(command, []), "--json")
        assert ran.out, (command, ran.err)
        form = ran.json
        first = form[0] if isinstance(form, list) else form
        assert fields(forms[command]) == list(first), command
    listed = list(ragformer("list", "--json").json[0])
    assert list(ragformer("show", "a.pdf", "--json").json) == listed + fields(forms["show"])
    page = ragformer("show", "a.pdf:1", "--json").json
    assert fields(forms["        DOC:PAGE:"]) == list(page)


def test_a_missing_models_folder_is_named(
    ragformer: Ragformer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RAGFORMER_MODELS", str(tmp_path / "none"))
    ran = ragformer("models", "list")
    assert ran.code == 1
    assert f"there is no encoder in {tmp_path}/none/encoder" in ran.err


def test_train_takes_every_field_of_a_recipe_and_trains(
    ragformer: Ragformer, tmp_path: Path
) -> None:
    helped = ragformer("train", "decoder", "--help").out
    assert all(option in helped for option in ("--data", "--stage [pretrain|answer]", "--minutes"))
    data = tmp_path / "text"
    data.mkdir()
    line = '{"title": "t", "sections": [{"heading": "h", "text": "%s"}]}\n'
    pick = random.Random(0).choices
    words = ["".join(pick("aeioumnrst", k=5)) for _ in range(5000)]
    lines = [line % " ".join(words[n : n + 50]) for n in range(0, 5000, 50)]
    (data / "a.jsonl").write_text("".join(lines))
    out = tmp_path / "out" / "tokenizer.model"
    ran = ragformer("train", "tokenizer", "--data", data, "--out", out, "--vocab-size", "400")
    assert (ran.code, ran.out) == (0, f"wrote {out}\n")
    assert out.is_file()
    missing = ragformer("train", "encoder", "--data", data)
    assert missing.code == 2


def test_the_installed_program_runs() -> None:
    program = Path(sys.executable).with_name("ragformer")
    ran = subprocess.run(
        [program, "--version"], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert ran.stdout.startswith("ragformer, version ")


@pytest.mark.parametrize(
    ("load", "spins"), [(0.4, "5000"), (0.6, None), (OSError("not told"), None)]
)
def test_threads_that_wait_spin_for_a_while_on_an_idle_machine_alone(
    load: float | OSError, spins: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_last_minute() -> tuple[float, float, float]:
        if isinstance(load, OSError):
            raise load
        return load, 0.0, 0.0

    monkeypatch.setattr(os, "getloadavg", of_last_minute)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, "")  # so that both are as before at the end
        monkeypatch.delenv(name)
    assert run(["--version"]) == 0
    assert (os.environ["OMP_WAIT_POLICY"], os.environ.get("GOMP_SPINCOUNT")) == ("PASSIVE", spins)


def test_threads_wait_as_the_user_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    assert run(["--version"]) == 0
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    assert "GOMP_SPINCOUNT" not in os.environ
