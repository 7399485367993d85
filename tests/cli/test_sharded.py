"""A collection in shards from the command line: what reads it, and what names another way."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from shards_here import index_in_shards

from ragformer.bench.rerun import write_pdfs
from ragformer.cluster.layout import shard_folder, shard_of
from ragformer.library import Library, open_library

Ragformer = Callable[..., Any]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_models: Path) -> Path:
    """A home with three documents and one that cannot be read, as the collections "one" and
    "many", the latter in three shards; its docs beside it."""
    folder = tmp_path_factory.mktemp("made")
    docs = folder / "docs"
    write_pdfs(docs, range(3))
    (docs / "broken.pdf").write_bytes(b"no PDF")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAGFORMER_MODELS", str(tiny_models))
        patch.setenv("RAGFORMER_HOME", str(folder / "home"))
        with open_library("one") as one, open_library("many") as many:
            list(one.index([docs]))
            index_in_shards(many, [docs], 3)
    return folder


@pytest.fixture
def many(made: Path, home: Path) -> Iterator[Library]:
    """The sharded one, in a home of its own."""
    shutil.copytree(made / "home", home)
    (home.parent / "docs").symlink_to(made / "docs")
    with open_library("many") as library:
        yield library


@pytest.mark.parametrize(
    "command",
    [
        ["list"],
        ["show", "report-00000.pdf"],
        ["show", "report-00000.pdf:2"],
        ["summarize", "report-00001.pdf"],
        ["search", "parts", "--in", "*.pdf"],
        ["ask", "What was made in week 3?"],
        ["ask", "How many pages does report-00000.pdf have?"],
    ],
    ids=" ".join,
)
def test_what_reads_shards_says_what_it_says_of_one_store(
    command: list[str], ragformer: Ragformer, many: Library
) -> None:
    ours, theirs = (ragformer(*command, "--json", "-c", name) for name in ("many", "one"))
    assert (ours.code, ours.err) == (theirs.code, theirs.err)
    assert without_times(ours.json) == without_times(theirs.json)


def without_times(value: Any) -> Any:
    """JSON without when and how long, and with scores as far as they are alike."""
    if isinstance(value, dict):
        times = ("added_at", "seconds")
        return {name: without_times(item) for name, item in value.items() if name not in times}
    if isinstance(value, list):
        return [without_times(item) for item in value]
    return pytest.approx(value, abs=1e-5) if isinstance(value, float) else value


def test_without_an_address_nothing_of_ray_is_imported(many: Library) -> None:
    code = (
        "import sys; sys.modules['ray'] = None;"  # whatever imports it fails
        "from ragformer_cli.main import run;"
        "sys.exit(max(run(line.split()) for line in sys.argv[1:]))"
    )
    lines = ["index docs", "search parts", "search parts -c many", "list -c many"]
    ran = subprocess.run([sys.executable, "-c", code, *lines], capture_output=True, text=True)
    assert (ran.returncode, "3 added, 1 failed" in ran.stdout) == (0, True), ran.stderr


def test_doctor_checks_every_shard_and_says_that_there_are_some(
    ragformer: Ragformer, many: Library
) -> None:
    ran = ragformer("doctor", "--check", "-c", "many", "--json")
    assert (ran.code, ran.json["faults"]) == (0, [])
    assert any("3 shards, written by index --engine ray" in note for note in ran.json["notes"])
    shutil.rmtree(shard_folder(many.folder, 1))
    ran = ragformer("doctor", "--check", "-c", "many", "--json")
    assert ran.code == 1
    assert any(fault.startswith("shard 1 of the 3") for fault in ran.json["faults"])


@pytest.mark.parametrize(
    "command",
    [
        "rm report-00000.pdf --yes",
        "rm broken.pdf --yes",
        "index docs",
        "index docs --watch",
        "index --reembed",
        "adapt",
        "adapt --undo",
        "doctor --repair",
    ],
)
def test_what_writes_one_store_names_the_way_for_shards(
    command: str, ragformer: Ragformer, many: Library
) -> None:
    ran = ragformer(*command.split(), "-c", "many")
    assert (ran.code, ran.out) == (1, "")
    [sentence] = ran.err.splitlines()
    assert "--engine ray" in sentence
    assert len(many.store.documents()) == 3
    assert len(many.store.failures()) == 1


def test_what_is_not_found_may_lie_in_a_shard_that_is_gone(
    ragformer: Ragformer, many: Library
) -> None:
    document = many.document("report-00000.pdf")
    number = shard_of(document.id, 3)
    shutil.rmtree(shard_folder(many.folder, number))
    said = f"shard {number} of the 3 of this collection was not searched"
    for command in ("show", "rm", "summarize"):
        ran = ragformer(command, "report-00000.pdf", "-c", "many")
        assert ran.code == 1
        assert "no document report-00000.pdf" in ran.err
        assert said in ran.err
    ran = ragformer("search", "parts", "--in", "report-00000.pdf", "-c", "many")
    assert ran.code == 1
    assert said in ran.err
    ran = ragformer("list", "-c", "many")
    assert ran.code == 0
    assert said in ran.err


@pytest.mark.parametrize(
    ("name", "address", "said"),
    [
        ("one", "127.0.0.1:9", "only shards have replicas"),
        ("many", "", "ray start --head"),
        ("many", "local", "ray start --head"),
        ("many", "127.0.0.1:9", "no Ray cluster answers at 127.0.0.1:9"),
    ],
)
def test_replicas_need_shards_and_a_cluster_that_stays(
    name: str,
    address: str,
    said: str,
    ragformer: Ragformer,
    many: Library,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAGFORMER_RAY_ADDRESS", address)
    ran = ragformer("replicas", 2, "-c", name)
    assert (ran.code, ran.out) == (1, "")
    assert said in ran.err
