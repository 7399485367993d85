"""Files into shards, without Ray: what one store would hold, whatever breaks."""

from __future__ import annotations

import re
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from shards_here import (
    OneByOne,
    full_disk,
    index_in_shards,
    steps_in_shards,
    write_for_each_shard,
)

from ragformer.cluster import connect, embedding
from ragformer.cluster.engine import RayRunner
from ragformer.cluster.index import Again, Job, Step, steps_of
from ragformer.cluster.layout import make_shards, shard_folder, shard_of
from ragformer.cluster.opening import list_collections
from ragformer.cluster.shard import Fault
from ragformer.errors import ClusterError, ConfigError, InputError
from ragformer.library import Library
from ragformer.retrieve.embed import load_encoder
from ragformer.store import files
from ragformer.store.store import Store
from ragformer.types import OnRay, Progress, Report

WritePdf = Callable[..., Path]
N = 3


def held(library: Library) -> dict[Path, tuple[str, int]]:
    """By path, the document and the one shard that knows it."""
    found: dict[Path, tuple[str, int]] = {}
    for number in range(N):
        with Store.open(shard_folder(library.folder, number)) as store:
            for document in store.documents():
                for path in document.paths:
                    assert path not in found, "two shards hold one path"
                    found[path] = document.id, number
    return found


def write_some(write_pdf: WritePdf, n: int = 4) -> Path:
    for i in range(n):
        path = write_pdf(f"d{i}.pdf", f"Document {i} tells of the valve number {i * 17}.")
    return path.parent


def status_of(report: Report) -> dict[str, str]:
    return {outcome.path.name: outcome.status for outcome in report.files}


def test_each_document_lies_in_the_shard_of_its_bytes(
    sharded: Library, write_pdf: WritePdf
) -> None:
    docs = write_some(write_pdf)
    (docs / "copy.pdf").write_bytes((docs / "d0.pdf").read_bytes())
    (docs / "broken.pdf").write_bytes(b"no PDF")
    report = index_in_shards(sharded, [docs], N)
    statuses = {**{f"d{i}.pdf": "added" for i in range(4)}, "copy.pdf": "added"}
    assert status_of(report) == {**statuses, "broken.pdf": "failed"}
    assert (report.pages_read, report.chunks_embedded) == (4, 4)
    assert all(number == shard_of(key, N) for key, number in held(sharded).values())
    again = index_in_shards(sharded, [docs])
    assert set(status_of(again).values()) == {"unchanged", "failed"}
    assert (again.pages_read, again.chunks_embedded) == (0, 0)
    [info] = list_collections(sharded.folder.parent)
    assert (info.name, info.documents, info.failed, info.chunks) == ("sharded", 4, 1, 4)


def test_a_changed_file_moves_to_the_shard_of_its_new_bytes(
    sharded: Library, write_pdf: WritePdf
) -> None:
    path = write_pdf("a.pdf", "The old text of the valve.")
    index_in_shards(sharded, [path], N)
    (before, shard), texts = held(sharded)[path], (f"New text {n}." for n in count())
    while shard_of(before, N) == shard:
        write_pdf("a.pdf", next(texts))
        report = index_in_shards(sharded, [path])
        assert status_of(report) == {"a.pdf": "replaced"}
        [(before, _)] = held(sharded).values()
    assert held(sharded) == {path: (before, shard_of(before, N))}


def test_what_is_gone_is_pruned_from_its_shard(sharded: Library, write_pdf: WritePdf) -> None:
    docs = write_some(write_pdf)
    index_in_shards(sharded, [docs], N)
    (docs / "d1.pdf").unlink()
    report = index_in_shards(sharded, [docs], prune=True)
    assert status_of(report)["d1.pdf"] == "removed"
    assert {path.name for path in held(sharded)} == {"d0.pdf", "d2.pdf", "d3.pdf"}


@pytest.mark.parametrize("told", [True, False])
def test_a_run_that_breaks_off_goes_on_where_it_was(
    told: bool, sharded: Library, write_pdf: WritePdf
) -> None:
    def broken(job: Job) -> Iterator[Step]:
        """Lost after its first document, then run again, as a worker that was killed; told: its
        last step had come here."""
        steps = steps_of(job)
        for step in steps:
            done = isinstance(step, Progress) and step.outcome is not None
            if told or not done:
                yield step
            if done:
                steps.close()
                yield Again("the worker was lost")
                yield from steps_of(job)
                return

    runner = OneByOne()
    runner.steps = broken
    for status in ("added", "replaced"):
        docs = [write_pdf(f"d{i}.pdf", f"Document {i} is {status}.") for i in range(6)]
        steps = steps_in_shards(sharded, docs, N, runner)
        report = steps[-1]
        assert isinstance(report, Report)
        assert set(status_of(report).values()) == {status}
        if told:
            assert (report.pages_read, report.chunks_embedded) == (6, 6)
        progress = [step for step in steps if isinstance(step, Progress)]
        counts = [(step.files_done, step.pages_done, step.pages_read) for step in progress]
        assert counts == sorted(counts)
        assert len(held(sharded)) == 6


def test_one_full_disk_stops_its_shard_only(
    sharded: Library, write_pdf: WritePdf, monkeypatch: pytest.MonkeyPatch
) -> None:
    index_in_shards(sharded, [write_for_each_shard(write_pdf, "first", N)], N)
    first = set(held(sharded))
    docs = write_for_each_shard(write_pdf, "second", N)
    said = r"shard 1 of 3 could not be written: no space is left.*again"
    with monkeypatch.context() as patch:
        patch.setattr(files, "_open", full_disk("00001"))
        with pytest.raises(ClusterError, match=said):
            index_in_shards(sharded, [docs])
    kept = held(sharded)
    assert first < set(kept)
    assert {number for path, (_, number) in kept.items() if path not in first} == {0, 2}
    with Store.open(shard_folder(sharded.folder, 1)) as store:
        assert store.check() == []
    report = index_in_shards(sharded, [docs])
    statuses = Counter(status_of(report).values())
    assert statuses == {"unchanged": len(kept), "added": len(report.files) - len(kept)}
    assert report.chunks_embedded == 40 * statuses["added"] > 0


def test_a_shard_that_cannot_run_is_named(sharded: Library, write_pdf: WritePdf) -> None:
    runner = OneByOne()
    runner.steps = lambda job: iter([Fault(f"on node 10.0.0.{job.number}: no such encoder")])
    with pytest.raises(ClusterError, match=r"shard 0 of 3 \(and 2 more shards\).*10\.0\.0\.0"):
        steps_in_shards(sharded, [write_some(write_pdf)], N, runner)


def test_a_damaged_shard_stops_no_other(sharded: Library, write_pdf: WritePdf) -> None:
    docs = write_for_each_shard(write_pdf, "a", N)
    index_in_shards(sharded, [docs], N)
    (shard_folder(sharded.folder, 1) / "store.db").write_bytes(b"no database" * 1000)
    write_for_each_shard(write_pdf, "b", N)
    with pytest.raises(ClusterError, match=r"shard 1 of 3 could not be written.*damaged"):
        index_in_shards(sharded, [docs], N)
    kept = {shard_of(document.id, N) for document in sharded.store.documents()}
    names = {path.name[0] for d in sharded.store.documents() for path in d.paths}
    assert (kept, names) == ({0, 2}, {"a", "b"})


def test_a_collection_keeps_its_number_of_shards(tmp_path: Path) -> None:
    assert make_shards(tmp_path / "a", None, 5) == 5
    assert make_shards(tmp_path / "a", None, 9) == 5
    with pytest.raises(InputError, match="has 5 shards, not 4"):
        make_shards(tmp_path / "a", 4, 4)


def test_one_store_does_not_become_shards(library: Library, write_pdf: WritePdf) -> None:
    list(library.index([write_pdf("a.pdf", "Text.")]))
    with pytest.raises(InputError, match="is one store"):
        make_shards(library.folder, 2, 2)


@pytest.mark.usefixtures("home")
def test_what_embeds_on_a_gpu_names_its_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "node_name", lambda: "10.0.0.7 (ab)")
    encoder_id = load_encoder().id
    vectors = embedding.Embedder(encoder_id, None, connect.program()).encode(["valve"])
    assert vectors == pytest.approx(load_encoder().encode(["valve"]))
    other = embedding.Embedder("0" * 12, None, connect.program()).encode(["valve"])
    assert isinstance(other, Fault)
    assert re.match(r"on node 10\.0\.0\.7 \(ab\): the encoder here is", other.reason)
    older = embedding.Embedder(encoder_id, None, "ragformer 9.9").encode(["valve"])
    assert isinstance(older, Fault)
    assert "node 10.0.0.7 (ab) has ragformer" in older.reason


@pytest.mark.parametrize("address", ["nowhere", "ray://127.0.0.1:1", "127.0.0.1:x", ":"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(InputError, match="HOST:PORT"):
        RayRunner(address)


def test_a_cluster_that_does_not_answer_is_named() -> None:
    with pytest.raises(ClusterError, match=r"no Ray cluster answers at 127\.0\.0\.1:9.*ray start"):
        RayRunner("127.0.0.1:9")


@pytest.mark.parametrize(
    ("said", "named"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "no head of a Ray cluster"),
        (b"", "no head of a Ray cluster"),
        (None, r"no Ray cluster answers at .*timed out"),
    ],
)
def test_what_is_no_head_of_a_cluster_is_not_waited_for(
    said: bytes | None, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect, "_REACH_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def reply() -> None:
            connection, _ = listening.accept()
            with connection:
                assert connection.recv(100).startswith(b"PRI * HTTP/2.0")
                if said is None:
                    connection.recv(1)  # until the other side gives up
                else:
                    connection.sendall(said)

        answering = threading.Thread(target=reply)
        answering.start()
        with pytest.raises(ClusterError, match=named):
            RayRunner(f"127.0.0.1:{listening.getsockname()[1]}")
        answering.join()


def test_a_number_of_shards_is_checked() -> None:
    with pytest.raises(ConfigError, match="from 1 to 10,000 shards"):
        OnRay("local", 0)
