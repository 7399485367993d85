"""Where an answer comes from: the passages that were read, with what each way of search said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from ragformer.store.chats import Turn
from ragformer.types import Passage
from ragformer_ui import state
from ragformer_ui.blocks import sureness

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


def passage_columns(passages: Sequence[Passage], turn: Turn) -> dict[str, list[Any]]:
    """A table by columns: rank, place, each score that at least one passage has, text."""
    cited = {citation.mark for citation in turn.citations}
    columns: dict[str, list[Any]] = {
        "Rank": list(range(1, len(passages) + 1)),
        "Quoted": [rank in cited for rank in range(1, len(passages) + 1)],
        "File": [passage.document.path.name for passage in passages],
        "Page": [passage.spans[0].page for passage in passages],
    }
    for way, name in _WAYS.items():
        scores = [found.get(way) for found in turn.found_by]
        if any(score is not None for score in scores):
            columns[name] = scores
    columns["Section"] = [" › ".join(passage.heading_path) for passage in passages]
    columns["Text"] = [" ".join(passage.text.split()) for passage in passages]
    return columns


def explanation(i: int, turn: Turn) -> None:
    """The passages of a turn as a table, and what was made of them."""
    passages = state.library().store.passages(turn.passages)
    if len(passages) != len(turn.passages) or len(turn.found_by) != len(passages):
        st.info("The documents have been cut anew since, so what was read then is not shown.")
        return
    st.text(f"Searched as: {turn.searched_as or turn.question}")
    if sure := sureness(turn.confidence, refused=False):
        st.text(f"How sure it was that the best place answers this: {sure}")
    st.text(f"Model {turn.model}, on this machine")
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
