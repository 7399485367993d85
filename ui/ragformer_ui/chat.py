"""The chat: questions, answers as they are written, and the page that proves them."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ragformer.errors import RagformerError, StoreError
from ragformer.store.chats import Turn
from ragformer.text.normalize import MAX_QUESTION
from ragformer.types import Answer, Document
from ragformer_ui import models, past, state, viewer
from ragformer_ui.blocks import answer_blocks, citation_name, notes
from ragformer_ui.explain import explanation
from ragformer_ui.ledger import totals
from ragformer_ui.parts import show_answer
from ragformer_ui.pieces import told
from ragformer_ui.plain import counted, escaped, file_name


def chat_page() -> None:
    with state.tab().answering:
        pass  # a click stopped an answer, and the run that wrote it has yet to keep what there is
    past.sidebar()
    state.set_address()
    rows = state.ledger()
    documents = state.documents()
    if not rows or not documents:
        _nothing_to_ask(len(rows))
        return
    if state.tab().place is None:
        talk = st.container()
    else:
        talk, proof = st.columns([5, 6], gap="medium")
        with proof, st.container(key="proof"):
            viewer.page_view()
    with talk, st.container(key="talk"):
        past.header()
        within = _scope(documents)
        _turns(within, documents)
        here = st.container()
    asked = st.chat_input(
        "Ask your documents", key="question", max_chars=MAX_QUESTION, submit_mode="disable"
    )
    question = asked or state.tab().again
    if question:
        state.tab().again = ""
        with here:
            _ask(question, within, documents)
    state.warm_up()


def _nothing_to_ask(n_failed: int) -> None:
    st.title("Chat with your PDFs")
    if n_failed:
        st.text(
            f"None of the {counted(n_failed, 'file')} added so far could be read. The documents"
            " page says why."
        )
    else:
        st.text(
            "Add PDFs, then ask a question in your own words. Every answer quotes the page it"
            " comes from, word for word, and a click on its number shows that page. What is not in"
            " your documents is said to be not there."
        )
        if models.remote(state.tab().backend) is None:
            st.text("Nothing leaves this machine.")
    st.page_link(st.session_state.pages["documents"], label="Add documents", icon=":material/add:")


def _scope(documents: list[Document]) -> list[str] | None:
    """The paths to ask, by the user's choice; None for all."""
    names = {str(document.path): file_name(document.path) for document in documents}
    kept = [path for path in st.session_state.get("within", []) if path in names]
    if kept != st.session_state.get("within", []):
        st.session_state.within = kept
    if len(names) < 2:
        return None
    chosen = st.multiselect(
        "Ask only",
        list(names),
        format_func=lambda path: names[path],
        key="within",
        placeholder=f"Asking all {len(names):,} documents; choose some to ask only those",
        label_visibility="collapsed",
    )
    return chosen or None


def _turns(within: list[str] | None, documents: list[Document]) -> None:
    """The chat so far; a fresh one says what it can be asked."""
    turns = state.tab().turns
    if not turns:
        st.text(f"Ask about {totals(state.ledger())}.")
        st.caption("For example: How long is the warranty? What does chapter 3 say about safety?")
    first = state.tab().first_shown()
    if first:
        label = f"Show more of the {counted(first, 'turn')} before"
        st.button(label, key="earlier", type="tertiary", on_click=state.tab().show_more)
    for i, turn in enumerate(turns[first:], first):
        with st.chat_message("user", avatar=":material/person:"):
            st.text(turn.question)
        with st.chat_message("assistant", avatar=":material/menu_book:"):
            _answer(i, turn, len(documents))
            _actions(i, turn, last=i == len(turns) - 1)
            if state.tab().explained == i:
                explanation(i, turn)


def _answer(i: int, turn: Turn, n_documents: int) -> None:
    tab = state.tab()
    at = tab.place
    opened = None if at is None or at.turn != i else turn.citations[at.citation].mark
    data = {
        "blocks": answer_blocks(turn.answer, turn.citations),
        "notes": notes(turn, counted(n_documents, "document")),
        "places": {str(c.mark): citation_name(c) for c in turn.citations},
        "text": turn.answer,
        "open": opened,
        "recall": turn.question if i == len(tab.turns) - 1 else None,
    }
    show_answer(f"answer-{tab.chat}-{i}", data, functools.partial(tab.open_mark, i))


def _actions(i: int, turn: Turn, last: bool) -> None:
    """Thumbs, and another try at the last question."""
    with st.container(horizontal=True, key=f"actions-{i}", vertical_alignment="center"):
        if turn.id:
            key = f"thumb-{turn.id}"
            st.feedback("thumbs", key=key, default=turn.thumb, on_change=_rate, args=(turn.id, key))
        if turn.passages:
            st.button(
                "Hide" if state.tab().explained == i else "How it was found",
                key=f"explain-{i}",
                type="tertiary",
                icon=":material/manage_search:",
                on_click=_explain,
                args=(i,),
            )
        if last:
            st.button(
                "Ask again",
                key="ask-again",
                type="tertiary",
                icon=":material/refresh:",
                on_click=_again,
                args=(turn,),
            )


def _explain(i: int) -> None:
    tab = state.tab()
    tab.explained = None if tab.explained == i else i


def _rate(turn_id: int, key: str) -> None:
    try:
        state.library().chats.rate(turn_id, st.session_state[key])
    except StoreError as error:
        st.toast(escaped(f"The thumb is not kept: {error}"))


def _again(turn: Turn) -> None:
    """Take the last turn back and ask its question anew."""
    try:
        if turn.id:
            state.library().chats.delete_turn(turn.id)
    except StoreError as error:
        st.toast(escaped(f"This answer cannot be taken back: {error}"))
        return
    tab = state.tab()
    tab.turns = tab.turns[:-1]
    tab.again = turn.question
    tab.place = tab.explained = None


def _ask(question: str, within: list[str] | None, documents: list[Document]) -> None:
    """Answer, showing the text as it comes; the turn is kept however it ends."""
    with st.chat_message("user", avatar=":material/person:"):
        st.text(question)
    tab, chats = state.tab(), state.library().chats
    said: list[str] = []
    answer: Answer | None = None
    failed = False
    with tab.answering:
        try:
            with st.chat_message("assistant", avatar=":material/menu_book:"):
                slot, stop = st.empty(), st.empty()
                answer = _write(question, within, said, slot, stop)
        except RagformerError as error:
            failed = True
            stop.empty()
            slot.error(escaped(str(error)))
        finally:
            # Also where the user stopped it: Streamlit then leaves this function by an exception,
            # and by another one wherever Streamlit is called again.
            if not failed:
                cut = _cut_short(question, "".join(said), within, documents)
                tab.keep(chats, answer or cut, stopped=answer is None)
    if not failed:
        st.rerun()


def _write(
    question: str,
    within: list[str] | None,
    said: list[str],
    slot: DeltaGenerator,
    stop: DeltaGenerator,
) -> Answer:
    """Show the pieces as they come, and put them into `said`; returns the Answer at their end."""
    stop.button("Stop", key="stop", icon=":material/stop:", shortcut="Esc")
    library, last, backend = state.library(), state.last_answer(), state.tab().backend
    lock = state.asking() if models.remote(backend) is None else contextlib.nullcontext()

    def pieces() -> Iterator[str | Answer]:
        with lock:
            yield from library.stream(question, None, within, last, backend)

    with contextlib.closing(told(pieces)) as coming:
        slot.caption("Looking through your documents")
        for piece in coming:
            if isinstance(piece, Answer):
                return piece
            said.append(piece or "")
            if "".join(said):
                slot.text("".join(said))
            else:
                slot.caption("Looking through your documents")
    raise AssertionError("the stream ended without an Answer")


def _cut_short(
    question: str, text: str, within: list[str] | None, documents: list[Document]
) -> Answer:
    """What there is of a stopped answer. It may be drawn from any document that was asked, so it
    goes when one of them is removed."""
    about = [d for d in documents if within is None or str(d.path) in within]
    return Answer(question, text, (), (), 0.0, False, None, "local", "", about=tuple(about))
