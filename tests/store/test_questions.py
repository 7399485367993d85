"""A user's questions and their results: what is kept, and what goes."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from ragformer.errors import InputError
from ragformer.store.questions import Outcome, OwnQuestion, Questions

ASLEEP = OwnQuestion("How long does the cat sleep?", "cats.pdf", (1, 3))
MOONS = OwnQuestion("Which planet has the most moons?")


def outcome(question: OwnQuestion, rank: int | None = 1) -> Outcome:
    return Outcome(question.id, rank, not question.file, bool(question.file), 1, 1, 0.5)


@pytest.fixture
def questions(tmp_path: Path) -> Questions:
    return Questions(tmp_path)


def test_what_is_added_is_there_and_nobody_elses(questions: Questions) -> None:
    assert questions.all() == []
    assert questions.runs() == []
    assert not questions.file.exists(), "looking makes nothing"
    for question in (ASLEEP, MOONS):
        questions.add(question)
    kept = questions.all()
    assert [(q.question, q.file, q.pages) for q in kept] == [
        (ASLEEP.question, "cats.pdf", (1, 3)),
        (MOONS.question, "", ()),
    ]
    assert stat.S_IMODE(questions.file.stat().st_mode) == 0o600


def test_a_run_is_kept_in_order(questions: Questions) -> None:
    questions.replace([ASLEEP, MOONS])
    asked = questions.all()
    for rank in (None, 2):
        questions.add_run("decoder", [outcome(asked[0], rank), outcome(asked[1], None)])
    first, second = questions.runs()
    assert [o.rank for o in first.outcomes] == [None, None]
    assert second.outcomes == (outcome(asked[0], 2), outcome(asked[1], None))
    assert second.model == "decoder"
    assert first.at <= second.at


def test_a_changed_question_loses_its_results_and_no_other(questions: Questions) -> None:
    questions.replace([ASLEEP, MOONS])
    asleep, moons = questions.all()
    questions.add_run("decoder", [outcome(asleep), outcome(moons)])
    questions.replace([OwnQuestion(asleep.question, "cats.pdf", (2,), asleep.id), moons])
    kept, changed = questions.all()
    assert kept == moons
    assert changed.pages == (2,)
    ((only,),) = [run.outcomes for run in questions.runs()]
    assert only.question_id == moons.id
    questions.replace([])
    assert (questions.all(), questions.runs()) == ([], [])
    assert b"cat sleep" not in questions.file.read_bytes(), "nothing of it stays on disk"


def test_a_question_removed_while_it_was_asked_has_no_result(questions: Questions) -> None:
    questions.replace([ASLEEP, MOONS])
    asleep, moons = questions.all()
    questions.replace([moons])
    questions.add_run("decoder", [outcome(asleep), outcome(moons)])
    (run,) = questions.runs()
    assert [o.question_id for o in run.outcomes] == [moons.id]


@pytest.mark.parametrize(
    ("text", "file", "pages"),
    [("", "", ()), ("Why?", "a.pdf", ()), ("Why?", "", (1,)), ("Why?", "a.pdf", (0,))],
)
def test_a_question_without_sense_is_refused(text: str, file: str, pages: tuple[int, ...]) -> None:
    with pytest.raises(InputError):
        OwnQuestion(text, file, pages)
