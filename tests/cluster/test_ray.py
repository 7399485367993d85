"""A Ray cluster of two nodes on this machine: the same collection, the same answers, killed or not.

The gate runs the first part; `make ray` all of it (RAY_TESTS=all).
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ragformer.cluster import engine
from ragformer.cluster.layout import shard_folder
from ragformer.cluster.opening import open_index
from ragformer.errors import ClusterError, StoreError
from ragformer.library import Library, open_library
from ragformer.retrieve.embed import passage_text
from ragformer.retrieve.retrieve import retrieve
from ragformer.store.store import Store
from ragformer.types import OnRay, Passage, Report

# Not imported yet: as it is, it reads the variables that `two_nodes` sets.
if importlib.util.find_spec("ray") is None:
    pytest.skip("the extra ray is not installed", allow_module_level=True)
pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
killing = pytest.mark.skipif(
    os.environ.get("RAY_TESTS") != "all", reason="kills workers and nodes: make ray"
)
N = 3
OBJECTS = 80 * 2**20
WritePdf = Callable[..., Path]


@dataclass
class Running:
    """The cluster, and how its workers are set up."""

    cluster: Any
    noted: Path
    environment: dict[str, Any] = field(default_factory=dict)

    @property
    def on_ray(self) -> OnRay:
        return OnRay(str(self.cluster.address), N)

    def connect(self, pause: float = 0.0) -> None:
        import ray

        ray.shutdown()
        self.noted.write_text("")
        here = str(Path(__file__).parents[1])
        variables = {"PYTHONPATH": here, "NOTED": str(self.noted), "PAUSE": str(pause)}
        self.environment = {
            "env_vars": variables,
            "worker_process_setup_hook": "embeddings_noted.install",
        }
        ray.init(
            address=self.cluster.address,
            runtime_env=self.environment,
            log_to_driver=False,
            namespace="ragformer",
        )

    def notes(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.noted.read_text().splitlines()]


@pytest.fixture(scope="module")
def two_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # keeps it to 127.0.0.1
        patch.setenv("RAY_worker_niceness", "0")
        patch.setenv("OMP_NUM_THREADS", "1")
        import ray
        from ray.cluster_utils import Cluster

        size = {"num_cpus": 1, "object_store_memory": OBJECTS, "node_ip_address": "127.0.0.1"}
        cluster = Cluster(True, head_node_args={**size, "include_dashboard": False})
        cluster.add_node(**size)
        try:
            yield Running(cluster, tmp_path_factory.mktemp("ray") / "noted.jsonl")
        finally:
            ray.shutdown()
            cluster.shutdown()


def write_some(write_pdf: WritePdf, n: int) -> Path:
    for i in range(n):
        texts = [f"Part {i} has the valve number {i * 17}.", f"The notice of {i} is {i + 3} days."]
        path = write_pdf(f"d{i}.pdf", *texts)
    return path.parent


def contents(stores: list[Store]) -> dict[str, list[tuple[str, bytes]]]:
    """By document the texts and vectors of its chunks."""
    found: dict[str, list[tuple[str, bytes]]] = {}
    for store in stores:
        rows = "SELECT document_id, text, vector FROM chunks JOIN vectors ON chunk_id = chunks.id"
        for key, text, vector in store.query(f"{rows} ORDER BY document_id, ordinal"):
            found.setdefault(key, []).append((text, vector))
    return found


def of_shards(library: Library) -> dict[str, list[tuple[str, bytes]]]:
    stores = [Store.open(shard_folder(library.folder, n)) for n in range(N)]
    held = contents(stores)
    for store in stores:
        store.close()
    assert len(held) == sum(len(library.store.chunks(key)) > 0 for key in held)
    return held


def of_one_store(docs: Path) -> dict[str, list[tuple[str, bytes]]]:
    with open_library("one") as library:
        list(library.index([docs]))
        return contents([library.store])


def alike(ours: dict[str, list[tuple[str, bytes]]], theirs: dict[str, Any]) -> bool:
    """The same documents and chunks; vectors up to the rounding of another batch."""
    import numpy as np

    def split(held: dict[str, Any]) -> tuple[Any, Any]:
        rows = [(key, *row) for key in sorted(held) for row in held[key]]
        return [row[:2] for row in rows], np.stack([np.frombuffer(row[2], "<f4") for row in rows])

    (texts, vectors), (other_texts, other_vectors) = split(ours), split(theirs)
    return texts == other_texts and bool(np.abs(vectors - other_vectors).max() < 1e-5)


def embedded_twice(library: Library, running: Running) -> set[str]:
    """Documents of which any chunk was embedded more than once; every chunk was at least once."""
    times = Counter(text for note in running.notes() for text in note["texts"])
    twice = set()
    for document in library.store.documents():
        chunks = library.store.chunks(document.id)
        counts = [times[passage_text(document.title, c.heading_path, c.text)] for c in chunks]
        assert all(counts), "a chunk that nobody has embedded"
        if max(counts, default=1) > 1:
            twice.add(document.id)
    return twice


def finished(library: Library) -> set[str]:
    """The documents that are whole in their shards at this moment."""
    found: set[str] = set()
    for number in range(N):
        if (shard_folder(library.folder, number) / "store.db").exists():
            with Store.open(shard_folder(library.folder, number), readonly=True) as store:
                found |= {document.id for document in store.documents()}
    return found


def scores(passages: list[Passage]) -> list[tuple[str, float]]:
    return [(passage.text, pytest.approx(passage.score, abs=1e-5)) for passage in passages]


def test_two_nodes_make_and_answer_what_one_store_does(
    two_nodes: Running, sharded: Library, write_pdf: WritePdf, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = write_some(write_pdf, 6)
    two_nodes.connect()
    *_, report = sharded.index([docs], on_ray=two_nodes.on_ray)
    assert isinstance(report, Report)
    assert [outcome.status for outcome in report.files] == ["added"] * 6
    assert (report.pages_read, report.chunks_embedded) == (12, 12)
    assert alike(of_shards(sharded), of_one_store(docs))
    assert embedded_twice(sharded, two_nodes) == set()
    *_, again = sharded.index([docs], on_ray=two_nodes.on_ray)
    assert isinstance(again, Report)
    assert again.chunks_embedded == 0
    with monkeypatch.context() as patch:
        patch.setenv("RAGFORMER_RAY_ADDRESS", str(two_nodes.cluster.address))
        with open_library("sharded") as spread, open_library("one") as one:
            for question in ("valve number 34", "how long is the notice of 3?"):
                assert scores(spread.search(question)) == scores(one.search(question))
            lost = shard_folder(spread.folder, 1)
            lost.rename(lost.with_name("away"))
            assert spread.search("valve")
            assert "shard 1 of the 3" in spread.ask("Which valve number has part 2?").note
            lost.with_name("away").rename(lost)
            assert scores(spread.search("valve number")) == scores(one.search("valve number"))


def test_a_node_with_another_ragformer_is_named(
    two_nodes: Running, sharded: Library, write_pdf: WritePdf, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = write_some(write_pdf, 2)
    two_nodes.connect()
    monkeypatch.setattr(engine, "program", lambda: "ragformer 9.9")
    with pytest.raises(ClusterError, match=r"node 127\.0\.0\.1 \(\w+\) has ragformer 0.*9\.9"):
        list(sharded.index([docs], on_ray=two_nodes.on_ray))
    monkeypatch.setenv("RAGFORMER_RAY_ADDRESS", str(two_nodes.cluster.address))
    with open_library("sharded") as spread, pytest.raises(StoreError, match=r"9\.9"):
        spread.search("valve")


@killing
def test_five_hundred_questions_find_the_same(
    two_nodes: Running, sharded: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = Path(__file__).parents[1] / "samples" / "pdfs"
    two_nodes.connect()
    list(sharded.index([docs], on_ray=two_nodes.on_ray))
    of_one_store(docs)
    monkeypatch.setenv("RAGFORMER_RAY_ADDRESS", str(two_nodes.cluster.address))
    with open_library("sharded") as spread, open_library("one") as one:
        ids = [(key, 0.0) for key in one.store.chunk_ids().tolist()]
        words = [word for p in one.store.passages(ids) for word in p.text.split()]
        chosen = random.Random(1)
        for _ in range(500):
            question = " ".join(chosen.sample(words, chosen.randint(1, 6)))
            ours, theirs = (
                retrieve(lib.store, open_index(lib.store, lib.encoder_id), lib.encoder, question, 9)
                for lib in (spread, one)
            )
            assert [score for _, score in scores(ours)] == [p.score for p in theirs], question
            above = theirs[-1].score + 1e-9 if theirs else 0.0  # equals may change places below
            assert {p.text for p in ours if p.score > above} == {
                p.text for p in theirs if p.score > above
            }


def killed_on_the_way(
    two_nodes: Running, sharded: Library, docs: Path, after: int, kill: Callable[[], None]
) -> None:
    """Index 12 documents, kill what `kill` does once so many chunks are embedded, and nothing that
    was finished by then is lost or done again."""
    two_nodes.connect(pause=1.0)
    kept: set[str] = set()
    for step in sharded.index([docs], on_ray=two_nodes.on_ray):
        if not kept and step.chunks_embedded > after:
            kill()
            kept = finished(sharded)
    assert 0 < len(kept) < 12
    assert isinstance(step, Report)
    assert [outcome.status for outcome in step.files] == ["added"] * 12
    assert not kept & embedded_twice(sharded, two_nodes)
    assert alike(of_shards(sharded), of_one_store(docs))


@killing
def test_a_worker_that_is_killed_costs_no_finished_document(
    two_nodes: Running, sharded: Library, write_pdf: WritePdf
) -> None:
    def kill() -> None:
        os.kill(int(two_nodes.notes()[-1]["pid"]), signal.SIGKILL)

    killed_on_the_way(two_nodes, sharded, write_some(write_pdf, 12), 4, kill)


@killing
def test_a_node_that_is_killed_costs_no_finished_document(
    two_nodes: Running, sharded: Library, write_pdf: WritePdf
) -> None:
    size = {"num_cpus": 1, "object_store_memory": OBJECTS, "node_ip_address": "127.0.0.1"}
    node = two_nodes.cluster.add_node(**size)

    def kill() -> None:
        two_nodes.cluster.remove_node(node, allow_graceful=False)

    killed_on_the_way(two_nodes, sharded, write_some(write_pdf, 12), 6, kill)


@killing
def test_a_driver_that_is_killed_loses_nothing_finished(
    two_nodes: Running, sharded: Library, write_pdf: WritePdf
) -> None:
    docs = write_some(write_pdf, 12)
    two_nodes.connect(pause=1.0)
    address = str(two_nodes.cluster.address)
    start = (
        "import json, ray, sys; from ragformer_cli.main import run;"
        f"ray.init({address!r}, runtime_env=json.loads(sys.argv[1]), log_to_driver=False);"
        "run(sys.argv[2:])"
    )
    arguments = ["index", "--engine", "ray", "--shards", str(N), "-c", "sharded", str(docs)]
    command = [sys.executable, "-c", start, json.dumps(two_nodes.environment), *arguments]
    driver = subprocess.Popen(command)
    until = time.monotonic() + 300
    while sum(len(note["texts"]) for note in two_nodes.notes()) < 8:
        assert time.monotonic() < until
        time.sleep(0.1)
    driver.kill()
    driver.wait()
    kept = finished(sharded)
    assert 0 < len(kept) < 12
    *_, report = sharded.index([docs], on_ray=two_nodes.on_ray)
    assert isinstance(report, Report)
    statuses = Counter(outcome.status for outcome in report.files)
    assert statuses["unchanged"] >= len(kept)
    assert statuses.total() == 12
    assert not kept & embedded_twice(sharded, two_nodes)
    assert alike(of_shards(sharded), of_one_store(docs))
