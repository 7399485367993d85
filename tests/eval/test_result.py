"""A result names the code it was measured with, and only that."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from ragformer.eval import result
from ragformer.eval.metrics import Metric


def git(folder: Path, *words: str) -> str:
    author = ["-c", "user.name=a", "-c", "user.email=a@b"]
    done = subprocess.run(
        ["git", "-C", str(folder), *author, *words], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_the_form_is_that_of_the_contract():
    told = result.make_result("reading", 2, {"em": Metric(0.5, 0.0, 1.0)}, {"decoder": "abc"})
    assert json.loads(json.dumps(told)) == told
    assert set(told) == {"suite", "n", "metrics", "commit", "models"}
    assert told["metrics"] == {"em": {"value": 0.5, "low": 0.0, "high": 1.0}}


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
def test_the_commit_is_told_only_in_a_checkout_of_ours(tmp_path):
    assert result.commit(tmp_path) is None
    git(tmp_path, "init", "-q")
    assert result.commit(tmp_path) is None  # nothing committed yet
    ours, installed = tmp_path / "ours", tmp_path / "site-packages"
    for folder in (ours, installed):
        folder.mkdir()
        (folder / "code.py").touch()
    git(tmp_path, "add", "ours")
    git(tmp_path, "commit", "-q", "-m", "first")
    assert result.commit(ours) == git(tmp_path, "rev-parse", "HEAD")
    assert result.commit(installed) is None  # in somebody's checkout, but no part of it


def test_without_git_there_is_no_commit(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert result.commit() is None
