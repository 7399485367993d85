"""Two processes train as one does at the same whole batch, and one goes on from what two saved."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from spread_run import together

from ragformer.errors import InputError
from ragformer.text.tokenizer import Tokenizer
from ragformer.train.spread import Spread, spreading

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available(), reason="this torch has no torch.distributed"
)


@pytest.fixture
def run_in(data: Path, tokenizer: Tokenizer, tmp_path: Path) -> Any:
    """run_in(name, n, steps): the losses that each of n processes saw, in a folder of that name."""

    def run(name: str, n: int, steps: int) -> list[list[float]]:
        folder = tmp_path / name
        (folder / "out").mkdir(parents=True, exist_ok=True)
        shutil.copy(tokenizer.path, folder / "out")
        values = {"data": data, "out": folder / "out", "work": folder / "work", "minutes": 60}
        values |= {"d_model": 64, "n_layers": 1, "batch": 6, "characters": 420}
        values |= {"writing_tokens": 32, "writing_share": 0.4, "save_every": 5}
        return together({**values, "steps": steps}, folder, n)

    return run


def test_two_processes_train_as_one_and_one_goes_on_from_two(run_in: Any) -> None:
    [alone] = run_in("alone", 1, 10)
    first, second = run_in("pair", 2, 10)
    assert len(alone) == 10
    assert len(set(alone)) == 10
    assert first == second
    assert first == pytest.approx(alone, abs=1e-4)
    [alone_later] = run_in("alone", 1, 14)
    [later] = run_in("pair", 1, 14)
    assert len(later) == 4
    assert later == pytest.approx(alone_later, abs=1e-4)


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(InputError, match="a batch of 2 rows cannot be shared by 3 processes"):
        Spread(0, 3).check(2)


def test_shares_are_the_batch() -> None:
    rows = list(range(7))
    shares = [Spread(rank, 3).share(rows) for rank in range(3)]
    assert sorted(row for share in shares for row in share) == rows


def test_alone_nothing_is_joined() -> None:
    with spreading() as spread:
        assert spread == Spread()
        assert spread.first
        assert spread.agreed(0.3) == 0.3
        assert not torch.distributed.is_initialized()
