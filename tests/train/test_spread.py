"""Two processes train as one does at the same whole batch, and one goes on from what two saved."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from spread_run import together

from ragformer.errors import InputError
from ragformer.text.tokenizer import Tokenizer
from ragformer.train import decoder, encoder
from ragformer.train.spread import Spread, spreading

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available(), reason="this torch has no torch.distributed"
)


DECODER = {"d_model": 64, "n_layers": 1, "batch": 6, "characters": 420}
DECODER |= {"writing_tokens": 32, "writing_share": 0.4, "save_every": 5}
# Of 13 texts two processes have 7 and 6, of the last chunk's one text 1 and 0.
ENCODER = {"d_model": 192, "n_layers": 1, "batch": 13, "bag_batch": 15, "max_tokens": 48}
ENCODER |= {"bag_minutes": 60, "bag_steps": 4, "masked_minutes": 60, "masked_steps": 4}


@pytest.fixture
def run_in(data: Path, tokenizer: Tokenizer, tmp_path: Path) -> Any:
    """run_in(recipe, name, n, values): the losses that each of n processes saw, in a folder of
    that name."""

    def run(recipe: str, name: str, n: int, values: dict[str, Any]) -> list[list[float]]:
        folder = tmp_path / name
        (folder / "out").mkdir(parents=True, exist_ok=True)
        shutil.copy(tokenizer.path, folder / "out")
        places = {"data": data, "out": folder / "out", "work": folder / "work"}
        return together(recipe, {**places, "minutes": 60, **values}, folder, n)

    return run


def test_two_processes_train_as_one_and_one_goes_on_from_two(run_in: Any) -> None:
    [alone] = run_in("decoder", "alone", 1, DECODER | {"steps": 10})
    first, second = run_in("decoder", "pair", 2, DECODER | {"steps": 10})
    assert len(alone) == 10
    assert len(set(alone)) == 10
    assert first == second
    assert first == pytest.approx(alone, abs=1e-4)
    [alone_later] = run_in("decoder", "alone", 1, DECODER | {"steps": 14})
    [later] = run_in("decoder", "pair", 1, DECODER | {"steps": 14})
    assert len(later) == 4
    assert later == pytest.approx(alone_later, abs=1e-4)


def test_two_processes_train_in_parts_as_one_and_one_goes_on_from_two(
    run_in: Any, tmp_path: Path
) -> None:
    values = DECODER | {"steps": 8}
    [alone] = run_in("decoder", "alone", 1, values)
    first, second = run_in("decoder", "parts", 2, values | {"in_parts": True})
    assert first == second
    assert first == pytest.approx(alone, abs=1e-4)
    [alone_later] = run_in("decoder", "alone", 1, values | {"steps": 11})
    work = tmp_path / "parts" / "work"
    assert [path.name for path in work.iterdir() if path.is_dir()] == ["pretrain.parts"]
    # As a process leaves it that is killed while its next state takes the name.
    whole = (work / "pretrain.parts").rename(work / "pretrain.before")
    [later] = run_in("decoder", "parts", 1, values | {"steps": 11})
    whole.rename(work / "pretrain.parts")
    assert len(later) == 3
    assert later == pytest.approx(alone_later, abs=1e-4)
    (work / "pretrain.pt").unlink()
    with pytest.raises(InputError, match=r"parts is no training state of these sizes"):
        run_in("decoder", "parts", 1, values | {"d_model": 128})


def test_parts_want_several_processes_and_no_whole_model(data: Path, tmp_path: Path) -> None:
    config = decoder.Config(data, tmp_path, tmp_path, in_parts=True)
    with pytest.raises(InputError, match="--in-parts is for several processes"):
        list(decoder.main(config))


def test_two_processes_train_the_encoder_as_one_does(run_in: Any) -> None:
    values = ENCODER | {"steps": 4}
    [alone] = run_in("encoder", "alone", 1, values)
    first, second = run_in("encoder", "pair", 2, values | {"chunk": 4})
    assert len(set(alone)) == 12
    assert first == second
    assert first == pytest.approx(alone, abs=1e-4)


def test_a_teacher_teaches_one_process(data: Path, tmp_path: Path) -> None:
    config = encoder.Config(data, tmp_path, tmp_path, teacher=tmp_path)
    with (
        mock.patch.object(encoder, "spreading", return_value=nullcontext(Spread(0, 2))),
        pytest.raises(InputError, match="leave out torchrun, or --teacher"),
    ):
        list(encoder.main(config))


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
