"""Lessons outside the page: a child `ragformer lessons run`, one at a time, whatever tabs do."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ragformer.lessons.lesson import lesson_text
from ragformer_ui.jobs import start_ragformer

_LOSS = re.compile(r"(?:(.+) )?step (\d+) of (\d+)  loss (-?\d+\.\d+)")


@dataclass(frozen=True, slots=True)
class Told:
    """A loss that the child told: of which model, at which of how many steps."""

    label: str
    step: int
    steps: int
    loss: float


@dataclass(frozen=True, slots=True)
class Run:
    """A lesson that runs, or did. said: its lines but the losses. result: as `--json` gives it,
    once it is done. error: what went wrong, a sentence."""

    lesson: str
    state: Literal["running", "done", "failed", "stopped"] = "running"
    said: tuple[str, ...] = ()
    losses: tuple[Told, ...] = ()
    result: dict[str, Any] = field(default_factory=dict)
    error: str = ""


class Runs:
    """The last run of each lesson; a second one waits for nobody, it is not begun."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}
        self._child: subprocess.Popen[str] | None = None
        self._changed = threading.Condition()

    def start(self, lesson: str, out: Path, *flags: str) -> bool:
        """Begin to run it, its pictures to `out`; False while another runs."""
        with self._changed:
            if self.running:
                return False
            where = ["--out", str(out), "--json", *flags]
            self._child = child = start_ragformer("lessons", "run", lesson, *where)
            self._runs[lesson] = Run(lesson)
            threading.Thread(
                target=self._follow, args=(lesson, child), daemon=True, name="lesson"
            ).start()
        return True

    @property
    def running(self) -> str:
        """The lesson that runs; "" for none."""
        with self._changed:
            return next((r.lesson for r in self._runs.values() if r.state == "running"), "")

    def of(self, lesson: str) -> Run | None:
        with self._changed:
            return self._runs.get(lesson)

    def stop(self) -> None:
        with self._changed:
            if (lesson := self.running) and self._child is not None:
                self._set(lesson, state="stopped")
                self._child.terminate()

    def wait(self, seconds: float) -> bool:
        """Whether none runs any more within that time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self.running, seconds)

    def _set(self, lesson: str, **changes: Any) -> None:
        self._runs[lesson] = dataclasses.replace(self._runs[lesson], **changes)
        self._changed.notify_all()

    def _follow(self, lesson: str, child: subprocess.Popen[str]) -> None:
        """Note each line as it comes. The child says the lesson's text first; the page has it."""
        assert child.stdout
        assert child.stderr
        n_text, last = len(lesson_text(lesson).splitlines()) + 1, ""
        with child:
            for i, line in enumerate(child.stderr):
                last = line.strip() or last
                if i >= n_text:
                    self._note(lesson, child, line)
            out = child.stdout.read()
        with self._changed:
            if self._child is not child or self._runs[lesson].state != "running":
                return
            if child.returncode == 0:
                self._set(lesson, state="done", result=json.loads(out))
            else:
                _, told, error = last.partition("ragformer: ")  # else its last line is no error
                said = error if told else f"the lesson ended with code {child.returncode}"
                self._set(lesson, state="failed", error=said)

    def _note(self, lesson: str, child: subprocess.Popen[str], line: str) -> None:
        with self._changed:
            run = self._runs[lesson]
            if self._child is not child:  # stopped, and another begun since
                return
            if told := read_loss(line):
                self._set(lesson, losses=(*run.losses, told))
            else:
                self._set(lesson, said=(*run.said, line.rstrip("\n")))


def read_loss(line: str) -> Told | None:
    """The loss that a line tells; None for any other line."""
    found = _LOSS.fullmatch(line.strip())
    if found is None:
        return None
    label, step, steps, value = found.groups()
    return Told(label or "", int(step), int(steps), float(value))
