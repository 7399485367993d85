"""What every lesson must tell, and the command that lists and runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ragformer_cli.main import run

from ragformer.errors import InputError, NotFoundError
from ragformer.lessons.lesson import LESSONS, Outcome, Setting, lesson_text, run_lesson, summary

MODULES = Path(__file__).parents[2] / "ragformer" / "lessons"


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_says_what_it_shows_where_from_and_what_next(name: str) -> None:
    parts = lesson_text(name).split("\n\n")
    assert len(parts) == 4
    assert summary(name) == parts[0]
    assert parts[0].endswith((".", ":"))
    assert parts[2].startswith("From: ")
    assert parts[3].startswith("Try next: ")


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_is_short(name: str) -> None:
    assert len((MODULES / f"{name}.py").read_text("utf-8").splitlines()) <= 180


def test_listing_prints_every_lesson(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lessons", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(LESSONS)
    assert run(["lessons", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(row["name"], row["text"]) for row in listed] == [(n, lesson_text(n)) for n in LESSONS]


def test_a_lesson_runs_by_one_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lessons", "run", "attention", "--out", str(tmp_path / "new")]) == 0
    out = capsys.readouterr().out
    assert out.startswith(lesson_text("attention"))
    assert "(target below 1e-06: reached)" in out
    assert (tmp_path / "new" / "attention.png").stat().st_size > 10_000
    assert run(["lessons", "run", "attention", "--out", str(tmp_path), "--json"]) == 0
    ran = capsys.readouterr()
    result = json.loads(ran.out)
    assert lesson_text("attention") in ran.err
    assert result["lesson"] == "attention"
    assert result["reached"] is True
    assert result["value"] < result["target"] == 1e-6
    assert result["files"] == [str(tmp_path / "attention.png")]
    assert result["seconds"] > 0
    assert result["peak_bytes"] > 2**26


def test_an_unknown_lesson_is_told_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lessons", "run", "attentoin"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("ragformer: there is no lesson 'attentoin'; there are attention, ")
    with pytest.raises(NotFoundError):
        lesson_text("../lesson")


def test_data_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere is no folder; give one of \.txt files"):
        list(run_lesson("language", Setting(tmp_path, data=tmp_path / "nowhere")))


def test_a_loss_must_stay_below_its_target_and_a_share_reach_it() -> None:
    assert Outcome("share", 0.9, 0.9, ()).reached
    assert not Outcome("share", 0.89, 0.9, ()).reached
    assert not Outcome("loss", 0.9, 0.9, (), at_most=True).reached
    assert Outcome("loss", 0.89, 0.9, (), at_most=True).reached


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        NotFoundError, match=r"needs matplotlib; pip install 'ragformer\[lessons\]'"
    ):
        list(run_lesson("attention", Setting(tmp_path)))
