"""Figures come with the machine they were measured on and with their spread."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ragformer.bench import machine

times = st.lists(st.floats(0.001, 1000), min_size=1, max_size=20)


def test_the_machine_is_told_in_plain_data():
    facts = machine.machine()
    assert facts["cpu"]
    assert facts["cores"] >= 1
    assert facts["torch_threads"] == torch.get_num_threads()
    assert facts["torch"] == torch.__version__
    assert json.loads(json.dumps(facts)) == facts


def test_the_processor_is_named_where_the_system_tells(tmp_path):
    table = tmp_path / "cpuinfo"
    table.write_text("processor : 0\nmodel name\t: Fast Chip: 3000\n")
    assert machine._cpu_name(table) == "Fast Chip: 3000"
    table.write_text("processor : 0\n")
    assert machine._cpu_name(table)
    assert machine._cpu_name(tmp_path / "none") == machine._cpu_name(table)


@given(times)
def test_half_of_the_figures_lie_on_either_side_of_the_median(values):
    told = machine.median_of(values)
    assert told["low"] <= told["median"] <= told["high"]
    assert {told["low"], told["high"]} <= set(values)
    assert sum(value <= told["median"] for value in values) >= len(values) / 2
    assert sum(value >= told["median"] for value in values) >= len(values) / 2
    assert machine.percentiles(values)["p50"] == pytest.approx(told["median"])
    assert machine.percentiles(values)["p50"] <= machine.percentiles(values)["p95"]
    assert machine.median_of(values[::-1]) == told
