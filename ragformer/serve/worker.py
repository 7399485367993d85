"""One thread that computes, and a bounded queue before it.

    async for piece in worker.each(lambda: library.stream(question)): ...

torch answers one question on all cores sooner than two at a time. What nobody waits for any longer
leaves the queue, or ends at its next piece.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing
from typing import Any, TypeVar

from fastapi import Request

from ragformer.serve.failures import ApiError

T = TypeVar("T")
_END = object()
GONE = 499
"""The status of a request whose client hung up, which nobody reads; nginx counts them so."""


class Worker:
    """See above. waiting: how many may wait while one is worked on."""

    def __init__(self, name: str, waiting: int) -> None:
        self.waiting = waiting
        self.depth = 0  # worked on and waiting; changed in the event loop only
        self._pool = ThreadPoolExecutor(1, f"ragformer-{name}")

    async def each(self, work: Callable[[], Iterator[T]]) -> AsyncGenerator[T, None]:
        """What `work` yields in the thread. Close it, or be cancelled, to stop.

        Raises ApiError 503 where the queue is full or the server stops, and what `work` raises.
        """
        if self.depth > self.waiting:
            raise ApiError(
                503, "too many requests are waiting; try again in a second", "overloaded"
            )
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[Any] = asyncio.Queue()
        stopped = threading.Event()

        def run() -> None:
            iterator = work()
            for piece in iterator:
                if stopped.is_set():
                    break
                loop.call_soon_threadsafe(pieces.put_nowait, piece)
            if close := getattr(iterator, "close", None):
                close()

        def over() -> None:
            self.depth -= 1
            pieces.put_nowait(_END)

        try:
            future: Future[None] = self._pool.submit(run)
        except RuntimeError as error:  # it was shut down
            raise ApiError(503, "the server is stopping", "overloaded") from error
        self.depth += 1
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(over))
        try:
            while (piece := await pieces.get()) is not _END:
                yield piece
            if future.cancelled():
                raise ApiError(503, "the server is stopping", "overloaded")
            future.result()
        finally:
            stopped.set()
            future.cancel()

    async def once(self, work: Callable[[], T]) -> T:
        """What `work` returns."""
        async with aclosing(self.each(lambda: iter((work(),)))) as pieces:
            return await anext(pieces)

    async def stop(self) -> None:
        """Drop what waits and wait for what is worked on."""
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)


async def finished(request: Request, work: Coroutine[Any, Any, T], seconds: float) -> T:
    """The result, unless the client hangs up or the time is over first: then the work is stopped.

    The body must have been read. Raises ApiError, 504 for too late.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        if gone.done():
            raise ApiError(GONE, "the client has hung up")
        raise too_late(seconds)
    finally:
        for one in (task, gone):
            one.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


def too_late(seconds: float) -> ApiError:
    return ApiError(504, f"it took longer than the {seconds:g} seconds that a request may take")


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
