"""A stage ends the same however often it was stopped, in the average of its weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from ragformer.errors import DivergedError
from ragformer.train.curves import Development
from ragformer.train.loop import Averager, Log, backward
from ragformer.train.spread import Spread
from ragformer.train.stage import Plan, Stage

pytestmark = pytest.mark.usefixtures("small_peak")
ALONE = Spread()


class Line(nn.Module):
    """A weight that is trained towards 1 and a constant that stays."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))
        self.constant = nn.Parameter(torch.full((2,), 5.0), requires_grad=False)


def plan(work: Path, **changes) -> Plan:
    values = {"minutes": 60, "steps": 30, "rate": 0.1, "weight_decay": 0.0, "save_every": 4}
    return Plan("line", work / "line.pt", **values | changes)


def lines_of(stage: Stage, work: Path, development: Development | None = None, goal: float = 1.0):
    """Trains with a batch that tells the step apart."""

    def step():
        at = stage.budget.step
        loss = (stage.model.weight - goal - 0.1 * at).square().sum()
        return backward(loss), 7

    log = Log(work / "log.csv", stage.model, torch.device("cpu"), every=5)
    return stage.train(step, log, ALONE, development)


def test_a_stage_that_was_stopped_ends_as_one_that_was_not(tmp_path):
    whole = Stage(plan(tmp_path / "whole"), model := Line(), model)
    lines = list(lines_of(whole, tmp_path / "whole"))
    assert [line.split()[3] for line in lines] == ["5", "10", "15", "20", "25", "30"]
    again = None
    for last, saved in (("10", 8), ("20", 20), ("30", 28), (None, 30)):
        stage = Stage(plan(tmp_path / "cut"), again := Line(), again)
        running = lines_of(stage, tmp_path / "cut")
        for line in running:
            if line.split()[3] == last:
                running.close()
        assert torch.load(tmp_path / "cut" / "line.pt", weights_only=True)["step"] == saved
    assert torch.equal(again.weight, model.weight)
    assert torch.equal(again.constant, model.constant)


def test_the_weights_end_as_their_average_and_the_state_keeps_the_last(tmp_path):
    stage = Stage(plan(tmp_path, decay=0.9), model := Line(), model)
    followed = Averager(model, 0.9)
    plain = stage.average.update

    def update(averaged):
        plain(averaged)
        followed.update(averaged)

    stage.average.update = update
    list(lines_of(stage, tmp_path))
    last = torch.load(tmp_path / "line.pt", weights_only=True)["model"]["weight"]
    assert torch.equal(model.weight, followed.average["weight"])
    assert not torch.equal(model.weight, last)


def test_where_nothing_is_averaged_the_last_weights_stay(tmp_path):
    stage = Stage(plan(tmp_path), model := Line(), averaged=nn.Module())
    list(lines_of(stage, tmp_path))
    state = torch.load(tmp_path / "line.pt", weights_only=True)
    assert torch.equal(model.weight, state["model"]["weight"])
    assert state["average"] == {}


@pytest.mark.parametrize("budget", [{"steps": 0}, {"minutes": 0}])
def test_a_stage_without_a_budget_leaves_weights_and_no_state(tmp_path, budget):
    stage = Stage(plan(tmp_path, **budget), model := Line(), model)
    assert list(lines_of(stage, tmp_path)) == []
    assert not model.weight.any()
    assert not (tmp_path / "line.pt").exists()


def test_time_that_ends_while_it_is_measured_still_has_its_state(tmp_path):
    stage = Stage(plan(tmp_path, steps=1000), model := Line(), model)

    def measure():
        stage.budget.spent += 60 * 60
        return {"score": 1.0}

    development = Development(tmp_path / "dev.csv", measure, 7)
    assert len(list(lines_of(stage, tmp_path, development))) == 2  # of the log and of the score
    assert torch.load(tmp_path / "line.pt", weights_only=True)["step"] == 7


def test_a_loss_that_is_no_number_ends_it_before_the_average_is_spoiled(tmp_path):
    stage = Stage(plan(tmp_path), model := Line(), model)
    with pytest.raises(DivergedError, match="the loss is nan"):
        list(lines_of(stage, tmp_path, goal=float("nan")))
    assert torch.equal(stage.average.average["weight"], torch.zeros(3))
