"""The chats that are kept: found, opened, renamed, deleted, saved as a file."""

from __future__ import annotations

import functools

import streamlit as st

from ragformer.cluster.opening import collection_names
from ragformer.config import DEFAULT_COLLECTION
from ragformer.errors import StoreError
from ragformer.store.chats import ChatInfo
from ragformer_ui import models, state
from ragformer_ui.export import to_html, to_json, to_markdown
from ragformer_ui.plain import counted, escaped, shortened

LISTED = 40
_KINDS = {
    "Markdown": (to_markdown, "md", "text/markdown"),
    "JSON": (to_json, "json", "application/json"),
    "HTML": (to_html, "html", "text/html"),
}


def sidebar() -> None:
    """The collection, and its chats."""
    with st.sidebar:
        choose_collection()
        st.button(
            "New chat",
            key="new-chat",
            icon=":material/add:",
            width="stretch",
            on_click=state.open_chat,
            args=(None,),
        )
        models.picker()
        words = st.text_input(
            "Search chats",
            key="chat-words",
            placeholder="Search chats",
            live=True,
            label_visibility="collapsed",
        )
        _list(words or "")


def choose_collection() -> None:
    """Which collection, where there is a choice."""
    here = state.collection()
    names = sorted({here, *collection_names(state.library().folder.parent)})
    if names == [DEFAULT_COLLECTION]:
        return
    chosen = st.selectbox("Collection", names, index=names.index(here))
    if chosen != here:
        state.choose_collection(chosen)
        st.rerun()


def _list(words: str) -> None:
    try:
        chats = state.library().chats.listed(words)
    except StoreError as error:
        st.error(escaped(str(error)))
        return
    if not chats:
        st.caption("No chat says that." if words else "Your chats will be listed here.")
    for chat in chats[:LISTED]:
        st.button(
            escaped(shortened(chat.title, 60)),
            key=f"chat-{chat.number}",
            type="secondary" if chat.number == state.tab().chat else "tertiary",
            help=f"{counted(chat.n_turns, 'question')}, {chat.last_at:%d %B %Y}",
            width="stretch",
            wrap=False,
            on_click=state.open_chat,
            args=(chat.number,),
        )
    if (more := len(chats) - LISTED) > 0:
        st.caption(f"{counted(more, 'more chat')}; search to find them.")


def current() -> ChatInfo | None:
    number = state.tab().chat
    listed = state.library().chats.listed() if number is not None else []
    return next((chat for chat in listed if chat.number == number), None)


def header() -> None:
    """The open chat's title and what can be done with it."""
    if unsaved := state.tab().unsaved:
        st.warning(escaped(f"This chat is not kept: {unsaved}"))
    chat = current()
    if chat is None:
        return
    with st.container(horizontal=True, vertical_alignment="center", key="chat-head"):
        st.text(shortened(chat.title, 90), width="stretch")
        with st.popover("Chat", icon=":material/more_horiz:"):
            _rename(chat)
            _exports(chat)
            if st.button("Delete this chat", key="delete-chat", icon=":material/delete:"):
                _confirm_delete(chat)


def _rename(chat: ChatInfo) -> None:
    key = f"title-{chat.number}"
    st.text_input(
        "Title", chat.title, key=key, max_chars=200, on_change=_set_title, args=(chat.number, key)
    )


def _set_title(number: int, key: str) -> None:
    try:
        state.library().chats.rename(number, st.session_state[key])
    except StoreError as error:
        st.toast(escaped(f"The title is not kept: {error}"))


def _exports(chat: ChatInfo) -> None:
    turns = state.tab().turns
    for name, (write, suffix, mime) in _KINDS.items():
        st.download_button(
            f"Save as {name}",
            functools.partial(write, chat.title, turns),  # made when it is asked for
            f"chat-{chat.number}.{suffix}",
            mime,
            key=f"save-{suffix}",
            on_click="ignore",
            width="stretch",
        )


@st.dialog("Delete this chat?")
def _confirm_delete(chat: ChatInfo) -> None:
    st.text(f"“{shortened(chat.title, 90)}”, {counted(chat.n_turns, 'question')}")
    st.text("It cannot be brought back.")
    if st.button("Delete", key="delete-chat-yes", type="primary"):
        try:
            state.library().chats.delete(chat.number)
        except StoreError as error:
            st.error(escaped(str(error)))
            return
        state.open_chat(None)
        st.rerun()
