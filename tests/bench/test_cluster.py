"""What the engine costs is measured on files that both sides really index."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from shards_here import OneByOne

from ragformer.bench import cluster
from ragformer.bench.machine import tree_seconds
from ragformer.cluster import engine
from ragformer.cluster.layout import is_sharded

pytestmark = pytest.mark.usefixtures("home")


def test_both_sides_index_every_file_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[bool] = []
    index = cluster._index

    def noted(docs: Path, warm: Path, home: Path, *values: object) -> tuple[float, float]:
        taken = index(docs, warm, home, *values)  # type: ignore[arg-type]
        kept.append(is_sharded(home / "collections" / "default"))
        return taken[0], 2.0 if kept[-1] else 1.0

    class Here(OneByOne):
        n_cores = 2

        def __init__(self, _: str) -> None:
            super().__init__()

    monkeypatch.setattr(engine, "RayRunner", Here)
    monkeypatch.setattr(cluster, "_index", noted)
    monkeypatch.setattr(cluster, "WARM_FILES", 2)
    result = cluster.run(3, repeats=1)
    assert kept == [False, True]
    assert (result["files"], result["repeats"]) == (3, 1)
    one, ray = result["one store"], result["ray"]
    assert 0 < one["seconds"]["low"] <= one["seconds"]["median"]
    assert result["overhead"]["processor_seconds"] == pytest.approx(1.0)
    share = ray["seconds"]["median"] / one["seconds"]["median"] - 1
    assert result["overhead"]["seconds"] == pytest.approx(share)
    assert json.loads(json.dumps(result)) == result


def test_the_time_of_children_counts_while_they_run_and_after(tmp_path: Path) -> None:
    before = tree_seconds()
    code = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\ninput()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as child:  # type: ignore[call-overload]
        assert child.stdout.readline()
        assert tree_seconds() - before >= 0.25
        child.communicate(b"\n")
    assert tree_seconds() - before >= 0.25
    assert math.isnan(tree_seconds(tmp_path))
