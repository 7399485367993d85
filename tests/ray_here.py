"""A Ray cluster of two nodes on this machine, and what a collection made there is held against."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ragformer.cluster.connect import prepare
from ragformer.cluster.layout import shard_folder
from ragformer.library import Library, open_library
from ragformer.retrieve.embed import passage_text
from ragformer.store.store import Store
from ragformer.types import OnRay, Passage

N = 3
SIZE: dict[str, Any] = {
    "num_cpus": 1,
    "object_store_memory": 80 * 2**20,
    "node_ip_address": "127.0.0.1",
}
WritePdf = Callable[..., Path]
marks = [
    pytest.mark.ray,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
by_make_ray = pytest.mark.skipif(
    os.environ.get("RAY_TESTS") != "all", reason="starts or kills workers and nodes: make ray"
)


@dataclass
class Running:
    """The cluster, and how its workers are set up."""

    cluster: Any
    noted: Path
    environment: dict[str, Any] = field(default_factory=dict)

    @property
    def on_ray(self) -> OnRay:
        return OnRay(self.address, N)

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def connect(self, pause: float = 0.0, full: str = "") -> None:
        """Anew, with workers that note what they embed. pause: before each batch. full: a shard
        whose disk has no space."""
        self.noted.write_text("")
        here = str(Path(__file__).parent)
        path = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
        variables = {"PYTHONPATH": path, "NOTED": str(self.noted)}
        variables |= {"PAUSE": str(pause), "FULL": full}
        self.environment = {
            "env_vars": variables,
            "worker_process_setup_hook": "embeddings_noted.install",
        }
        self.connect_plainly(runtime_env=self.environment)

    def connect_plainly(self, **how: Any) -> None:
        """Anew, with workers as anybody's."""
        import ray

        ray.shutdown()
        ray.init(address=self.address, log_to_driver=False, namespace="ragformer", **how)

    @contextmanager
    def another_node(self, **more: Any) -> Iterator[Any]:
        """A third node, gone afterwards if it is not before."""
        node = self.cluster.add_node(**SIZE, **more)
        try:
            yield node
        finally:
            if node in self.cluster.worker_nodes:
                self.cluster.remove_node(node)

    def notes(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.noted.read_text().splitlines()]


@contextmanager
def two_nodes_here(folder: Path) -> Iterator[Running]:
    """The cluster; a note of what its workers embed is kept in `folder`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        prepare("127.0.0.1")
        import ray
        from ray.cluster_utils import Cluster

        cluster = Cluster(True, head_node_args={**SIZE, "include_dashboard": False})
        cluster.add_node(**SIZE)
        try:
            yield Running(cluster, folder / "noted.jsonl")
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
