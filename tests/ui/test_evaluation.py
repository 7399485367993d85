"""Own questions on the page: kept, asked, and drawn over time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ragformer_ui.evaluation import as_questions, figures_chart
from streamlit.testing.v1 import AppTest

from ragformer.errors import InputError
from ragformer.library import Library
from ragformer.store.questions import OwnQuestion, Questions, Run

CATS = "The cat sleeps eighteen hours a day and hunts at night near the river."
ASLEEP = OwnQuestion("How long does the cat sleep?", "cats.pdf", (1,))


@pytest.fixture
def filled(library: Library, write_pdf: Callable[..., Path], index: Callable[..., Any]) -> Library:
    index(library, write_pdf("cats.pdf", CATS))
    return library


def test_rows_become_questions_and_those_that_stay_keep_their_ids() -> None:
    before = [dataclasses.replace(ASLEEP, id=7)]
    rows = [
        (ASLEEP.question, "cats.pdf", "1"),
        (ASLEEP.question, "cats.pdf", "1"),  # twice
        ("Why?", None, None),
        (None, None, None),  # begun and left
        ("Where?", "cats.pdf", "2, 4"),
    ]
    assert as_questions(rows, before) == [
        before[0],
        OwnQuestion("Why?"),
        OwnQuestion("Where?", "cats.pdf", (2, 4)),
    ]


@pytest.mark.parametrize("row", [("Why?", None, "3"), (None, "a.pdf", "1"), ("Why?", "a.pdf", "x")])
def test_a_row_that_says_no_place_is_not_saved(row: tuple[str | None, ...]) -> None:
    with pytest.raises(InputError):
        as_questions([row], [])  # type: ignore[list-item]


def test_they_are_asked_and_shown(open_app: Callable[..., AppTest], filled: Library) -> None:
    questions = Questions(filled.folder)
    app = open_app("evaluation")
    assert not app.button, "there is nothing to ask"
    questions.replace([ASLEEP])
    app.run()
    for _ in range(2):
        app.button(key="run").click().run()
    assert not app.exception
    first, second = questions.runs()
    assert first.outcomes[0].rank == second.outcomes[0].rank == 1
    shown = {metric.label: metric.value for metric in app.metric}
    assert shown["Right page found first"] == shown["Quotes word for word"] == "100%"
    assert list(app.dataframe[0].value["Question"]) == [ASLEEP.question]


def test_the_chart_has_a_point_for_each_figure_of_each_run() -> None:
    runs = [Run(datetime(2026, 1, day, tzinfo=UTC), "m", ()) for day in (1, 2)]
    chart = figures_chart(runs, [{"page@1": 0.5}, {"page@1": 1.0, "refused": 0.0}])
    points = chart["data"]["values"]
    assert [(point["of"], point["share"]) for point in points] == [
        ("Right page found first", 0.5),
        ("Right page found first", 1.0),
        ("Refused where it should", 0.0),
    ]
    assert [point["run"][:2] for point in points] == ["1:", "2:", "2:"]
