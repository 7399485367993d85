"""The course on transformers: each lesson's text, and a run of it with its losses and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import streamlit as st

from ragformer.lessons.lesson import LESSONS, lesson_text, summary
from ragformer_ui import state
from ragformer_ui.lesson_runs import Run, Runs, Told
from ragformer_ui.plain import escaped


@st.cache_resource(show_spinner=False, on_release=Runs.stop)
def runs() -> Runs:
    return Runs()


def lessons_page() -> None:
    st.title("Lessons")
    name = st.selectbox("Lesson", LESSONS, format_func=summary, key="lesson")
    _, *paragraphs = lesson_text(name).split("\n\n")
    for paragraph in paragraphs:
        st.text(" ".join(paragraph.split()))
    out = Path(state.home()) / "lessons" / name
    _buttons(name, out)
    # Looked at again and again only while there is something to see.
    st.fragment(_shown, run_every=1.0 if runs().running == name else None)(name, out)


def _buttons(name: str, out: Path) -> None:
    busy = runs().running
    with st.container(horizontal=True, vertical_alignment="center"):
        whole = st.button(
            "Run it",
            key="run-lesson",
            type="primary",
            icon=":material/play_arrow:",
            disabled=bool(busy),
            help="Minutes, in a process of its own; you can go on with other things meanwhile",
        )
        quick = st.button(
            "Only a taste",
            key="taste-lesson",
            disabled=bool(busy),
            help="Toy sizes: seconds, and it learns little",
        )
        if busy and st.button("Stop", key="stop-lesson", icon=":material/stop:"):
            runs().stop()
            st.rerun()
        if busy and busy != name:
            st.caption(escaped(f"The lesson {busy} is running; one at a time."))
    if whole or quick:
        with suppress(OSError):  # the child says in full what cannot be made
            Path(state.home()).mkdir(mode=0o700, parents=True, exist_ok=True)
        runs().start(name, out, *(["--quick"] if quick else []))
        st.rerun()


def _shown(name: str, out: Path) -> None:
    """The losses and words of the last run as far as it is, and when it is over its pictures."""
    run = runs().of(name)
    if run is not None and run.losses:
        last = run.losses[-1]
        if run.state == "running":
            st.progress(last.step / last.steps, escaped(f"{last.label} step {last.step}"))
        st.vega_lite_chart(losses_chart(run.losses), key="losses")
    elif run is not None and run.state == "running":
        st.progress(0.0, "Starting")
    if run is not None and run.said:
        st.code("\n".join(run.said), language=None, wrap_lines=True, height=240)
    if run is not None and run.state == "running":
        return
    if run is not None:
        _verdict(run)
        if runs().of(name) is run and st.session_state.get("lesson-over") is not run:
            st.session_state["lesson-over"] = run
            st.rerun()  # of the whole page: the buttons can be pressed again
    for picture in sorted(out.glob("*.png")):
        st.image(picture.read_bytes(), caption=escaped(picture.stem))


def _verdict(run: Run) -> None:
    if run.state == "stopped":
        st.text("Stopped.")
    elif run.state == "failed":
        st.error(escaped(f"It did not end well: {run.error}"))
    else:
        said = run.result
        target = f"{'below' if said['at_most'] else 'at least'} {said['target']:.4g}"
        reached = "reached" if said["reached"] else "not reached"
        st.text(f"{said['figure']}: {said['value']:.4g} (target {target}: {reached})")
        memory = f"{said['peak_bytes'] / 2**20:,.0f} MiB of memory at most"
        st.caption(f"{said['cpu_seconds']:.0f} s of processor time, {memory}")


def losses_chart(losses: Sequence[Told]) -> dict[str, Any]:
    """Loss over steps, a line for each model, as Vega-Lite."""
    points = [{"step": t.step, "loss": t.loss, "of": t.label or "loss"} for t in losses]
    names = list(dict.fromkeys(point["of"] for point in points))
    return {
        "data": {"values": points},
        "mark": {"type": "line", "point": True, "tooltip": True},
        "height": 260,
        "encoding": {
            "x": {"field": "step", "type": "quantitative"},
            "y": {"field": "loss", "type": "quantitative"},
            "color": {"field": "of", "type": "nominal", "sort": names, "title": None},
        },
    }
