"""The user's own questions, asked of the collection again and again, and how that went."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import streamlit as st

from ragformer.errors import InputError, StoreError
from ragformer.store.questions import OwnQuestion, Questions, Run
from ragformer.store.rows import storable
from ragformer_ui import past, state
from ragformer_ui.plain import counted, escaped

_FIGURES = {
    "page@1": "Right page found first",
    "page@5": "Right page in the first five",
    "answered": "Answered",
    "right page": "Quoted from the right page",
    "refused": "Refused where it should",
    "verbatim": "Quotes word for word",
}


def evaluation_page() -> None:
    st.title("Evaluation")
    past.choose_collection()
    if not state.documents():
        st.text("Add documents first; then questions to ask of them again and again.")
        pages = st.session_state.pages
        st.page_link(pages["documents"], label="Add documents", icon=":material/add:")
        return
    kept = Questions(state.library().folder)
    questions, runs = kept.all(), kept.runs()
    st.text(
        "Keep questions whose answers you know. Asked again after a change, they show whether the"
        " right pages are found, quoted and, where there is no answer, whether that is said."
    )
    _editor(kept, questions)
    if not questions:
        return
    if st.button("Ask them all", key="run", type="primary", icon=":material/play_arrow:"):
        _run(kept, questions)
        st.rerun()
    if runs:
        _show(runs, questions)
    else:
        st.caption("They have not been asked yet.")


def _editor(kept: Questions, questions: Sequence[OwnQuestion]) -> None:
    """The questions as a table that can be written in; what is saved is what stands there."""
    st.session_state.setdefault("edited", 0)  # another key: the table as it is kept now
    names = sorted({storable(document.path.name) for document in state.documents()})
    known = sorted({*names, *(question.file for question in questions if question.file)})
    table: Any = st.data_editor(
        {
            "Question": [question.question for question in questions],
            "File": [question.file or None for question in questions],
            "Pages": [", ".join(map(str, question.pages)) for question in questions],
        },
        column_config={
            "Question": st.column_config.TextColumn(width="large", required=True),
            "File": st.column_config.SelectboxColumn(
                options=known, help="Where its answer stands; empty where there is none"
            ),
            "Pages": st.column_config.TextColumn(width="small", help="As 8 or 3, 4"),
        },
        num_rows="dynamic",
        hide_index=True,
        key=f"questions-{state.collection()}-{st.session_state.edited}",
    )
    if not questions:
        st.caption("Write in the empty row, or keep a question from “How it was found” in a chat.")
    rows = list(zip(table["Question"], table["File"], table["Pages"], strict=True))
    try:
        wanted = as_questions(rows, questions)
    except InputError as error:
        st.warning(escaped(f"Not saved yet: {error}"))
        return
    if wanted != list(questions):
        try:
            kept.replace(wanted)
        except StoreError as error:
            st.error(escaped(str(error)))
            return
        st.session_state.edited += 1
        st.rerun()


def as_questions(
    rows: Iterable[tuple[str | None, str | None, str | None]], before: Iterable[OwnQuestion]
) -> list[OwnQuestion]:
    """The rows of the table as questions, each once; one that stands as before keeps its id and
    results.

    Raises InputError where a row says no place, or no question at one.
    """
    ids: dict[tuple[str, str, tuple[int, ...]], int] = {}
    for question in before:
        ids.setdefault((question.question, question.file, question.pages), question.id)
    wanted: list[OwnQuestion] = []
    for text, file, pages in rows:
        if not (text or file or pages):
            continue  # a row that is begun
        numbers = re.findall(r"\d+", pages or "")
        if re.sub(r"[\d\s,;]", "", pages or ""):
            raise InputError(f"pages are numbers, as 8 or 3, 4, and not “{pages}”")
        said = ((text or "").strip(), file or "", tuple(map(int, numbers)))
        wanted.append(OwnQuestion(*said, id=ids.get(said, 0)))
    return list(dict.fromkeys(wanted))


def _run(kept: Questions, questions: Sequence[OwnQuestion]) -> None:
    """Ask all of them; a click anywhere else ends it, and then nothing of it is kept."""
    from ragformer.eval.own import ask_own

    bar = st.progress(0.0, "Asking")
    library, outcomes = state.library(), []
    with state.asking():
        for outcome in ask_own(library, questions):
            outcomes.append(outcome)
            share = len(outcomes) / len(questions)
            bar.progress(share, f"Asked {len(outcomes)} of {counted(len(questions), 'question')}")
    try:
        kept.add_run(library.reader.id, outcomes)
    except StoreError as error:
        st.error(escaped(str(error)))


def _show(runs: Sequence[Run], questions: Sequence[OwnQuestion]) -> None:
    from ragformer.eval.own import figures

    answerable = {question.id for question in questions if question.file}
    measured = [figures(run, answerable) for run in runs]
    last, before = measured[-1], measured[-2] if len(measured) > 1 else {}
    shown = [name for name in _FIGURES if name in last]
    st.subheader(f"{runs[-1].at.astimezone():%d %B %Y, %H:%M}")
    with st.container(horizontal=True, key="figures"):
        for name in shown:
            change = last[name] - before[name] if name in before else 0.0
            st.metric(
                _FIGURES[name],
                f"{last[name]:.0%}",
                f"{change:+.0%}" if abs(change) >= 0.005 else None,
                width="content",
            )
    if len(runs) > 1:
        st.vega_lite_chart(figures_chart(runs, measured), key="over-time")
    else:
        st.caption("From the second time on, a chart shows how it changes.")
    _results(runs[-1], questions)


def figures_chart(runs: Sequence[Run], measured: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Each figure over the runs, as Vega-Lite."""
    names = [f"{n}: {run.at.astimezone():%d %b %H:%M}" for n, run in enumerate(runs, 1)]
    points = [
        {"run": name, "share": value, "of": _FIGURES[key]}
        for name, values in zip(names, measured, strict=True)
        for key, value in values.items()
    ]
    share = {"domain": [0, 1]}
    along = {"labelAngle": 0, "labelOverlap": True, "title": None}
    return {
        "data": {"values": points},
        "mark": {"type": "line", "point": True, "tooltip": True},
        "height": 340,
        "encoding": {
            "x": {"field": "run", "type": "ordinal", "sort": names, "axis": along},
            "y": {
                "field": "share",
                "type": "quantitative",
                "title": None,
                "scale": share,
                "axis": {"format": "%"},
            },
            "color": {
                "field": "of",
                "type": "nominal",
                "title": None,
                "legend": {"orient": "bottom", "columns": 3, "labelLimit": 320},
            },
        },
    }


def _results(run: Run, questions: Sequence[OwnQuestion]) -> None:
    """The last run, question by question."""
    outcome_of = {outcome.question_id: outcome for outcome in run.outcomes}
    asked = [(q, outcome_of[q.id]) for q in questions if q.id in outcome_of]
    st.dataframe(
        {
            "Question": [question.question for question, _ in asked],
            "As it should be": [
                outcome.refused if not question.file else outcome.right_page
                for question, outcome in asked
            ],
            "Refused": [outcome.refused for _, outcome in asked],
            "Right page found at": [outcome.rank for _, outcome in asked],
            "Quotes": [f"{o.verbatim} of {o.quotes}" if o.quotes else "" for _, o in asked],
            "Seconds": [round(outcome.seconds, 2) for _, outcome in asked],
        },
        column_config={"Question": st.column_config.TextColumn(width="large")},
        hide_index=True,
        key="results",
    )
