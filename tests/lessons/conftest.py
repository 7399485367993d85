"""A lesson at toy size, run in this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from ragformer.lessons.lesson import Result, Setting, run_lesson
from ragformer.train.loop import Loss


@dataclass(frozen=True)
class Lesson:
    """What a lesson said, how it learned and what came of it."""

    lines: list[str]
    losses: list[Loss]
    result: Result

    def fell(self, label: str = "") -> float:
        """The last loss of a model, as a share of its first."""
        values = [loss.value for loss in self.losses if loss.label == label]
        return values[-1] / values[0]


@pytest.fixture
def toy(tmp_path: Path) -> Callable[[str], Lesson]:
    """toy(name): run a lesson at toy size."""

    def call(name: str) -> Lesson:
        *said, result = run_lesson(name, Setting(tmp_path / name, quick=True))
        assert isinstance(result, Result)
        lines = [item for item in said if isinstance(item, str)]
        return Lesson(lines, [item for item in said if isinstance(item, Loss)], result)

    return call
