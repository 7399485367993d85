"""What runs at each click: the gate, the password, the pages. It alone catches every error."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from pathlib import Path

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from ragformer.config import ui_password
from ragformer.errors import RagformerError
from ragformer_ui import state
from ragformer_ui.chat import chat_page
from ragformer_ui.documents import documents_page
from ragformer_ui.evaluation import evaluation_page
from ragformer_ui.guard import let_in, refusal
from ragformer_ui.lessons import lessons_page
from ragformer_ui.plain import escaped

# The page stays beside the answer while the chat is scrolled; on a phone it follows the answer.
_STYLE = """
<style>
.stMainBlockContainer { padding: 4.5rem 2.5rem 1rem; max-width: 96rem; }
.stMainBlockContainer h1 { font-size: 1.75rem; padding: 0 0 0.5rem; }
.st-key-talk { max-width: 52rem; margin-inline: auto; }
.stColumn:has(.st-key-proof) { align-self: flex-start; position: sticky; top: 4.5rem; }
/* Buttons of an icon alone: their words are for screen readers. */
[class*="st-key-small-"] [data-testid="stMarkdownContainer"],
[class*="st-key-small-"] kbd { position: absolute; clip-path: inset(50%); width: 1px; }
[class*="st-key-small-"] button { padding-inline: 0.4rem; min-width: 2.25rem; }
.st-key-proof { gap: 0.25rem; }
.st-key-proof-head { flex-wrap: nowrap; gap: 0.25rem; }
.st-key-proof-bar { gap: 0.25rem 0.75rem; }
.st-key-chat-head { flex-wrap: nowrap; }
/* Where the window is narrow Streamlit hides the pages' names behind a button. */
.st-key-links, [data-testid="stLayoutWrapper"]:has(> .st-key-links) { display: none; }
@media (max-width: 767px) {
  .st-key-links, [data-testid="stLayoutWrapper"]:has(> .st-key-links) { display: flex; }
  .st-key-links { flex-wrap: nowrap; gap: 0; }
}
@media (max-width: 800px) {
  .stMainBlockContainer { padding-inline: 1rem; }
  .stColumn:has(.st-key-proof) { position: static; }
}
</style>
"""
# Streamlit writes on the main buttons in white, which nobody can read on the dark theme's blue.
_DARK = "<style>button[kind=primary] * { color: #14171c; }</style>"


def main() -> None:
    # Streamlit's own icons would be fetched from the network for this.
    st.set_page_config("ragformer", Path(__file__).with_name("icon.svg"), layout="wide")
    st.html(_STYLE)
    if st.context.theme.type == "dark":
        st.html(_DARK)
    if why := refusal(st.get_option("server.address"), ui_password()):
        st.error(escaped(why))
        st.stop()
    if ui_password() and not st.session_state.get("entered"):
        _ask_password()
        st.stop()
    pages = {
        "chat": st.Page(_edged(chat_page), title="Chat", icon=":material/chat:", default=True),
        "documents": st.Page(
            _edged(documents_page),
            title="Documents",
            icon=":material/folder:",
            url_path="documents",
        ),
        "evaluation": st.Page(
            _edged(evaluation_page),
            title="Evaluation",
            icon=":material/monitoring:",
            url_path="evaluation",
        ),
        "lessons": st.Page(
            _edged(lessons_page), title="Lessons", icon=":material/school:", url_path="lessons"
        ),
    }
    st.session_state.pages = pages
    chosen = st.navigation(list(pages.values()), position="top")
    with st.container(horizontal=True, key="links"):
        for page in pages.values():
            st.page_link(page)
    chosen.run()


def _ask_password() -> None:
    """Until the right one is given there is nothing else on the page."""
    st.title("ragformer")
    attempts = state.attempts()
    with st.form("enter"):
        given = st.text_input("Password", type="password", key="given")
        asked = st.form_submit_button("Open")
    if not asked:
        return
    if attempts.check(given, ui_password()):
        st.session_state.entered = True
        if context := get_script_run_ctx():
            let_in(context.session_id)
        st.rerun()
    if wait := attempts.wait():
        st.error(f"Too many wrong passwords; wait {wait:.0f} seconds and try again.")
    else:
        st.error("That is not the password.")


def _edged(page: Callable[[], None]) -> Callable[[], None]:
    """The page, with every error as a sentence on it."""

    @functools.wraps(page)
    def shown() -> None:
        try:
            page()
        except RagformerError as error:
            st.error(escaped(str(error)))
        except Exception as error:
            logging.getLogger(__name__).exception("the page failed")
            name = type(error).__name__
            st.error(
                f"Something failed here that should not ({name}). Reload the page; if it comes"
                " back, the window that `ragformer ui` runs in says where it was."
            )

    return shown


if __name__ == "__main__":
    main()
