"""A lesson that asks a model behind a server, of a server of our own."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest

from ragformer.config import load_settings
from ragformer.lessons.lesson import Result, Setting, run_lesson
from ragformer.lessons.samples import SAMPLES
from ragformer.library import Library

from .conftest import started


def test_the_lesson_on_prompts_asks_a_server(
    served_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Library(load_settings(home=served_home, collection="handbook")) as library:
        for _ in library.index([SAMPLES / "pdfs" / "handbook.pdf"]):
            pass
    with started() as running:
        # "local": this process is the server as well, and would ask itself.
        monkeypatch.setenv("RAGFORMER_BACKEND", "openai")
        monkeypatch.setenv("RAGFORMER_OPENAI_MODEL", "handbook:local")
        monkeypatch.setenv("OPENAI_BASE_URL", running.url)
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        *said, result = run_lesson("prompt", Setting(tmp_path, quick=True))
        with urllib.request.urlopen(f"{running.root}/metrics") as metrics:
            counted = metrics.read().decode()
    assert isinstance(result, Result)
    assert said[0] == "asked: handbook:local"
    rows = [line.split() for line in said if "-shot" in line[:9]]
    assert [row[0] for row in rows] == ["zero-shot", "few-shot"]
    n_asked = 3 * sum(len(row) - 1 for row in rows)
    assert f'requests_total{{path="/v1/chat/completions",status="200"}} {n_asked}.0' in counted
    assert f'answers_total{{outcome="answered"}} {n_asked}.0' in counted
