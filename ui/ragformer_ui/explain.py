"""Where an answer comes from: what was read, with what each way of search said, and how."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

from ragformer.answer.cite import page_name, range_of
from ragformer.store.chats import Turn
from ragformer.store.questions import OwnQuestion, Questions
from ragformer.store.rows import storable
from ragformer.types import Passage
from ragformer_ui import models, state
from ragformer_ui.blocks import sureness
from ragformer_ui.plain import escaped, file_name

if TYPE_CHECKING:
    from ragformer.answer.explain import Looked

_WAYS = {
    "words": "Words",
    "vectors": "Meaning",
    "pages": "Whole page",
    "fused": "Fused",
    "reading": "Reading",
}
_HELP = {
    "Words": "BM25 over the words of the passage; more is better",
    "Meaning": "Cosine of the question's vector and the passage's, -1 to 1",
    "Whole page": "The share of the question that its whole page holds, 0 to 1",
    "Fused": "Those together, 0 to 1",
    "Reading": "Log-probability that an answer starts here, by the decoder, in nats",
}
_VIEWS = ("Passages", "Prompt", "Attention")


def passage_columns(passages: Sequence[Passage], turn: Turn) -> dict[str, list[Any]]:
    """A table by columns: rank, place, each score that at least one passage has, text."""
    cited = {citation.mark for citation in turn.citations}
    columns: dict[str, list[Any]] = {
        "Rank": list(range(1, len(passages) + 1)),
        "Quoted": [rank in cited for rank in range(1, len(passages) + 1)],
        "File": [file_name(passage.document.path) for passage in passages],
        "Page": [passage.spans[0].page for passage in passages],
    }
    for way, name in _WAYS.items():
        scores = [found.get(way) for found in turn.found_by]
        if any(score is not None for score in scores):
            columns[name] = scores
    columns["Section"] = [" › ".join(passage.heading_path) for passage in passages]
    columns["Text"] = [" ".join(passage.text.split()) for passage in passages]
    return columns


@st.fragment
def explanation(i: int, turn: Turn) -> None:
    """The passages of a turn, its prompt or its attention; worked out when it is looked at."""
    passages = state.library().store.passages(turn.passages)
    if len(passages) != len(turn.passages) or len(turn.found_by) != len(passages):
        st.info("The documents have been cut anew since, so what was read then is not shown.")
        return
    st.text(f"Searched as: {turn.searched_as or turn.question}")
    if sure := sureness(turn.confidence, refused=False):
        st.text(f"How sure it was that the best place answers this: {sure}")
    local = turn.backend == "local"
    st.text(f"Model {turn.model}, {'on this machine' if local else 'on a server'}")
    view = st.segmented_control(
        "Show", _VIEWS, default=_VIEWS[0], key=f"view-{i}", label_visibility="collapsed"
    )
    if view == "Prompt":
        _prompt(turn, passages)
    elif view == "Attention":
        _attention(i, turn, passages)
    else:
        _table(i, turn, passages)
    _keep(i, turn)


def _table(i: int, turn: Turn, passages: Sequence[Passage]) -> None:
    columns = passage_columns(passages, turn)
    st.dataframe(
        columns,
        column_config={
            name: st.column_config.NumberColumn(format="%.3f", help=_HELP[name])
            for name in _HELP
            if name in columns
        }
        | {"Text": st.column_config.TextColumn(width="large")},
        hide_index=True,
        key=f"passages-{i}",
    )


def _prompt(turn: Turn, passages: Sequence[Passage]) -> None:
    """What the model read, letter by letter."""
    question = turn.searched_as or turn.question
    if turn.backend == "local":
        from ragformer.answer.explain import prompt_text
        from ragformer.answer.rerank import read_as

        if turn.model != state.library().reader.id:
            st.info("This answer came from another model than the one in use.")
            return
        with state.asking():
            text = prompt_text(state.library().reader, question, list(map(read_as, passages)))
    else:
        from ragformer.answer.prose import build_messages
        from ragformer.answer.speaker import remote_speaker

        server = models.remote(state.tab().backend) or models.remote("openai")
        if server is None:
            st.info("Choose the server again to see what it is sent.")
            return
        messages, _ = build_messages(question, passages, remote_speaker(server))
        text = "\n\n".join(f"[{message['role']}]\n{message['content']}" for message in messages)
    st.code(text, language=None, wrap_lines=True, height=420)


def _attention(i: int, turn: Turn, passages: Sequence[Passage]) -> None:
    """Which passages the decoder attended to, over all, and by layer and head."""
    library = state.library()
    if turn.backend != "local" or turn.model != library.reader.id:
        st.info("This answer came from another model than the one in use, so there is no telling.")
        return
    looked = _looked_at(turn.passages, turn.searched_as or turn.question, turn, passages)
    names = part_names(passages)
    mean_N = looked.shares_LHN.mean((0, 1))
    st.caption("Share of all attention at the answer's tokens, over every layer and head.")
    most = float(mean_N.max())
    st.dataframe(
        {"Looked at": names, "Share": [float(share) for share in mean_N]},
        column_config={"Share": st.column_config.ProgressColumn(format="percent", max_value=most)},
        hide_index=True,
        key=f"shares-{i}",
    )
    st.caption("The same by layer and head; darker is more.")
    st.vega_lite_chart(heads_chart(looked, names), key=f"heads-{i}")


def part_names(passages: Sequence[Passage]) -> list[str]:
    """The columns of `Looked`, numbered as the marks are."""
    found = [
        f"{n} {file_name(p.document.path)}, {p.spans[0].page}" for n, p in enumerate(passages, 1)
    ]
    return [*found, "The question", "The answer itself"]


def heads_chart(looked: Looked, names: Sequence[str]) -> dict[str, Any]:
    """A square for each head and part, the layers side by side, as Vega-Lite."""
    squares = [
        {"head": f"{layer}.{head}", "part": name, "share": round(float(share), 4)}
        for layer, heads_HN in enumerate(looked.shares_LHN, 1)
        for head, shares_N in enumerate(heads_HN, 1)
        for name, share in zip(names, shares_N, strict=True)
    ]
    heads = list(dict.fromkeys(square["head"] for square in squares))
    axis = {"labelAngle": 0, "title": "Layer and head"}
    rows = {"title": None, "labelOverlap": False}
    return {
        "data": {"values": squares},
        "mark": {"type": "rect", "tooltip": True},
        "height": 24 * len(names) + 80,
        "encoding": {
            "x": {"field": "head", "type": "nominal", "sort": heads, "axis": axis},
            "y": {"field": "part", "type": "nominal", "sort": list(names), "axis": rows},
            "color": {
                "field": "share",
                "type": "quantitative",
                "scale": {"scheme": "blues"},
                "legend": None,
            },
        },
    }


@st.cache_resource(show_spinner="Reading the passages again", max_entries=16)
def _looked_at(
    chunks: tuple[tuple[int, float], ...], question: str, _turn: Turn, _passages: Sequence[Passage]
) -> Looked:
    from ragformer.answer.explain import looked_at
    from ragformer.answer.rerank import read_as
    from ragformer.nn.constrain import Range

    quote = None
    if _turn.citations:
        citation = _turn.citations[0]
        found = range_of(_passages[citation.mark - 1], citation.span)
        quote = Range(citation.mark - 1, *found) if found else None
    with state.asking():
        reader = state.library().reader
        return looked_at(reader, question, list(map(read_as, _passages)), quote)


def _keep(i: int, turn: Turn) -> None:
    """The question among those of the evaluation page, with the page that was quoted."""
    if st.button(
        "Keep as a test question",
        key=f"keep-{i}",
        icon=":material/add_task:",
        type="tertiary",
        help="The evaluation page asks it again, with the page quoted here as the right one",
    ):
        _kept(turn)


def _kept(turn: Turn) -> None:
    cited = turn.citations[0] if turn.citations else None
    file, pages = (storable(cited.path.name), (cited.page,)) if cited else ("", ())
    questions = Questions(state.library().folder)
    if all((q.question, q.file, q.pages) != (turn.question, file, pages) for q in questions.all()):
        questions.add(OwnQuestion(turn.question, file, pages))
    where = f"{file}, page {page_name(cited)}" if cited else "not in your documents"
    st.toast(escaped(f"Kept for the evaluation: {where}."))
