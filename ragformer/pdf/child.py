"""The parent's hold on one reading child: start, ask, watch the clock, kill, start again."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ragformer.errors import PdfError
from ragformer.pdf.frames import read_frame, write_frame

_START = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]);"
    "from ragformer.pdf.sandbox import main; main()"
)
_START_SECONDS = 60.0
_WATCH_EVERY = 0.1


@dataclass(frozen=True, slots=True)
class Limits:
    """What a child may use. `deaths`: how many children one file may bring down before we stop.

    page_seconds bounds opening the file and each page; memory_mb is the child's address space,
    enforced where the system can (Linux), see `memory_is_limited`.
    """

    memory_mb: int = 1024
    page_seconds: float = 20.0
    file_seconds: float = 1800.0
    deaths: int = 3


def memory_is_limited() -> bool:
    """Whether this system enforces Limits.memory_mb; macOS and Windows do not."""
    return sys.platform.startswith("linux")


USUAL_LIMITS = Limits()


class ChildDiedError(Exception):
    """The child ended in the middle of its work; `late` when the whole file took too long."""

    def __init__(self, reason: str, late: bool) -> None:
        super().__init__(reason)
        self.late = late


class Child:
    """A reading process that starts when first asked and again after it has died."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._closed = False
        self._deadline = math.inf
        self._file_deadline = math.inf
        self._overdue = ""

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The process id, None while there is no process."""
        return None if self._process is None else self._process.pid

    def start_clock(self) -> None:
        """A new file begins: its file_seconds count from here."""
        self._file_deadline = time.monotonic() + self.limits.file_seconds

    def ask(self, request: dict[str, Any]) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Send a request and yield the frames of its answer, the last one included.

        Raises ChildDiedError when the child crashes, breaks the protocol or runs into a limit.
        """
        limits = {"page_seconds": self.limits.page_seconds, "memory_mb": self.limits.memory_mb}
        finished = False
        process = self._running()
        assert process.stdin is not None
        try:
            write_frame(process.stdin, {**request, **limits})
            while not finished:
                frame = self._next(process, self.limits.page_seconds)
                finished = not frame[0].keys() & {"page", "n_pages"}
                yield frame
        except (OSError, EOFError, LookupError, TypeError, ValueError) as error:
            raise self._died(process) from error
        finally:
            if not finished:
                self._stop()

    def close(self) -> None:
        """Kill the process; asking again raises PdfError."""
        with self._lock:
            self._closed = True
        self._stop()

    def _running(self) -> subprocess.Popen[bytes]:
        """The process, started if there is none. The watcher thread lives as long as it does."""
        if self._process is not None:
            return self._process
        with self._lock:
            if self._closed:
                raise PdfError("reading was stopped before this file's turn")
            self._process = process = subprocess.Popen(
                [sys.executable, "-c", _START, json.dumps(sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        self._overdue = ""
        threading.Thread(target=self._watch, args=(process,), daemon=True).start()
        try:
            self._next(process, _START_SECONDS)
        except (OSError, EOFError, ValueError) as error:
            self._stop()
            raise PdfError("the reading process does not start; reinstall ragformer") from error
        return process

    def _next(
        self, process: subprocess.Popen[bytes], seconds: float
    ) -> tuple[dict[str, Any], bytes]:
        """The next frame; the clock runs only while we wait for it."""
        assert process.stdout is not None
        self._deadline = time.monotonic() + seconds
        try:
            return read_frame(process.stdout)
        finally:
            self._deadline = math.inf

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """Kill the process when a frame is overdue: then the reading side sees the end of file."""
        while process.poll() is None:
            now = time.monotonic()
            deadline = self._deadline
            if now > deadline:
                self._overdue = f"took longer than {self.limits.page_seconds:g} s on it"
                process.kill()
            elif deadline < math.inf and now > self._file_deadline:
                self._overdue = f"took longer than {self.limits.file_seconds:g} s on the file"
                process.kill()
            time.sleep(_WATCH_EVERY)

    def _died(self, process: subprocess.Popen[bytes]) -> ChildDiedError:
        late = time.monotonic() > self._file_deadline
        self._stop()
        return ChildDiedError(self._overdue or _cause(process.returncode), late)

    def _stop(self) -> None:
        with self._lock:
            process, self._process = self._process, None
        if process is None:
            return
        # The child may be about to end by itself; its own exit status says more than our kill.
        try:
            process.wait(0.05 if not self._closed else 0)
        except subprocess.TimeoutExpired:
            process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except OSError:
                    continue  # unsent bytes for a dead child


def _cause(status: int) -> str:
    """Why a child ended, in words that follow "the reader"."""
    if status >= 0:
        return f"ended with status {status}"
    names = {-signal.SIGABRT: "aborted, most likely for want of memory"}
    if hasattr(signal, "SIGXCPU"):
        names[-signal.SIGXCPU] = "used too much processor time"
    known = {int(key): value for key, value in names.items()}
    return known.get(status) or f"was ended by signal {-status}"
