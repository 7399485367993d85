"""What a lesson is, which there are, and running one.

A lesson is a module of this package. Its docstring says what it shows (the first line, then more),
where the idea comes from and what to try next; its `run(setting)` yields what it has to say, line
by line and loss by loss, and ends in an `Outcome`.
"""

from __future__ import annotations

import ast
import importlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ragformer.errors import InputError, NotFoundError
from ragformer.nn.config import TransformerConfig

if TYPE_CHECKING:
    from ragformer.train.loop import Loss

T = TypeVar("T")

LESSONS = (
    "attention",
    "positions",
    "embeddings",
    "rnn",
    "translate",
    "arithmetic",
    "language",
    "bert",
    "vision",
    "image",
    "diffusion",
    "music",
    "sound",
    "lora",
    "preference",
    "prompt",
    "explain",
)
"""In the order of the course."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How to run a lesson.

    out: the folder for its pictures, which exists. quick: toy sizes, to see that it runs.
    data: a folder of .txt files to learn from, for lessons on text.
    """

    out: Path
    quick: bool = False
    data: Path | None = None

    def size(self, full: T, toy: T) -> T:
        """`full`, or `toy` where the lesson is only to be seen running."""
        return toy if self.quick else full

    def transformer(
        self, vocab_size: int, max_seq_len: int, wide: tuple[int, int] = (64, 32), **choices: Any
    ) -> TransformerConfig:
        """Three blocks of four heads, two in a toy; wide: d_model in full and as a toy."""
        d_model = self.size(*wide)
        return TransformerConfig(
            vocab_size,
            d_model=d_model,
            n_layers=self.size(3, 2),
            n_heads=4,
            n_kv_heads=4,
            d_head=d_model // 4,
            d_ff=2 * d_model,
            max_seq_len=max_seq_len,
            logit_scale=d_model**-0.5,
            **choices,
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a lesson came to: its figure, the target, and the files it wrote.

    at_most: the figure must be below the target, as a loss or an error; else it must reach it.
    """

    figure: str
    value: float
    target: float
    files: tuple[Path, ...]
    at_most: bool = False

    @property
    def reached(self) -> bool:
        return self.value < self.target if self.at_most else self.value >= self.target


@dataclass(frozen=True, slots=True)
class Result:
    """An outcome and what it took.

    cpu_seconds: of all threads together. peak_bytes: the most memory the process ever had;
    0 where the system does not tell.
    """

    lesson: str
    outcome: Outcome
    seconds: float
    cpu_seconds: float
    peak_bytes: int


def run_lesson(name: str, setting: Setting) -> Iterator[str | Loss | Result]:
    """What the lesson says, and last its Result. NotFoundError for an unknown name."""
    from ragformer.bench.machine import peak_bytes

    _source(name)
    if setting.data is not None and not setting.data.is_dir():
        raise InputError(f"{setting.data} is no folder; give one of .txt files to learn from")
    setting.out.mkdir(parents=True, exist_ok=True)
    began, cpu = time.perf_counter(), time.process_time()
    for item in importlib.import_module(f"ragformer.lessons.{name}").run(setting):
        if isinstance(item, Outcome):
            spent = time.perf_counter() - began, time.process_time() - cpu
            yield Result(name, item, *spent, peak_bytes())
        else:
            yield item


def lesson_text(name: str) -> str:
    """The lesson's docstring, read without importing it and what it needs."""
    text = ast.get_docstring(ast.parse(_source(name).read_text(encoding="utf-8")))
    assert text is not None  # test_lessons.py holds every lesson to it
    return text


def summary(name: str) -> str:
    """The first line of the lesson's text."""
    return lesson_text(name).partition("\n")[0]


def _source(name: str) -> Path:
    if name not in LESSONS:
        raise NotFoundError(f"there is no lesson {name!r}; there are {', '.join(LESSONS)}")
    return Path(__file__).with_name(f"{name}.py")
