"""The lessons on the page: read, run in a child, and their losses and pictures."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ragformer_ui import lesson_runs
from ragformer_ui.lesson_runs import Runs, Told, read_loss
from ragformer_ui.lessons import losses_chart, runs
from streamlit.testing.v1 import AppTest

from ragformer.lessons.lesson import LESSONS, lesson_text
from ragformer.train.loop import Loss

OpenApp = Callable[..., AppTest]


def texts(app: AppTest) -> list[str]:
    return [str(element.value) for element in app.text]


@pytest.mark.parametrize("label", ["", "lora", "with attention"])
def test_a_loss_is_read_as_it_is_told(label: str) -> None:
    assert read_loss(f"{Loss(label, 3, 60, 1.25)}\n") == Told(label, 3, 60, 1.25)
    assert read_loss(f"{label}: 90.0% of 200 unseen questions right") is None


def test_each_model_has_a_line() -> None:
    chart = losses_chart([Told("full", 1, 2, 3.0), Told("lora", 1, 2, 4.0)])
    assert chart["encoding"]["color"]["sort"] == ["full", "lora"]
    assert chart["data"]["values"][1] == {"step": 1, "loss": 4.0, "of": "lora"}


def test_its_text_is_text_and_looking_at_it_makes_nothing(open_app: OpenApp, home: Path) -> None:
    app = open_app("lessons")
    assert not app.exception
    for name in LESSONS:
        app.selectbox(key="lesson").set_value(name).run()
        paragraphs = lesson_text(name).split("\n\n")[1:]
        assert texts(app) == [" ".join(paragraph.split()) for paragraph in paragraphs]
    assert not home.exists()


def test_a_lesson_runs_in_a_child_and_shows_what_came_of_it(open_app: OpenApp, home: Path) -> None:
    pytest.importorskip("matplotlib")
    app = open_app("lessons")
    app.button(key="taste-lesson").click().run()
    assert app.button(key="run-lesson").disabled, "one at a time"
    assert runs().wait(200)
    app.run()
    assert not app.exception
    assert any("reached" in text for text in texts(app))
    assert "the word before" in app.code[0].value
    assert lesson_text("attention").splitlines()[0] not in app.code[0].value
    assert len(app.get("image")) == 1
    assert (home / "lessons" / "attention" / "attention.png").is_file()
    assert home.stat().st_mode & 0o777 == 0o700
    assert not app.button(key="run-lesson").disabled


def test_a_run_that_is_killed_does_not_take_its_last_loss_for_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dies = f"import sys; sys.exit({str(Loss('', 3, 60, 1.25))!r})"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    child = functools.partial(subprocess.Popen, [sys.executable, "-c", dies], **pipes)
    monkeypatch.setattr(lesson_runs, "start_ragformer", lambda *_: child())
    monkeypatch.setattr(lesson_runs, "lesson_text", lambda _: "")
    held = Runs()
    assert held.start("attention", tmp_path)
    assert held.wait(60)
    killed = held.of("attention")
    assert killed is not None
    assert (killed.state, killed.error) == ("failed", "the lesson ended with code 1")


def test_a_run_that_is_stopped_ends_and_one_that_fails_says_why(tmp_path: Path) -> None:
    held = Runs()
    assert held.start("language", tmp_path / "a")
    assert not held.start("attention", tmp_path / "b"), "one at a time"
    held.stop()
    stopped = held.of("language")
    assert stopped is not None
    assert stopped.state == "stopped"
    (tmp_path / "file").write_text("")
    assert held.start("language", tmp_path / "c", "--data", str(tmp_path / "file"))
    assert held.wait(200)
    failed = held.of("language")
    assert failed is not None
    assert failed.state == "failed"
    assert "no folder" in failed.error
