"""What millions of pages would take follows from the table, and from nothing else."""

from __future__ import annotations

import json
import math

import pytest
from click.testing import CliRunner
from ragformer_cli.main import main

from ragformer.bench.cost import ASSUMPTIONS, PAGES, estimate, run
from ragformer.errors import InputError


def test_hours_and_money_by_hand() -> None:
    given = {"pages_per_core_s": 10, "efficiency": 0.5, "chunks_per_page": 4, "cores": 20}
    given |= {"core_hour": 0.1, "shard_ms": 100, "driver_ms": 50, "bytes_per_chunk": 2**10}
    told = estimate(1_800_000, given)
    assert told["core_hours"] == pytest.approx(100)
    assert (told["hours"], told["money"]) == pytest.approx((5, 10))
    assert (told["chunks"], told["shards"]) == (7_200_000, 8)
    assert told["core_seconds_a_question"] == pytest.approx(0.85)
    assert told["questions_per_s"] == pytest.approx(20 / 0.85)
    assert told["disk_gib"] == pytest.approx(7_200_000 / 2**20)


def test_every_assumption_matters() -> None:
    plain = estimate(PAGES[0])
    for name, assumption in ASSUMPTIONS.items():
        assert estimate(PAGES[0], {name: assumption.value / 2}) != plain, name
        assert assumption.source


@pytest.mark.parametrize("given", [{"speed": 1.0}, {"cores": 0.0}, {"core_hour": math.nan}])
def test_a_number_of_no_use_is_one_sentence(given: dict[str, float]) -> None:
    with pytest.raises(InputError, match=r"no assumption speed|must be above 0"):
        run(given)


def test_the_command_says_what_it_assumed() -> None:
    said = CliRunner().invoke(main, ["bench", "cost", "--set", "cores=8", "--json"])
    told = json.loads(said.output)
    assert told["assumptions"]["cores"] == {"value": 8.0, "unit": "cores", "source": "given"}
    assert list(told["estimates"]) == ["1,000,000 pages", "10,000,000 pages", "100,000,000 pages"]
    assert CliRunner().invoke(main, ["bench", "cost", "--set", "cores"]).exit_code == 2
