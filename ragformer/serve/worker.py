"""One thread that computes, and a bounded queue before it.

    async for piece in worker.each(lambda: library.stream(question)): ...

torch answers one question on all cores sooner than two at a time, so each has its turn: up to its
end, or up to the step of a model that it can take together with others (WAITING). Between two
rounds one more may begin. What nobody waits for any longer leaves the queue, or ends at its next
piece.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fastapi import Request

from ragformer.serve.failures import ApiError
from ragformer.types import WAITING

T = TypeVar("T")
_NO_MORE = object()
GONE = 499
"""The status of a request whose client hung up, which nobody reads; nginx counts them so."""


@dataclass(eq=False, slots=True)
class _Job:
    """pieces: what came, last an _End; filled in the event loop `loop`. iterator: once it began."""

    work: Callable[[], Iterator[Any]]
    loop: asyncio.AbstractEventLoop
    pieces: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)
    stopped: threading.Event = field(default_factory=threading.Event)
    iterator: Iterator[Any] | None = None


@dataclass(frozen=True, slots=True)
class _End:
    error: BaseException | None = None


class Worker:
    """See above. waiting: how many may be there beside the first; together: how many of all that
    may have begun."""

    def __init__(self, name: str, waiting: int, together: int = 1) -> None:
        self.waiting, self.together = waiting, together
        # Worked on and waiting, and those of them that somebody waits for: one whose client has
        # gone ends at its next turn and takes nobody's place till then. Of the event loop only.
        self.depth = self._wanted = 0
        self._queue: deque[_Job] = deque()
        self._lock = threading.Lock()  # of the queue and the two that follow
        self._running = self._stopping = False
        self._pool = ThreadPoolExecutor(1, f"ragformer-{name}")

    async def each(self, work: Callable[[], Iterator[T]]) -> AsyncGenerator[T, None]:
        """What `work` yields in the thread, less WAITING. Close it, or be cancelled, to stop.

        Raises ApiError 503 where the queue is full or the server stops, and what `work` raises.
        """
        job = self._put(work)
        try:
            while not isinstance(piece := await job.pieces.get(), _End):
                yield piece
            if piece.error is not None:
                raise piece.error
        finally:
            self._wanted -= 1
            job.stopped.set()
            with self._lock:
                if waits := job in self._queue:
                    self._queue.remove(job)
            if waits:
                self._over(job, None)

    async def once(self, work: Callable[[], T]) -> T:
        """What `work` returns."""
        async with aclosing(self.each(lambda: iter((work(),)))) as pieces:
            return await anext(pieces)

    async def stop(self) -> None:
        """Drop what waits and wait for what is worked on."""
        with self._lock:
            self._stopping = True
            waiting = list(self._queue)
            self._queue.clear()
        for job in waiting:
            self._over(job, _stopping())
        await asyncio.to_thread(self._pool.shutdown)

    def _put(self, work: Callable[[], Iterator[T]]) -> _Job:
        if self._wanted > self.waiting:
            raise ApiError(
                503, "too many requests are waiting; try again in a second", "overloaded"
            )
        job = _Job(work, asyncio.get_running_loop())
        with self._lock:
            if self._stopping:
                raise _stopping()
            self._queue.append(job)
            self.depth += 1
            self._wanted += 1
            if not self._running:
                self._running = True
                self._pool.submit(self._work)
        return job

    def _over(self, job: _Job, error: BaseException | None) -> None:
        """In the event loop: nothing more comes of it."""
        self.depth -= 1
        job.pieces.put_nowait(_End(error))

    def _work(self) -> None:
        """Rounds of turns, until there is nothing to do."""
        begun: list[_Job] = []
        while True:
            with self._lock:
                if self._queue and len(begun) < self.together:
                    begun.append(self._queue.popleft())
                if not begun:
                    self._running = False
                    return
            begun = [job for job in begun if self._turn(job)]

    def _turn(self, job: _Job) -> bool:
        """Let it work up to WAITING or its end; whether it has another turn."""
        error: BaseException | None = None
        try:
            if job.iterator is None:
                job.iterator = job.work()
            while not job.stopped.is_set():
                if (piece := next(job.iterator, _NO_MORE)) is _NO_MORE:
                    break
                if isinstance(piece, str) and piece == WAITING:
                    return True
                job.loop.call_soon_threadsafe(job.pieces.put_nowait, piece)
            if close := getattr(job.iterator, "close", None):
                close()
        except BaseException as raised:  # it is raised where the pieces are awaited
            error = raised
        job.loop.call_soon_threadsafe(self._over, job, error)
        return False


def _stopping() -> ApiError:
    return ApiError(503, "the server is stopping", "overloaded")


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
