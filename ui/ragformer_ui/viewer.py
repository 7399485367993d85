"""The cited page, drawn, with the quoted words outlined and, if wanted, all that matched."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import streamlit as st

from ragformer.errors import InputError, NotFoundError, PasswordError, PdfError
from ragformer.library import Library
from ragformer.pdf.render import PageImage, render_page, render_pages
from ragformer.store.lookup import unchanged_path
from ragformer.types import Citation, Document
from ragformer_ui import state
from ragformer_ui.parts import Heat, Sheet, show_page, show_thumbs
from ragformer_ui.plain import escaped, file_name
from ragformer_ui.state import Place

WIDTH = 1400
"""Pixels: about two for each of the screen's where the page takes half a wide window."""
DRAWN = 64  # pages kept drawn, in memory
STRIP, STRIP_WIDTH = 12, 144  # small pages at once, and pixels
LEAST_HEAT = 0.1  # of the word that matched best: what is below says nothing
OPENED = 50 * 2**20  # bytes of a file that goes to the browser at once


@st.fragment
def page_view() -> None:
    """The page that is open; turning it runs nothing but this."""
    tab = state.tab()
    at = tab.place
    if at is None or st.session_state.pop("lit", False):
        st.rerun()
    citation = tab.cited(at)
    document = state.library().store.find(citation.document_id)
    with st.container(horizontal=True, vertical_alignment="center", key="proof-head"):
        of = f" of {document.n_pages}" if document else ""
        st.text(f"{file_name(citation.path)}, page {at.page}{of}", width="stretch")
        if document:
            _download(document)
        _small("Close", "close", show=_show, shortcut="Esc")
    if document is None:
        st.info("This document has been removed from the collection, so its page is not shown.")
        return
    with st.container(horizontal=True, vertical_alignment="center", key="proof-bar"):
        _turner(at, document)
    _draw(document, citation, at)


def _turner(at: Place, document: Document) -> None:
    """Back and on, by page and by citation; what else there is to see."""
    tab = state.tab()
    places = tab.places()
    here = next(i for i, p in enumerate(places) if (p.turn, p.citation) == (at.turn, at.citation))
    before, after = replace(at, page=max(1, at.page - 1)), replace(at, page=at.page + 1)
    _small("Previous page", "chevron_left", at.page > 1, _show, before)
    _small("Next page", "chevron_right", at.page < document.n_pages, _show, after)
    if at.page != places[here].page:
        _small("Back to the quote", "format_quote", True, _show, places[here])
    if len(places) > 1:
        _small("Previous quote", "arrow_upward", here > 0, _to, places[here - 1])
        _small(
            "Next quote",
            "arrow_downward",
            here + 1 < len(places),
            _to,
            places[(here + 1) % len(places)],
        )
    if document.n_pages > 1:
        _layer("Pages", "view_carousel", "Show the pages around this one, small")
    _layer("Matches", "ink_highlighter", "Colour the words that the question matched, by meaning")


def _layer(name: str, icon: str, about: str) -> None:
    """A button that shows something more, or no longer."""
    layers = state.tab().layers
    st.button(
        name,
        key=f"layer-{name}",
        icon=f":material/{icon}:",
        type="primary" if name in layers else "tertiary",
        help=about,
        on_click=layers.symmetric_difference_update,
        args=({name},),
    )


def _small(
    label: str,
    icon: str,
    enabled: bool = True,
    show: Callable[[Place | None], None] | None = None,
    at: Place | None = None,
    shortcut: str | None = None,
) -> None:
    """A button of an icon that says what it does when pointed at, and to a screen reader."""
    st.button(
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


def _show(at: Place | None) -> None:
    state.tab().place = at


def _to(at: Place | None) -> None:
    """Another citation: its mark is to be lit in the chat as well."""
    _show(at)
    st.session_state.lit = True


def _download(document: Document) -> None:
    path = unchanged_path(state.library().store, document)
    if path is not None:
        st.download_button(
            "Save the PDF",
            path.read_bytes,
            file_name(path),
            "application/pdf",
            key="small-download",
            icon=":material/download:",
            type="tertiary",
            help="Save the PDF",
            on_click="ignore",
        )


def _draw(document: Document, citation: Citation, at: Place) -> None:
    path, layers = unchanged_path(state.library().store, document), state.tab().layers
    try:
        if path is None:
            raise NotFoundError(
                f"{file_name(document.path)} has been changed or moved since it was indexed, so its"
                " page is not shown; index it again"
            )
        image = _image(document.id, path, at.page, _passwords())
    except PasswordError:
        _ask_password(file_name(document.path))
        return
    except (PdfError, NotFoundError) as error:
        st.warning(escaped(str(error)))
        st.text(f"The quote: “{citation.quote}”")
        return
    small = "Pages" in layers and document.n_pages > 1
    if small:
        _thumbs(document, path, at)
    sheet = Sheet(
        image,
        f"Page {at.page} of {file_name(document.path)}",
        (document.id, at.page),
        citation.boxes if at.page == citation.page else (),
        _heat(document, at) if "Matches" in layers else (),
        openable=path.stat().st_size <= OPENED,
        above=29.5 if small else 20.0,
    )
    if (opening := st.session_state.pop("open-pdf", "")) and sheet.openable:
        sheet = replace(sheet, pdf=path.read_bytes(), opening=opening)
    show_page("page", sheet, _open)


def _open() -> None:
    """The file travels to the browser in the next run, once."""
    if st.session_state["page"].open:
        st.session_state["open-pdf"] = secrets.token_hex(4)


def _thumbs(document: Document, path: Path, at: Place) -> None:
    first = (at.page - 1) // STRIP * STRIP + 1
    numbers = range(first, min(first + STRIP, document.n_pages + 1))
    drawn = _small_images(document.id, path, numbers, _passwords())
    cited = [citation for turn in state.tab().turns for citation in turn.citations]
    quoted = [c.page for c in cited if c.document_id == document.id]

    def turn(number: int) -> None:
        _show(replace(at, page=number))

    pages = [(n, drawn[n].png if n in drawn else None) for n in numbers]
    show_thumbs("thumbs", pages, at.page, quoted, turn)


@st.cache_resource(show_spinner="Drawing the pages", max_entries=DRAWN)
def _small_images(
    document_id: str, _path: Path, numbers: range, passwords: tuple[str, ...]
) -> dict[int, PageImage]:  # by its id, as the path may be no UTF-8
    return render_pages(_path, numbers, STRIP_WIDTH, passwords)


def _heat(document: Document, at: Place) -> list[Heat]:
    """The words of the page that matched the question, with how much beside the best of them."""
    turn, library = state.tab().turns[at.turn], state.library()
    question = turn.searched_as or turn.question
    try:
        key = (document.id, at.page, question, library.encoder_id)
        return _matched(*key, _library=library)
    except InputError as error:
        st.caption(escaped(str(error)))
        return []


@st.cache_resource(show_spinner="Comparing the words", max_entries=DRAWN)
def _matched(
    document_id: str, number: int, question: str, encoder_id: str, _library: Library
) -> list[Heat]:
    from ragformer.retrieve.heat import word_heat  # it needs torch

    page = _library.store.page(document_id, number)
    with state.asking():
        heat = word_heat(_library.encoder, question, page)
    most = max(heat, default=0.0)
    pairs = zip(page.words, heat, strict=True)
    return [(*word.box, value / most) for word, value in pairs if value > LEAST_HEAT * most > 0]


@st.cache_resource(show_spinner="Drawing the page", max_entries=DRAWN)
def _image(document_id: str, _path: Path, number: int, passwords: tuple[str, ...]) -> PageImage:
    return render_page(_path, number, WIDTH, passwords)


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
