"""Own questions: judged by files and pages, and asked of a real collection."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ragformer.eval.own import ask_own, figures, judge
from ragformer.library import Library
from ragformer.store.questions import Outcome, OwnQuestion, Questions, Run

CATS = "The cat sleeps eighteen hours a day and hunts at night near the river."
TAX = "Annual tax returns are due on 31 October at the district office."


def test_questions_are_asked_and_leave_no_chat(
    library: Library, write_pdf: Callable[..., Path], index: Callable[..., Any]
) -> None:
    index(library, write_pdf("cats.pdf", CATS), write_pdf("tax.pdf", TAX))
    asked = [
        OwnQuestion("How long does the cat sleep?", "cats.pdf", (1,), 1),
        OwnQuestion("How long does the cat sleep?", "tax.pdf", (9,), 2),
    ]
    right, wrong = ask_own(library, asked)
    answer = library.ask(asked[0].question)
    places = [(p.document.path.name, p.spans[0].page) for p in answer.passages]
    assert right.rank == places.index(("cats.pdf", 1)) + 1
    assert right.right_page == (answer.citations[0].path.name == "cats.pdf")
    assert (right.quotes, right.verbatim, right.refused) == (1, 1, False)
    assert (wrong.rank, wrong.right_page) == (None, False)
    assert library.chats.listed() == []
    assert judge(asked[0], answer, 0.0).rank == right.rank


def test_a_file_whose_name_is_no_utf_8_is_known_again(
    library: Library, write_pdf: Callable[..., Path], index: Callable[..., Any]
) -> None:
    path = write_pdf("cafe.pdf", CATS)
    index(library, path.rename(path.with_name(os.fsdecode(b"caf\xe9.pdf"))))
    questions = Questions(library.folder)
    questions.add(OwnQuestion("How long does the cat sleep?", "caf\udce9.pdf", (1,)))
    (outcome,) = ask_own(library, questions.all())
    assert (outcome.rank, outcome.right_page) == (1, outcome.quotes > 0)


def test_figures() -> None:
    outcomes = (
        Outcome(1, 1, False, True, 1, 1, 0.1),
        Outcome(2, 3, False, False, 1, 0, 0.1),
        Outcome(3, None, True, False, 0, 0, 0.1),
        Outcome(4, None, True, False, 0, 0, 0.1),
    )
    run = Run(datetime.now(UTC), "decoder", outcomes)
    assert figures(run, {1, 2, 3}) == pytest.approx(
        {"page@1": 1 / 3, "page@5": 2 / 3, "answered": 2 / 3, "right page": 0.5, "refused": 1.0,
         "verbatim": 0.5}
    )  # fmt: skip
    assert figures(Run(run.at, "decoder", outcomes[3:]), set()) == {"refused": 1.0}
