"""What every evaluation gives back: the form that `ragformer eval --json` prints."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ragformer.eval.metrics import Metric


def make_result(
    suite: str, n: int, metrics: Mapping[str, Metric], models: Mapping[str, str]
) -> dict[str, Any]:
    """{"suite", "n", "metrics": {name: {"value", "low", "high"}}, "commit", "models"}."""
    return {
        "suite": suite,
        "n": n,
        "metrics": {name: asdict(metric) for name, metric in metrics.items()},
        "commit": commit(),
        "models": dict(models),
    }


def commit(folder: Path = Path(__file__).parent) -> str | None:
    """The commit checked out in `folder`; None outside a checkout of this project."""
    head = _git(folder, "rev-parse", "HEAD")
    # An installed copy may lie inside some other project's checkout, which does not track it.
    return head if head and _git(folder, "ls-files", ".") else None


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, check=False
        )
    except OSError:  # no git here
        return None
    return done.stdout.strip() if done.returncode == 0 else None
