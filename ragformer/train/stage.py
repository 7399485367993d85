"""One stage of training: from its first step, or where it was stopped, to averaged weights.

    a batch's gradients -> update -> average -> now and then a state, a log line, a measurement

A recipe says what a step is (`Step`); all of them are trained here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from ragformer.train.curves import Development
from ragformer.train.loop import (
    Averager,
    Budget,
    Log,
    MuonAdamW,
    learning_rate,
    load_state,
    save_state,
)
from ragformer.train.spread import Spread

Step = Callable[[], tuple[Tensor, int]]
"""Draws the next batch and leaves its gradients in the weights; returns this process's part of the
loss, and the tokens of all processes' batch together."""


@dataclass(frozen=True, slots=True)
class Plan:
    """name: in the log. state: the file that a stopped stage goes on from. rate: at its peak
    (`learning_rate`). decay: of the average of weights. save_every: steps."""

    name: str
    state: Path
    minutes: float
    steps: int
    rate: float
    weight_decay: float = 0.05
    decay: float = 0.995
    save_every: int = 250


class Stage:
    """A model under way: as `plan` begins it, or as the state of a stopped run left it."""

    def __init__(self, plan: Plan, model: nn.Module, averaged: nn.Module) -> None:
        """model: is updated and saved. averaged: the part of it whose weights end as their average.

        Raises InputError where the state is none of this model.
        """
        self.plan, self.model, self.averaged = plan, model, averaged
        self.optimizer = MuonAdamW(model, plan.rate, plan.weight_decay)
        self.budget = Budget(plan.minutes, plan.steps)
        self.average = Averager(averaged, plan.decay)
        self.resumed = load_state(plan.state, model, self.optimizer, self.budget, self.average)

    def train(
        self, step: Step, log: Log, spread: Spread, development: Development | None = None
    ) -> Iterator[str]:
        """Take steps until the budget is used and leave the average in `averaged`; yields lines.

        Only the first process logs and measures. Raises DivergedError.
        """
        plan, budget = self.plan, self.budget
        saved = budget.step
        while (progress := spread.agreed(budget.progress)) < 1:
            part, n_tokens = step()
            rate = learning_rate(progress, plan.rate)
            loss = spread.update(part, self.model, self.optimizer, rate)
            self.average.update(self.averaged)
            budget.step += 1
            if budget.step % plan.save_every == 0:
                self.save(spread)
                saved = budget.step
            if not spread.first:
                continue
            if line := log.add(plan.name, budget, loss, n_tokens, rate):
                yield line
            if development and (
                line := development.add(plan.name, budget, self.averaged, self.average)
            ):
                yield line
        if budget.step > saved:  # an untouched model leaves no state behind
            self.save(spread)
        self.average.copy_to(self.averaged)

    def save(self, spread: Spread) -> None:
        """Write down all that is needed to go on; every process calls it."""
        if spread.first:
            save_state(self.plan.state, self.model, self.optimizer, self.budget, self.average)
