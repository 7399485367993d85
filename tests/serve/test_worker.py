"""One thread, and turns: who waits for a step lets the others go on, and nobody gets another's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import aclosing

import pytest

from ragformer.serve.failures import ApiError
from ragformer.serve.worker import Worker
from ragformer.types import WAITING

Log = list[str]


def writing(name: str, n: int, log: Log) -> Callable[[], Iterator[str]]:
    """Work of n words, each after a step that it can take with others."""

    def work() -> Iterator[str]:
        log.append(f"{name} begins")
        try:
            for i in range(n):
                yield WAITING
                log.append(f"{name}{i}")
                yield f"{name}{i}"
        finally:
            log.append(f"{name} ends")

    return work


def reading(name: str, n: int, log: Log) -> Callable[[], Iterator[str]]:
    """Work of n words that goes on by itself."""

    def work() -> Iterator[str]:
        for i in range(n):
            log.append(f"{name}{i}")
            yield f"{name}{i}"

    return work


def run(worker: Worker, *works: Callable[[], Iterator[str]]) -> list[list[str]]:
    """What comes of each, all put into the queue before any begins."""

    async def collect(work: Callable[[], Iterator[str]]) -> list[str]:
        return [piece async for piece in worker.each(work)]

    async def all_of_them() -> list[list[str]]:
        gate = threading.Event()
        first = asyncio.create_task(worker.once(gate.wait))
        later = [asyncio.create_task(collect(work)) for work in works]
        while worker.depth <= len(works):
            await asyncio.sleep(0)
        gate.set()
        await first
        pieces = await asyncio.gather(*later)
        assert worker.depth == 0
        await worker.stop()
        return pieces

    return asyncio.run(all_of_them())


def test_those_that_wait_go_on_in_turn_and_one_begins_each_round() -> None:
    log: Log = []
    pieces = run(Worker("w", 9, 3), *(writing(name, 2, log) for name in "abcd"))
    assert pieces == [[f"{name}0", f"{name}1"] for name in "abcd"]
    rounds = (
        "a begins, a0 b begins, a1 a ends b0 c begins, b1 b ends c0 d begins, c1 c ends d0, d1 d"
    )
    assert " ".join(log) == rounds.replace(",", "") + " ends"


def test_no_more_have_begun_than_may_go_together() -> None:
    log: Log = []
    run(Worker("w", 9, 2), *(writing(name, 5, log) for name in "abcd"))
    begun = most = 0
    for line in log:
        begun += line.endswith("begins") - line.endswith("ends")
        most = max(most, begun)
    assert most == 2


def test_what_never_waits_is_not_interrupted() -> None:
    log: Log = []
    run(Worker("w", 9, 3), reading("a", 3, log), writing("b", 1, log), reading("c", 3, log))
    assert log == ["a0", "a1", "a2", "b begins", "b0", "b ends", "c0", "c1", "c2"]


def test_who_leaves_ends_at_once_and_the_others_go_on() -> None:
    log: Log = []
    worker = Worker("w", 9, 3)

    async def leave() -> None:
        async with aclosing(worker.each(writing("a", 10**9, log))) as pieces:
            assert await anext(pieces) == "a0"
        at = len(log)
        while worker.depth > 1:
            await asyncio.sleep(0)
        assert "a ends" in log
        assert sum(line.startswith("a") for line in log[at:]) <= 2  # a word, and its end

    async def both() -> list[str]:
        leaving = asyncio.create_task(leave())
        stays = [piece async for piece in worker.each(writing("b", 2000, log))]
        await leaving
        await worker.stop()
        return stays

    assert asyncio.run(both()) == [f"b{i}" for i in range(2000)]
    assert worker.depth == 0


def test_who_has_left_takes_nobodys_place() -> None:
    worker, log, gate = Worker("w", 0, 2), [], threading.Event()

    def held() -> Iterator[str]:
        yield "begun"
        gate.wait()
        yield WAITING

    async def come_again() -> list[str]:
        async with aclosing(worker.each(held)) as pieces:
            await anext(pieces)
            with pytest.raises(ApiError, match="too many"):
                await worker.once(gate.wait)
        assert worker.depth == 1
        again = asyncio.create_task(collect())
        while worker.depth < 2:
            await asyncio.sleep(0)
        gate.set()
        return await again

    async def collect() -> list[str]:
        return [piece async for piece in worker.each(writing("a", 2, log))]

    assert asyncio.run(come_again()) == ["a0", "a1"]


def test_what_fails_is_raised_where_it_is_awaited_and_nowhere_else() -> None:
    worker, log = Worker("w", 9, 3), []

    def failing() -> Iterator[str]:
        yield WAITING
        raise OverflowError("too much")

    async def both() -> list[str]:
        other = asyncio.create_task(collect())
        with pytest.raises(OverflowError, match="too much"):
            await anext(worker.each(failing))
        return await other

    async def collect() -> list[str]:
        return [piece async for piece in worker.each(writing("a", 3, log))]

    assert asyncio.run(both()) == ["a0", "a1", "a2"]


def test_one_that_stops_ends_what_has_begun_and_takes_nothing_more() -> None:
    worker, log = Worker("w", 9), []
    begun, gate = threading.Event(), threading.Event()

    async def stop() -> None:
        first = asyncio.create_task(worker.once(lambda: begun.set() or gate.wait()))
        while not begun.is_set():
            await asyncio.sleep(0)
        second = asyncio.create_task(worker.once(lambda: log.append("second")))
        while worker.depth < 2:
            await asyncio.sleep(0)
        stopping = asyncio.create_task(worker.stop())
        with pytest.raises(ApiError, match="is stopping"):
            await second
        with pytest.raises(ApiError, match="is stopping"):
            await worker.once(lambda: log.append("third"))
        gate.set()
        assert await first
        await stopping

    asyncio.run(stop())
    assert (log, worker.depth) == ([], 0)
