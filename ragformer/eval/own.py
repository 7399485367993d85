"""A user's own questions, asked of the collection they are about.

Questions -> library.ask each -> Outcome each -> kept as a run -> figures of each run
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from ragformer.library import Library
from ragformer.store.questions import Outcome, OwnQuestion, Run
from ragformer.store.rows import storable
from ragformer.types import Answer

FOUND_AT = (1, 5)


def ask_own(library: Library, questions: Sequence[OwnQuestion]) -> Iterator[Outcome]:
    """Ask them in order, each as a user would; nothing is kept as a chat."""
    for question in questions:
        started = time.perf_counter()
        answer = library.ask(question.question)
        yield judge(question, answer, time.perf_counter() - started)


def judge(question: OwnQuestion, answer: Answer, seconds: float) -> Outcome:
    """What an answer is worth, by files' names and pages."""
    right = {(question.file, page) for page in question.pages}
    found = dict.fromkeys(
        (storable(passage.document.path.name), span.page)
        for passage in answer.passages
        for span in passage.spans
    )
    rank = next((n for n, place in enumerate(found, start=1) if place in right), None)
    quoted = [(storable(citation.path.name), citation.page) for citation in answer.citations]
    verbatim = sum(citation.verified for citation in answer.citations)
    return Outcome(
        question.id,
        rank,
        answer.abstained,
        bool(quoted) and quoted[0] in right,
        len(quoted),
        verbatim,
        seconds,
    )


def figures(run: Run, answerable: set[int]) -> dict[str, float]:
    """Shares of a run, 0 to 1, each left out where no question is about it.

    answerable: ids of the questions that have an answer. page@k: those with a right page among the
    first k found. answered, right page: those answered, and of these those whose first quote stands
    on a right page. refused: of those without an answer. verbatim: of all quotes.
    """
    inside = [o for o in run.outcomes if o.question_id in answerable]
    outside = [o for o in run.outcomes if o.question_id not in answerable]
    answered = [o for o in inside if not o.refused]
    shares = {
        f"page@{k}": [o.rank is not None and o.rank <= k for o in inside] for k in FOUND_AT
    } | {
        "answered": [not o.refused for o in inside],
        "right page": [o.right_page for o in answered],
        "refused": [o.refused for o in outside],
    }
    values = {name: sum(row) / len(row) for name, row in shares.items() if row}
    if quotes := sum(o.quotes for o in run.outcomes):
        values["verbatim"] = sum(o.verbatim for o in run.outcomes) / quotes
    return values
