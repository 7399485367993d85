"""Indexing outside the page: a child `ragformer index` at a time, whatever tabs come and go."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

State = Literal["waiting", "running", "done", "failed", "stopped"]
_RAGFORMER = "import sys; from ragformer_cli.main import run; sys.exit(run())"
KEPT = 20
"""Jobs that are over and still told of."""


@dataclass(frozen=True, slots=True)
class Job:
    """Paths to index and how far that has come.

    step: the counts of the last step, as `ragformer index --progress` prints them. began: when the
    first page began to be embedded, by time.monotonic, 0 before. files: of the report, once there
    is one. error: what went wrong, a sentence.
    """

    number: int
    paths: tuple[Path, ...]
    flags: tuple[str, ...] = ()
    password: str = dataclasses.field(default="", repr=False)
    state: State = "waiting"
    step: dict[str, int] = dataclasses.field(default_factory=dict)
    began: float = 0.0
    files: tuple[dict[str, Any], ...] = ()
    error: str = ""


class Jobs:
    """The jobs of one collection, one after another in the order they came."""

    def __init__(self, collection: str) -> None:
        self.collection = collection
        self._jobs: list[Job] = []
        self._changed = threading.Condition()
        self._child: subprocess.Popen[str] | None = None
        self._working = False

    def add(self, paths: Sequence[Path], *flags: str, password: str = "") -> int:
        """Index these when those before are done; returns the job's number."""
        with self._changed:
            number = self._jobs[-1].number + 1 if self._jobs else 1
            over = [job for job in self._jobs if job.state not in ("waiting", "running")]
            self._jobs = [job for job in self._jobs if job not in over[:-KEPT]]
            self._jobs.append(Job(number, tuple(paths), flags, password))
            if not self._working:
                self._working = True
                threading.Thread(target=self._work, daemon=True, name="index").start()
        return number

    def all(self) -> list[Job]:
        """Every job that is remembered, as it is now."""
        with self._changed:
            return list(self._jobs)

    def stop(self) -> None:
        """End the one that runs and drop those that wait; what was finished is kept."""
        with self._changed:
            for job in self._jobs:
                if job.state in ("waiting", "running"):
                    self._set(job.number, state="stopped", password="")
            if self._child is not None:
                self._child.terminate()

    def wait(self, seconds: float) -> bool:
        """Whether all are over within that time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._open(), seconds)

    def _open(self) -> list[Job]:
        return [job for job in self._jobs if job.state in ("waiting", "running")]

    def _set(self, number: int, **changes: Any) -> None:
        self._jobs = [
            dataclasses.replace(job, **changes) if job.number == number else job
            for job in self._jobs
        ]
        self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._working = bool(self._open())
                if not self._working:
                    return
                job = self._open()[0]
                self._set(job.number, state="running")
                self._child = child = self._start(job)
            with child:
                out, error = self._follow(job, child)
            with self._changed:
                self._child = None
                if any(j.number == job.number and j.state == "running" for j in self._jobs):
                    self._set(job.number, **outcome(child.returncode, out, error))

    def _start(self, job: Job) -> subprocess.Popen[str]:
        flags = ["--collection", self.collection, "--json", "--progress", "--wait", *job.flags]
        flags += ["--password=-"] if job.password else []
        child = start_ragformer("index", *flags, "--", *map(str, job.paths))
        assert child.stdin
        child.stdin.write(f"{job.password}\n")
        child.stdin.close()
        return child

    def _follow(self, job: Job, child: subprocess.Popen[str]) -> tuple[str, str]:
        """Note each step that the child tells; returns its stdout and the last words on stderr."""
        assert child.stdout
        assert child.stderr
        out: list[str] = []
        reading = threading.Thread(target=_read_into, args=(child.stdout, out))
        reading.start()
        error, began = "", 0.0
        for line in child.stderr:
            step = read_step(line)
            if step is None:
                error = line.strip() or error
                continue
            if not began and step["pages_done"]:
                began = time.monotonic()
            with self._changed:
                self._set(job.number, step=step, began=began)
        reading.join()
        return "".join(out), error


def start_ragformer(*arguments: str) -> subprocess.Popen[str]:
    """A child `ragformer` with these arguments; its three streams are pipes."""
    return subprocess.Popen(
        [sys.executable, "-c", _RAGFORMER, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )


def _read_into(stream: IO[str], out: list[str]) -> None:
    out.append(stream.read())


def read_step(line: str) -> dict[str, int] | None:
    """The counts of a line of `--progress`; None for any other line."""
    if not line.startswith("{"):
        return None
    try:
        step = json.loads(line)
    except ValueError:
        return None
    return step if "pages_done" in step else None


def outcome(code: int, out: str, error: str) -> dict[str, Any]:
    """What came of a child: the changes to its Job."""
    if code == 0:
        files = tuple(json.loads(out)["files"])
        return {"state": "done", "files": files, "password": ""}
    said = error.removeprefix("ragformer: ") or f"the indexer ended with code {code}"
    return {"state": "failed", "error": said, "password": ""}


def progress(job: Job, now: float) -> tuple[float, str]:
    """How much of a running job is done, 0 to 1, and a line about it."""
    step = job.step
    if not step:
        return 0.0, "Starting"
    parts = [f"{step['files_done']:,} of {step['files_total']:,} files"]
    seconds = now - job.began if job.began else 0.0
    if step["pages_done"] and seconds > 0:
        rate = step["pages_done"] / seconds
        left = max(0, step["pages_total"] - step["pages_done"]) / rate
        parts += [f"{rate:,.1f} pages/s", f"about {lasting(left)} left"]
    elif step["pages_read"]:
        parts.append(f"{step['pages_read']:,} pages read")
    done = max(
        step["pages_done"] / max(1, step["pages_total"]),
        step["files_done"] / max(1, step["files_total"]),
    )
    return min(1.0, done), ", ".join(parts)


def lasting(seconds: float) -> str:
    """ "40 s", "3 min", "2 h"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{round(seconds / 3600)} h"


def told(job: Job) -> str:
    """What came of a job that is over, a sentence."""
    if job.state == "failed":
        return f"Nothing was indexed: {job.error}"
    if job.state == "stopped":
        return "Stopped; what was finished is kept."
    counts: dict[str, int] = {}
    for file in job.files:
        counts[file["status"]] = counts.get(file["status"], 0) + 1
    parts = [f"{n} {status}" for status, n in sorted(counts.items())]
    return f"Done: {', '.join(parts) or 'nothing to do'}."
