"""Shards asked on a Ray cluster by several actors each, which come, go and are killed meanwhile.

`make ray` runs this.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ragformer_cli.main import run
from ray_here import N, Running, WritePdf, by_make_ray, marks, scores, write_some
from shards_here import index_in_shards

from ragformer.cluster.actors import Actors
from ragformer.cluster.layout import shard_folder
from ragformer.cluster.replica import Replica, names_by_shard
from ragformer.cluster.sharded import ShardedStore
from ragformer.library import Library, open_library

if importlib.util.find_spec("ray") is None:
    pytest.skip("the extra ray is not installed", allow_module_level=True)
pytestmark = [*marks, by_make_ray]
Keep = Callable[[int], set[str]]


@pytest.fixture
def keep(
    two_nodes: Running,
    sharded: Library,
    write_pdf: WritePdf,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Keep]:
    """keep(n): `ragformer replicas n` of a collection of six documents; returns their names."""
    import ray

    index_in_shards(sharded, [write_some(write_pdf, 6)], N)
    two_nodes.connect_plainly()
    monkeypatch.setenv("RAGFORMER_RAY_ADDRESS", two_nodes.address)

    def call(n: int) -> set[str]:
        assert run(["replicas", str(n), "-c", "sharded", "--json"]) == 0
        held = json.loads(capsys.readouterr().out)
        assert [row["shard"] for row in held] == [s for s in range(N) for _ in range(n)]
        assert not any(row["fault"] for row in held)
        assert all(row["node"].startswith("127.0.0.1 (") for row in held)
        until(lambda: len(names_there(ray)) == n * N)  # what is killed takes a moment to go
        return names_there(ray)

    yield call
    call(0)


def names_there(ray: Any) -> set[str]:
    return {name for names in names_by_shard(ray).values() for name in names}


def until(reached: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.02)


class Asking:
    """Threads that ask the same again and again, each its own store, and note what is wrong."""

    def __init__(self, folder: Path, address: str) -> None:
        with ShardedStore(folder) as store:
            self._right = self._ask(store)
        assert len(self._right) == 12
        self._folder, self._address = folder, address
        self._over = threading.Event()
        self.n, self.wrong = 0, list[object]()

    @staticmethod
    def _ask(store: ShardedStore) -> list[tuple[int, float]]:
        assert store.generation
        return store.best_by_words("chunk_words", ['"valve"', '"notice"'], 20)

    def _work(self) -> None:
        with ShardedStore(self._folder, partial(Actors, self._address)) as store:
            while not self._over.is_set():
                try:
                    found = self._ask(store)
                except Exception as error:
                    found = [error]
                if found != self._right or store.missing:
                    self.wrong.append((found, store.missing))
                self.n += 1

    @contextmanager
    def going_on(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._work) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join()

    def more(self, n: int = 20) -> None:
        """Until so many more answers have come."""
        wanted = self.n + n
        until(lambda: self.n >= wanted)


def test_replicas_come_and_go_and_are_killed_while_questions_are_asked(
    keep: Keep, two_nodes: Running, sharded: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    asked: Counter[str] = Counter()
    begin = Replica.begin

    def counted(self: Replica, call: Any) -> Any:
        asked[self.actor._actor_id.hex()] += 1
        return begin(self, call)

    def actor(name: str) -> Any:
        return ray.get_actor(name, "ragformer")

    def take_queries(names: set[str]) -> bool:
        return all(asked[actor(name)._actor_id.hex()] for name in names)

    monkeypatch.setattr(Replica, "begin", counted)
    asking = Asking(sharded.folder, two_nodes.address)
    with asking.going_on():
        asking.more()  # of actors of its own
        two = keep(2)
        until(lambda: take_queries(two))
        process = ray.get(actor(min(two)).__ray_call__.remote(lambda _: os.getpid()))
        os.kill(process, signal.SIGKILL)
        asking.more()
        three = keep(3)
        until(lambda: take_queries(three - two))
        one = keep(1)
        asking.more()
        keep(0)
        asking.more()
    assert asking.wrong == []
    assert one < three
    assert len(two & three) >= len(two) - 1  # the one that was killed may not have come back yet


def test_a_shard_is_named_when_none_of_its_replicas_can_answer(
    keep: Keep, two_nodes: Running, sharded: Library
) -> None:
    import ray

    kept = keep(2)
    two_nodes.connect_plainly()  # as another process would
    assert names_there(ray) == kept
    with open_library("sharded") as spread:
        before = scores(spread.search("valve number"))
        lost = shard_folder(sharded.folder, 1)
        lost.rename(lost.with_name("away"))
        [said] = spread.store.missing if spread.search("valve") else ()
        assert "shard 1 of the 3" in said
        assert "on node 127.0.0.1 (" in said
        lost.with_name("away").rename(lost)
        assert scores(spread.search("valve number")) == before
        assert spread.store.missing == ()
