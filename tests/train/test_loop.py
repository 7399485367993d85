"""The schedule, the budget, the log, and states that go on where they stopped."""

from __future__ import annotations

import csv
import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ragformer.errors import DivergedError, InputError
from ragformer.train.loop import (
    Averager,
    Budget,
    Log,
    MuonAdamW,
    fit,
    learning_rate,
    load_state,
    prefetched,
    save_state,
    train_step,
)


def test_the_rate_rises_stays_and_falls():
    rates = [learning_rate(step / 100, 2.0) for step in range(101)]
    assert all(a < b for a, b in itertools.pairwise(rates[:6]))
    assert set(rates[5:61]) == {2.0}
    assert all(a > b for a, b in itertools.pairwise(rates[60:]))
    assert rates[-1] == pytest.approx(0.04)


@given(st.floats(0, 1.5))
def test_a_rate_is_never_zero_nor_above_the_peak(progress):
    assert 0 < learning_rate(progress, 1.0) <= 1.0


def test_a_budget_ends_by_steps_or_by_time():
    assert Budget(60, 10, step=5).progress == pytest.approx(0.5, abs=1e-3)
    assert Budget(60, 10, step=10).done
    assert Budget(1, 10, spent=60).done
    assert not Budget(60, 10, step=9).done
    assert Budget(0, 10).done
    assert Budget(60, 0).done


def test_a_fit_says_twenty_times_how_it_goes_and_learns():
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    said = list(fit(model, lambda: (model(torch.eye(3)) - 5).square().mean(), 200, 0.1, "line"))
    assert [loss.step for loss in said] == list(range(10, 201, 10))
    assert said[-1].value < 0.01 * said[0].value
    assert str(said[0]).startswith("line step 10 of 200  loss ")
    assert len(list(fit(model, lambda: model(torch.eye(3)).square().mean(), 3, 0.1))) == 3


def trained(steps: int) -> tuple[nn.Module, MuonAdamW]:
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    optimizer = MuonAdamW(model, 0.1, 0.05)
    for _ in range(steps):
        train_step(model(torch.ones(2, 3)).square().sum(), model, optimizer, 0.1)
    return model, optimizer


def test_a_state_goes_on_where_it_stopped(tmp_path):
    path = tmp_path / "new" / "a.pt"
    model, optimizer = trained(3)
    save_state(path, model, optimizer, Budget(60, 10, step=3, spent=30.0))
    again, again_optimizer = trained(0)
    budget = Budget(60, 10)
    assert load_state(path, again, again_optimizer, budget)
    assert budget.step == 3
    assert 30 <= budget.seconds < 60 * 60
    for going, its in ((again, again_optimizer), (model, optimizer)):
        train_step(going(torch.ones(2, 3)).square().sum(), going, its, 0.1)
    assert torch.equal(again.weight, model.weight)
    assert torch.equal(again.weight, trained(4)[0].weight)
    assert [file.name for file in path.parent.iterdir()] == ["a.pt"]


def test_without_a_state_nothing_changes(tmp_path):
    model, optimizer = trained(1)
    budget = Budget(60, 10)
    assert not load_state(tmp_path / "none.pt", model, optimizer, budget)
    assert budget.step == 0


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "other sizes", "other keys"])
def test_a_state_that_does_not_fit_is_one_sentence(tmp_path, damage):
    path = tmp_path / "a.pt"
    model, optimizer = trained(1)
    save_state(path, model, optimizer, Budget(60, 10))
    whole = path.read_bytes()
    if damage == "other sizes":
        model = nn.Linear(4, 1)
    elif damage == "other keys":
        torch.save({"weights": 1}, path)
    else:
        path.write_bytes({"empty": b"", "cut": whole[:-300], "text": b"hello"}[damage])
    with pytest.raises(InputError, match=r"a\.pt is no training state .* delete it") as caught:
        load_state(path, model, MuonAdamW(model, 0.1, 0.05), Budget(60, 10))
    assert "\n" not in str(caught.value)


def test_a_loss_that_is_no_number_stops_the_run():
    model, optimizer = trained(0)
    with pytest.raises(DivergedError, match="the loss is nan"):
        train_step(model(torch.full((1, 3), float("nan"))).sum(), model, optimizer, 0.1)


def test_only_matrices_decay_and_those_of_blocks_go_to_muon():
    model = nn.ModuleDict({"blocks": nn.Linear(3, 2), "head": nn.Linear(2, 1)})
    groups = [
        (type(part).__name__, group["weight_decay"], [tuple(p.shape) for p in group["params"]])
        for part in MuonAdamW(model, 0.1, 0.05).parts
        for group in part.param_groups
    ]
    assert groups == [
        ("AdamW", 0.05, [(1, 2)]),
        ("AdamW", 0.0, [(2,), (1,)]),
        ("Muon", 0.05, [(2, 3)]),
    ]


@pytest.mark.usefixtures("small_peak")
def test_the_log_has_a_mean_a_few_steps_and_goes_on_in_the_same_file(tmp_path):
    path = tmp_path / "new" / "log.csv"
    for run in range(2):
        log = Log(path, nn.Linear(3, 1), torch.device("cpu"), every=2)
        budget = Budget(60, 100, step=4 * run)
        for loss in (1.0, 3.0, 5.0, 7.0):
            budget.step += 1
            line = log.add("masked", budget, loss, 10, 0.1)
            assert (line is None) == (budget.step % 2 == 1)
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [(row["step"], float(row["loss"])) for row in rows] == [
        ("2", 2.0),
        ("4", 6.0),
        ("6", 2.0),
        ("8", 6.0),
    ]
    assert all(float(row["tokens_per_s"]) > 0 for row in rows)


@given(st.lists(st.integers()), st.integers(1, 5))
def test_prefetched_items_come_in_order_and_end(items, depth):
    assert list(prefetched(iter(items), depth)) == items


def test_an_error_of_the_making_thread_arrives():
    def items():
        yield 1
        raise InputError("no more")

    going = prefetched(items())
    assert next(going) == 1
    with pytest.raises(InputError, match="no more"):
        next(going)


def test_an_average_lags_behind_and_replaces_the_weights():
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 0.0)
    average = Averager(model, decay=0.75)
    nn.init.constant_(model.weight, 8.0)
    for _ in range(2):
        average.update(model)
    average.copy_to(model)
    assert model.weight.item() == pytest.approx(8 * (1 - 0.75**2))
