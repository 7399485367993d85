"""The cited page, drawn, with the quoted words outlined."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import streamlit as st

from ragformer.errors import NotFoundError, PasswordError, PdfError
from ragformer.pdf.render import PageImage, render_page
from ragformer.store.rows import KnownFile
from ragformer.types import Box, Citation, Document
from ragformer_ui import state
from ragformer_ui.parts import show_page
from ragformer_ui.plain import escaped
from ragformer_ui.state import Place

WIDTH = 1400
"""Pixels: about two for each of the screen's where the page takes half a wide window."""
DRAWN = 64  # pages kept drawn, in memory


@st.fragment
def page_view() -> None:
    """The page that is open; turning it runs nothing but this."""
    tab = state.tab()
    at = tab.place
    if at is None:
        return
    if st.session_state.pop("lit", False):
        st.rerun()
    citation = tab.cited(at)
    document = state.library().store.find(citation.document_id)
    with st.container(horizontal=True, vertical_alignment="center", key="proof-head"):
        of = f" of {document.n_pages}" if document else ""
        st.text(f"{citation.path.name}, page {at.page}{of}", width="stretch")
        if document:
            _turner(at, document)
        if _small("Close", "close", shortcut="Esc"):
            tab.place = None
            st.rerun()
    if document is None:
        st.info("This document has been removed from the collection, so its page is not shown.")
        return
    boxes = citation.boxes if at.page == citation.page else ()
    _draw(document, citation, at.page, boxes)


def _turner(at: Place, document: Document) -> None:
    """Back and on, by page and by citation; the PDF as a file."""
    places = state.tab().places()
    here = next(i for i, p in enumerate(places) if (p.turn, p.citation) == (at.turn, at.citation))
    if len(places) > 1:
        _small("Previous quote", "arrow_upward", here > 0, _to, places[here - 1])
        _small(
            "Next quote",
            "arrow_downward",
            here + 1 < len(places),
            _to,
            places[(here + 1) % len(places)],
        )
    before, after = replace(at, page=max(1, at.page - 1)), replace(at, page=at.page + 1)
    _small("Previous page", "chevron_left", at.page > 1, _show, before)
    _small("Next page", "chevron_right", at.page < document.n_pages, _show, after)
    if at.page != places[here].page:
        _small("Back to the quote", "format_quote", True, _show, places[here])
    _download(document)


def _small(
    label: str,
    icon: str,
    enabled: bool = True,
    show: Callable[[Place], None] | None = None,
    at: Place | None = None,
    shortcut: str | None = None,
) -> bool:
    """A button of an icon that says what it does when pointed at, and to a screen reader."""
    return st.button(
        label,
        key=f"small-{icon}",
        icon=f":material/{icon}:",
        type="tertiary",
        help=label,
        disabled=not enabled,
        on_click=show,
        args=(at,),
        shortcut=shortcut,
    )


def _show(at: Place) -> None:
    state.tab().place = at


def _to(at: Place) -> None:
    """Another citation: its mark is to be lit in the chat as well."""
    _show(at)
    st.session_state.lit = True


def _download(document: Document) -> None:
    path = unchanged_path(document)
    if path is not None:
        st.download_button(
            "Save the PDF",
            path.read_bytes,
            path.name,
            "application/pdf",
            key="small-download",
            icon=":material/download:",
            type="tertiary",
            help="Save the PDF",
            on_click="ignore",
        )


def unchanged_path(document: Document) -> Path | None:
    """Where the document's own bytes still lie, as far as size and time tell."""
    store = state.library().store
    for path in document.paths:
        try:
            now, known = KnownFile.of(path), store.known_file(path)
        except OSError:
            continue
        if known and (now.size, now.mtime_ns) == (known.size, known.mtime_ns):
            return path
    return None


def _draw(document: Document, citation: Citation, number: int, boxes: tuple[Box, ...]) -> None:
    path = unchanged_path(document)
    try:
        if path is None:
            raise NotFoundError(
                f"{document.path.name} has been changed or moved since it was indexed, so its page"
                " is not shown; index it again"
            )
        image = _image(document.id, str(path), number, _passwords())
    except PasswordError:
        _ask_password(document.path.name)
        return
    except (PdfError, NotFoundError) as error:
        st.warning(escaped(str(error)))
        st.text(f"The quote: “{citation.quote}”")
        return
    name = f"Page {number} of {document.path.name}"
    shown = f"{document.id} {number} {citation.span if boxes else ''}"
    show_page("page", image, boxes, name, shown)


@st.cache_resource(show_spinner="Drawing the page", max_entries=DRAWN)
def _image(document_id: str, path: str, number: int, passwords: tuple[str, ...]) -> PageImage:
    for password in (None, *passwords):
        try:
            return render_page(Path(path), number, WIDTH, password)
        except PasswordError:
            continue
    raise PasswordError(f"{Path(path).name} is encrypted and needs a (different) password")


def _passwords() -> tuple[str, ...]:
    """Those typed in this tab, the one in the field below included."""
    passwords = state.tab().passwords
    given = st.session_state.get("page-password")
    if given and given not in passwords:
        passwords.append(given)
    return tuple(passwords)


def _ask_password(name: str) -> None:
    st.text(f"{name} is encrypted. Its password is used in this tab only and never stored.")
    if st.text_input("Password", type="password", key="page-password"):
        st.error("That password does not open it.")
