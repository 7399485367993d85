"""Which model writes the answers: the decoder in the box, an imported one, or one on a server."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from ragformer.config import Backend, load_settings
from ragformer.errors import ConfigError
from ragformer.types import RemoteModel
from ragformer_ui import state
from ragformer_ui.plain import escaped

HERE, SERVER = "On this machine", "A server that speaks the OpenAI protocol"


def picker() -> None:
    """A choice for this tab. A key that is typed stays in its memory and is stored nowhere."""
    chosen = state.tab().backend
    with st.popover(_name(chosen), icon=":material/smart_toy:", width="stretch", key="model"):
        kind = st.radio(
            "Answers are written",
            (HERE, SERVER),
            index=int(remote(chosen) is not None),
            key="model-kind",
        )
        if kind == HERE:
            _here(chosen)
        else:
            _server()


def _here(chosen: Backend) -> None:
    """The decoder in use, or an imported one by its name."""
    from ragformer.answer.installed import installed

    folders = [model.folder for model in installed(load_settings()) if model.role == "writer"]
    if folders:
        options: list[Path | None] = [None, *folders]
        at = options.index(chosen) if isinstance(chosen, Path) and chosen in folders else 0
        chosen = st.selectbox(
            "Decoder",
            options,
            index=at,
            format_func=lambda folder: folder.name if folder else "the one in use",
            key="model-here",
        )
    state.tab().backend = chosen if isinstance(chosen, Path) else "local"
    st.caption("Nothing leaves this machine.")


def remote(backend: Backend) -> RemoteModel | None:
    """The server that writes the answers, if one does; None too where what is set does not do."""
    try:
        return load_settings().remote_model(backend)
    except ConfigError:
        return None


def _name(backend: Backend) -> str:
    model = remote(backend)
    if isinstance(backend, Path):
        return escaped(f"Model: {backend.name}")
    return escaped(f"Model: {model.name or model.address}") if model else "Model: on this machine"


def _server() -> None:
    known = remote(state.tab().backend) or remote("openai")
    st.caption("The question and the passages found for it are sent there.")
    with st.form("server", border=False):
        url = st.text_input(
            "Base URL",
            known.base_url if known else "",
            key="server-url",
            placeholder="as http://127.0.0.1:11434/v1",
        )
        name = st.text_input(
            "Model",
            known.name if known else "",
            key="server-model",
            placeholder="may be empty where there is one only",
        )
        given = known is not None and bool(known.api_key)
        key = st.text_input(
            "API key",
            type="password",
            key="server-key",
            placeholder="the one that is set is used" if given else "none, if it asks for none",
            help="Kept in this tab's memory until it is closed, never stored.",
        )
        asked = st.form_submit_button("Use it")
    if not asked:
        return
    try:
        state.tab().backend = chosen_server(url, name, key, known)
    except ConfigError as error:
        st.error(escaped(str(error)))
        return
    st.rerun()


def chosen_server(url: str, name: str, key: str, known: RemoteModel | None) -> RemoteModel:
    """The server that is meant. A key that was set goes only to the address it was set for."""
    if not key and known is not None and known.base_url == url.strip():
        key = known.api_key
    return RemoteModel(name.strip(), url.strip(), key.strip())
