"""What is in the collection, how each page was read, and what goes in and out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from ragformer.cluster.layout import refuse_shards
from ragformer.config import load_settings
from ragformer.errors import ConfigError, InputError, StoreError
from ragformer.serve.who import is_loopback
from ragformer.store.uploads import save_upload
from ragformer_ui import past, state
from ragformer_ui.jobs import Job, progress, told
from ragformer_ui.ledger import STATUSES, Row, filtered, page_rows, totals
from ragformer_ui.plain import counted, escaped, file_name, shown
from ragformer_ui.uploads import MOST_FILES, readable_place


def documents_page() -> None:
    st.title("Documents")
    _collections()
    _add()
    running = any(job.state in ("waiting", "running") for job in state.jobs().all())
    # Looked at again and again only while there is something to see.
    st.fragment(_progress, run_every=0.5 if running else None)()
    rows = state.ledger()
    if not rows:
        st.text(
            "There is nothing here yet. Drop some PDFs above, or give a folder that holds some."
        )
        return
    st.text(totals(rows))
    _unlock([row for row in rows if row.status == "failed" and "password" in row.about])
    _table(rows)


def _collections() -> None:
    """Which collection, and a new one."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        past.choose_collection()
        with st.popover("New collection", icon=":material/create_new_folder:"):
            name = st.text_input("Name", key="new-collection", max_chars=64)
            if st.button("Make it", key="make-collection") and name:
                try:
                    load_settings(collection=name)
                except ConfigError:
                    st.error("Use letters, digits and . _ - only, a letter or digit first.")
                    return
                state.choose_collection(name)
                st.rerun()


def _add() -> None:
    """Files through the browser, or a folder of this machine."""
    dropped = st.session_state.setdefault("dropped", 0)  # another key: an empty field again
    files = st.file_uploader(
        "Drop PDFs here",
        type="pdf",
        accept_multiple_files=True,
        key=f"files-{dropped}",
        help="They are kept in the collection's folder on this machine.",
    )
    folder = ""
    if is_loopback(st.get_option("server.address")):
        with st.form("folder-form", border=False), st.container(horizontal=True):
            folder = st.text_input(
                "Folder",
                key="folder",
                placeholder="or the path of a folder on this machine, as /home/me/papers",
                label_visibility="collapsed",
            )
            asked = st.form_submit_button("Add folder", icon=":material/add:")
            folder = folder if asked else ""
    if not files and not folder:
        return
    try:
        refuse_shards(state.library().folder)
        paths = _saved(files) if files else [readable_place(folder)]
    except (InputError, StoreError) as error:
        st.error(escaped(str(error)))
        return
    state.jobs().add(paths)
    st.session_state.dropped += 1
    st.rerun()


def _saved(files: Sequence[UploadedFile]) -> list[Path]:
    if len(files) > MOST_FILES:
        raise InputError(
            f"{len(files)} files are more than the {MOST_FILES} that may be added at once;"
            " add them in parts, or give their folder"
        )
    return [save_upload(state.library().folder, file.name, file)[0] for file in files]


def _progress() -> None:
    """The jobs of this collection, told anew while one runs."""
    jobs = state.jobs().all()
    going = [job for job in jobs if job.state in ("waiting", "running")]
    for job in going:
        _show_running(job)
    if going:
        st.button("Stop", key="stop-index", icon=":material/stop:", on_click=state.jobs().stop)
    over = [job for job in jobs if job not in going]
    if over:
        _show_over(over[-1])
    # A job has ended since the page was drawn: its documents are to be listed.
    ended = (state.collection(), len(over), over[-1].number if over else 0)
    if st.session_state.get("ended") not in (None, ended):
        st.session_state.ended = ended
        st.rerun()
    st.session_state.ended = ended


def _show_running(job: Job) -> None:
    if job.state == "waiting":
        st.caption(f"Waiting: {counted(len(job.paths), 'more place')} to index.")
        return
    share, line = progress(job, time.monotonic())
    st.progress(share, text=escaped(line))


def _show_over(job: Job) -> None:
    line = escaped(told(job))
    if job.state == "failed":
        st.error(line)
    else:
        st.caption(line)
    for file in job.files:
        if file["status"] == "failed":
            st.warning(escaped(f"{Path(file['path']).name}: {file['reason']}"))


def _unlock(rows: list[Row]) -> None:
    """Encrypted files ask for their password here; it is used for this and forgotten."""
    for row in rows:
        with st.form(f"unlock-{row.path}", border=True):
            st.text(f"{file_name(row.path)} is encrypted.")
            given = st.text_input("Its password", type="password", key=f"password-{row.path}")
            if st.form_submit_button("Open it") and given:
                state.tab().passwords.append(given)
                state.jobs().add([row.path], password=given)
                st.rerun()


@st.fragment
def _table(rows: list[Row]) -> None:
    """The list and what can be done with it; finding and choosing in it runs nothing else."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        words = st.text_input("Find", key="find", placeholder="Part of a name", live=True)
        status = st.segmented_control("Show", STATUSES, key="status")
    found = filtered(rows, words or "", status)
    if not found:
        st.text("No document fits that.")
        return
    picked = st.dataframe(
        {
            "File": [file_name(row.path) for row in found],
            "Pages": [row.pages for row in found],
            "Status": [row.status for row in found],
            "Remark": [row.about for row in found],
            "Added": [row.added_at for row in found],
            "Folder": [shown(str(row.path.parent)) for row in found],
        },
        column_config={
            "File": st.column_config.TextColumn(width="medium"),
            "Pages": st.column_config.NumberColumn(width="small"),
            "Status": st.column_config.TextColumn(width="small"),
            "Remark": st.column_config.TextColumn(width="large"),
            "Added": st.column_config.DatetimeColumn(format="D MMM YYYY, HH:mm"),
        },
        hide_index=True,
        key="table",
        on_select="rerun",
        selection_mode="multi-row",
        height=min(35 * len(found) + 38, 560),
    )
    chosen = [found[i] for i in picked["selection"]["rows"] if i < len(found)]
    if not chosen:
        st.caption("Choose rows to ask only those, index them again, or remove them.")
        return
    _do(chosen)
    if len(chosen) == 1 and chosen[0].document:
        _pages(chosen[0])


def _do(rows: list[Row]) -> None:
    """What can be done with the chosen rows."""
    readable = [str(row.path) for row in rows if row.document]
    with st.container(horizontal=True, key="chosen"):
        if st.button("Ask only these", key="ask-these", disabled=not readable):
            st.session_state.within = readable
            st.switch_page(st.session_state.pages["chat"])
        if st.button("Index again", key="reindex", icon=":material/refresh:"):
            state.jobs().add([row.path for row in rows], "--rechunk")
            st.rerun()
        if st.button("Remove", key="remove", icon=":material/delete:"):
            _confirm_remove(rows)


@st.dialog("Remove from the collection?")
def _confirm_remove(rows: list[Row]) -> None:
    for row in rows[:10]:
        st.text(file_name(row.path))
    if len(rows) > 10:
        st.text(f"and {len(rows) - 10} more")
    st.text(
        "Their words and the chats drawn from them go. Files that were added from a folder stay"
        " where they are; copies that came through the browser are deleted."
    )
    if st.button("Remove", key="remove-yes", type="primary"):
        try:
            remove(rows)
        except StoreError as error:
            st.error(escaped(str(error)))
            return
        state.open_chat(state.tab().chat)
        st.rerun()


def remove(rows: Sequence[Row]) -> None:
    """Take these out of the collection, with the copies that are ours."""
    library = state.library()
    for row in rows:
        if row.document:
            library.remove(row.document.id)
        else:
            library.forget_failure(row.path)


def _pages(row: Row) -> None:
    """The page ledger of one document."""
    assert row.document
    pages = page_rows(state.library().store, row.document.id)
    st.subheader(escaped(row.path.name))
    st.dataframe(
        {
            "Page": [page.number for page in pages],
            "Printed": [page.label for page in pages],
            "Status": [page.status for page in pages],
            "Why": [page.reason for page in pages],
        },
        hide_index=True,
        key="pages",
        height=min(35 * len(pages) + 38, 400),
    )
