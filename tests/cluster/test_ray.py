"""Shards written on a Ray cluster of two nodes: the same collection and answers, killed or not.

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
from collections.abc import Callable
from pathlib import Path

import pytest
from ragformer_cli.main import run
from ray_here import (
    N,
    Running,
    WritePdf,
    alike,
    by_make_ray,
    embedded_twice,
    finished,
    marks,
    of_one_store,
    of_shards,
    scores,
    write_some,
)
from shards_here import write_for_each_shard

from ragformer.cluster import engine, replica
from ragformer.cluster.layout import shard_folder
from ragformer.cluster.opening import open_index
from ragformer.errors import ClusterError, StoreError
from ragformer.library import Library, open_library
from ragformer.retrieve.retrieve import retrieve
from ragformer.store.store import Store
from ragformer.types import Report

if importlib.util.find_spec("ray") is None:
    pytest.skip("the extra ray is not installed", allow_module_level=True)
pytestmark = marks


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
        patch.setenv("RAGFORMER_RAY_ADDRESS", two_nodes.address)
        with open_library("sharded") as spread, open_library("one") as one:
            for question in ("valve number 34", "how long is the notice of 3?"):
                assert scores(spread.search(question)) == scores(one.search(question))
            assert run(["replicas", "1", "-c", "sharded"]) == 0
            assert scores(spread.search("valve number 51")) == scores(one.search("valve number 51"))
            lost = shard_folder(spread.folder, 1)
            lost.rename(lost.with_name("away"))
            assert spread.search("valve")
            assert "shard 1 of the 3" in spread.ask("Which valve number has part 2?").note
            lost.with_name("away").rename(lost)
            assert scores(spread.search("valve number")) == scores(one.search("valve number"))
            assert run(["replicas", "0", "-c", "sharded"]) == 0


def test_a_node_with_another_ragformer_is_named(
    two_nodes: Running, sharded: Library, write_pdf: WritePdf, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = write_some(write_pdf, 2)
    two_nodes.connect()
    monkeypatch.setattr(engine, "program", lambda: "ragformer 9.9")
    other = r"node 127\.0\.0\.1 \(\w+\) has ragformer 0.*9\.9"
    with pytest.raises(ClusterError, match=other):
        list(sharded.index([docs], on_ray=two_nodes.on_ray))
    monkeypatch.setattr(replica, "program", lambda: "ragformer 9.9")
    monkeypatch.setenv("RAGFORMER_RAY_ADDRESS", two_nodes.address)
    with open_library("sharded") as spread, pytest.raises(StoreError, match=other):
        spread.search("valve")


@by_make_ray
def test_five_hundred_questions_find_the_same(
    two_nodes: Running, sharded: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = Path(__file__).parents[1] / "samples" / "pdfs"
    two_nodes.connect()
    list(sharded.index([docs], on_ray=two_nodes.on_ray))
    of_one_store(docs)
    monkeypatch.setenv("RAGFORMER_RAY_ADDRESS", two_nodes.address)
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


@by_make_ray
def test_a_gpu_embeds_for_every_shard(
    two_nodes: Running, sharded: Library, write_pdf: WritePdf
) -> None:
    docs = write_some(write_pdf, 6)
    with two_nodes.another_node(num_gpus=1) as node:  # that torch does not see
        two_nodes.connect()
        *_, report = sharded.index([docs], on_ray=two_nodes.on_ray)
        assert isinstance(report, Report)
        assert report.chunks_embedded == 12
        notes = two_nodes.notes()
        assert {(note["node"], note["gpus"]) for note in notes} == {(node.node_id, "0")}
        assert len({note["pid"] for note in notes}) == 1
        assert embedded_twice(sharded, two_nodes) == set()
        assert alike(of_shards(sharded), of_one_store(docs))


@by_make_ray
def test_a_full_disk_on_one_node_is_named_and_loses_nothing(
    two_nodes: Running, sharded: Library, write_pdf: WritePdf
) -> None:
    two_nodes.connect()
    list(sharded.index([write_for_each_shard(write_pdf, "first", N)], on_ray=two_nodes.on_ray))
    first = finished(sharded)
    docs = write_for_each_shard(write_pdf, "second", N)
    two_nodes.connect(full="00001")
    said = (
        r"shard 1 of 3 could not be written: on node 127\.0\.0\.1 \(\w+\): no space is left.*again"
    )
    with pytest.raises(ClusterError, match=said):
        list(sharded.index([docs], on_ray=two_nodes.on_ray))
    kept = finished(sharded)
    assert first < kept
    with Store.open(shard_folder(sharded.folder, 1)) as store:
        assert store.check() == []
    two_nodes.connect()
    *_, report = sharded.index([docs], on_ray=two_nodes.on_ray)
    assert isinstance(report, Report)
    statuses = Counter(outcome.status for outcome in report.files)
    assert statuses == {"unchanged": len(kept), "added": len(report.files) - len(kept)}
    assert report.chunks_embedded == 40 * statuses["added"] > 0
    assert alike(of_shards(sharded), of_one_store(docs))


@by_make_ray
def test_a_worker_that_is_killed_costs_no_finished_document(
    two_nodes: Running, sharded: Library, write_pdf: WritePdf
) -> None:
    def kill() -> None:
        os.kill(int(two_nodes.notes()[-1]["pid"]), signal.SIGKILL)

    killed_on_the_way(two_nodes, sharded, write_some(write_pdf, 12), 4, kill)


@by_make_ray
def test_a_node_that_is_killed_costs_no_finished_document(
    two_nodes: Running, sharded: Library, write_pdf: WritePdf
) -> None:
    with two_nodes.another_node() as node:

        def kill() -> None:
            two_nodes.cluster.remove_node(node, allow_graceful=False)

        killed_on_the_way(two_nodes, sharded, write_some(write_pdf, 12), 6, kill)


@by_make_ray
def test_a_driver_that_is_killed_loses_nothing_finished(
    two_nodes: Running, sharded: Library, write_pdf: WritePdf
) -> None:
    docs = write_some(write_pdf, 12)
    two_nodes.connect(pause=1.0)
    address = two_nodes.address
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
