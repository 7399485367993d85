"""What lasts from one run of the script to the next.

For the whole program: opened libraries, jobs, failed passwords. For one tab: a Tab. In its address:
collection and chat, so that a reload comes back to them.
"""

from __future__ import annotations

import gc
import re
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field

import streamlit as st

from ragformer.config import Backend, load_settings
from ragformer.errors import RagformerError, StoreError
from ragformer.library import Library, open_library
from ragformer.store.chats import Chats, Turn, turn_of
from ragformer.types import Answer, Citation, Document, FileOutcome
from ragformer_ui.guard import Attempts
from ragformer_ui.jobs import Jobs
from ragformer_ui.ledger import Row, rows

WARM_AFTER = 1.5
"""Seconds after the first visit that the models begin to load: the browser still draws before."""


@dataclass(frozen=True, slots=True)
class Place:
    """What the page view shows: turn and citation of the open chat, and a page of that file."""

    turn: int
    citation: int
    page: int


SHOWN = 20
"""Turns of a chat shown at first: each is a program of its own in the browser, which takes seconds
at every click to draw 200 of them."""


@dataclass(slots=True)
class Tab:
    """A tab of the browser. chat: None for one that has no turn yet. passwords: typed for
    encrypted PDFs, never stored. unsaved: why the chat is not kept. again: a question to ask anew.
    shown: how many turns at least, the last ones. explained: the turn whose passages are shown.
    layers: what is shown with a page. backend: what writes the answers, None for what is set.
    answering: held until a question's turn is kept.
    """

    collection: str
    chat: int | None = None
    turns: list[Turn] = field(default_factory=list)
    place: Place | None = None
    passwords: list[str] = field(default_factory=list)
    unsaved: str = ""
    again: str = ""
    shown: int = SHOWN
    explained: int | None = None
    layers: set[str] = field(default_factory=set)
    backend: Backend = field(default=None, repr=False)
    answering: threading.Lock = field(default_factory=threading.Lock)

    def first_shown(self) -> int:
        """The turn from which on all are shown, those too that are looked at now; it moves by many
        at a time, as all that is shown is then drawn anew."""
        first = (len(self.turns) - self.shown) // SHOWN * SHOWN
        looked_at = [] if self.place is None else [self.place.turn]
        looked_at += [] if self.explained is None else [self.explained]
        return max(0, min([first, *looked_at]))

    def show_more(self) -> None:
        self.shown += SHOWN

    def cited(self, at: Place) -> Citation:
        return self.turns[at.turn].citations[at.citation]

    def places(self) -> list[Place]:
        """Every citation of the chat in order."""
        return [
            Place(i, j, citation.page)
            for i, turn in enumerate(self.turns)
            for j, citation in enumerate(turn.citations)
        ]

    def open_mark(self, turn: int, mark: int) -> None:
        """Show the page that a mark of a turn stands for."""
        for i, citation in enumerate(self.turns[turn].citations):
            if citation.mark == mark:
                self.place = Place(turn, i, citation.page)

    def keep(self, chats: Chats, answer: Answer, stopped: bool) -> None:
        """Add a turn to the chat; where it cannot be stored it stays in this tab."""
        try:
            self.chat = chats.add(answer, self.chat, stopped)
            self.turns = chats.turns(self.chat)
        except StoreError as error:
            self.unsaved = str(error)
            self.turns = [*self.turns, turn_of(answer, stopped)]


@st.cache_resource(show_spinner=False)
def attempts() -> Attempts:
    return Attempts()


@st.cache_resource(show_spinner=False)
def asking() -> threading.Lock:
    """Held while a question is answered: two at a time would only slow each other down."""
    return threading.Lock()


@st.cache_resource(show_spinner=False, on_release=Library.close)
def _library(home: str, collection: str) -> Library:
    return open_library(collection, home)


@st.cache_resource(show_spinner=False)
def _jobs(home: str, collection: str) -> Jobs:
    return Jobs(collection)


@st.cache_resource(show_spinner=False)
def _warm(home: str, collection: str) -> threading.Thread:
    """Loads the models while the first question is typed."""
    library = _library(home, collection)

    def load() -> None:
        time.sleep(WARM_AFTER)
        with asking(), suppress(RagformerError):  # the first question will say it
            _ = library.encoder, library.reader
        gc.freeze()  # as in app.py: with torch there are 240,000 objects, 0.1 s each time

    thread = threading.Thread(target=load, daemon=True, name="load models")
    thread.start()
    return thread


def tab() -> Tab:
    """This tab; a new one shows the collection and chat that its address names."""
    if "tab" not in st.session_state:
        asked = st.query_params.get("collection")
        st.session_state.tab = Tab(load_settings(collection=asked or None).collection)
        number = st.query_params.get("chat", "")
        open_chat(int(number) if re.fullmatch("[0-9]{1,9}", number) else None)
    found: Tab = st.session_state.tab
    return found


def collection() -> str:
    """The name of the collection this tab shows."""
    return tab().collection


def set_address() -> None:
    """Name collection and chat in the tab's address, for a reload to find them."""
    here = tab()
    wanted = {"collection": here.collection, "chat": str(here.chat or "")}
    wanted = {name: value for name, value in wanted.items() if value}
    if st.query_params.to_dict() != wanted:
        st.query_params.from_dict(wanted)


@st.cache_resource(show_spinner=False)
def home() -> str:
    return str(load_settings().home)


def library() -> Library:
    return _library(home(), collection())


def jobs() -> Jobs:
    return _jobs(home(), collection())


def warm_up() -> None:
    _warm(home(), collection())


def has_store() -> bool:
    """Whether the collection is there; a name that is not the usual one may not be made yet."""
    return library().exists


def ledger() -> list[Row]:
    """The rows of the collection, made anew only when it has changed."""
    if not has_store():
        return []
    return _ledger(home(), collection(), library().store.generation)


@st.cache_resource(show_spinner=False, max_entries=8)
def _ledger(home: str, collection: str, generation: int) -> list[Row]:
    store = _library(home, collection).store
    documents: list[Document] = store.documents()
    failures: list[FileOutcome] = store.failures()
    return rows(documents, failures)


def documents() -> list[Document]:
    return [row.document for row in ledger() if row.document]


def choose_collection(name: str) -> None:
    here = tab()
    st.session_state.tab = Tab(name, passwords=here.passwords, backend=here.backend)


def open_chat(number: int | None) -> None:
    """Show a chat, its turns read once; None, or one that is gone, opens an empty one."""
    here: Tab = st.session_state.tab
    here.turns = library().chats.turns(number) if number is not None else []
    here.chat = number if here.turns else None
    here.place = here.explained = None
    here.shown = SHOWN


def last_answer() -> Answer | None:
    """The answer before the next question, as far as a follow-up leans on it."""
    turns = tab().turns
    if not turns:
        return None
    turn = turns[-1]
    passages = tuple(library().store.passages(turn.passages))
    if len(passages) != len(turn.passages):  # cut anew since: its marks would name others
        passages = ()
    return Answer(
        turn.question,
        turn.answer,
        turn.citations if passages else (),
        passages,
        turn.confidence or 0.0,
        turn.reason is not None,
        None,
        turn.backend,
        turn.model,
        searched_as=turn.searched_as,
    )
