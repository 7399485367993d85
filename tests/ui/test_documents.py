"""The documents page: files in, their pages told, files out."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ragformer_ui import state
from ragformer_ui.documents import remove
from ragformer_ui.jobs import Job, Jobs, lasting, outcome, progress, read_step, told
from shards_here import index_in_shards
from streamlit.testing.v1 import AppTest

from ragformer.library import Library, open_library
from ragformer.store.uploads import UPLOADS

OpenApp = Callable[..., AppTest]
CATS = "The cat sleeps eighteen hours a day and hunts at night near the river."


def test_a_child_indexes_what_it_is_given_and_names_what_it_could_not_read(
    home: Path, write_pdf: Callable[..., Path]
) -> None:
    good = write_pdf("cats.pdf", CATS)
    locked = write_pdf("locked.pdf", CATS, password="word")
    broken = good.with_name("broken.pdf")
    broken.write_bytes(b"not a PDF")
    jobs = Jobs("default")
    jobs.add([good, locked, broken])
    jobs.add([locked], password="word")
    assert jobs.wait(120)
    first, second = jobs.all()
    assert {Path(file["path"]).name: file["status"] for file in first.files} == {
        "cats.pdf": "added", "locked.pdf": "failed", "broken.pdf": "failed",
    }  # fmt: skip
    assert [file["status"] for file in second.files] == ["added"]
    assert (first.step["files_done"], first.step["files_total"]) == (3, 3)
    assert second.password == "", "it is not kept"
    with open_library() as library:
        assert sorted(d.path.name for d in library.store.documents()) == ["cats.pdf", "locked.pdf"]


def test_a_job_that_is_stopped_says_so_and_the_next_one_runs(
    home: Path, write_pdf: Callable[..., Path]
) -> None:
    jobs = Jobs("default")
    jobs.add([write_pdf("a.pdf", CATS)])
    jobs.stop()
    jobs.add([write_pdf("b.pdf", CATS)])
    assert jobs.wait(120)
    assert [job.state for job in jobs.all()] == ["stopped", "done"]


def test_what_a_child_says_becomes_a_job() -> None:
    assert read_step("a warning\n") is None
    assert read_step("{broken\n") is None
    counts = {"files_done": 1, "files_total": 4, "pages_done": 50, "pages_read": 60,
              "pages_total": 200}  # fmt: skip
    step = read_step(str(counts).replace("'", '"'))
    assert step == counts
    job = Job(1, (Path("/docs"),), state="running", step=step, began=100.0)
    assert progress(job, 110.0) == (0.25, "1 of 4 files, 5.0 pages/s, about 30 s left")
    assert progress(Job(1, ()), 0.0) == (0.0, "Starting")
    failed = Job(1, (), **outcome(1, "", "ragformer: the disk is full"))
    assert told(failed) == "Nothing was indexed: the disk is full"
    done = Job(1, (), **outcome(0, '{"files": [{"status": "added"}], "seconds": 1}', ""))
    assert told(done) == "Done: 1 added."
    assert [lasting(s) for s in (0.1, 40, 200, 7300)] == ["1 s", "40 s", "3 min", "2 h"]


def test_the_empty_page_says_what_to_do(open_app: OpenApp) -> None:
    app = open_app("documents")
    assert any("nothing here yet" in element.value for element in app.text)
    app.text_input(key="folder").set_value("/")
    next(button for button in app.button if button.label == "Add folder").click().run()
    assert "whole disk" in app.error[0].value


def test_an_upload_is_kept_indexed_and_deleted_with_its_document(
    open_app: OpenApp, write_pdf: Callable[..., Path], home: Path
) -> None:
    app = open_app("documents")
    content = write_pdf("cats.pdf", CATS).read_bytes()
    app.file_uploader[0].upload("../cats.pdf", content, "application/pdf").run()
    assert state._jobs(str(home), "default").wait(120)
    app.run()
    assert any(element.value == "1 document, 1 page" for element in app.text)
    assert list(app.dataframe[0].value["File"]) == ["cats.pdf"]
    uploads = home / "collections" / "default" / UPLOADS
    assert [path.name for path in uploads.iterdir()] == ["cats.pdf"]
    (row,) = state._ledger(str(home), "default", _library(home).store.generation)
    _remove(app, row)
    assert list(uploads.iterdir()) == []
    assert _library(home).store.documents() == []


def test_names_that_are_no_utf_8_or_turn_the_writing_are_shown(
    open_app: OpenApp, library: Library, write_pdf: Callable[..., Path], index: Callable[..., Any]
) -> None:
    path, turned = write_pdf("cafe.pdf", CATS), write_pdf("a\u202efdp.pdf", CATS, CATS)
    path = path.rename(path.with_name(os.fsdecode(b"caf\xe9.pdf")))
    broken = path.with_name(os.fsdecode(b"br\xf6ken.pdf"))
    broken.write_bytes(b"nothing")
    index(library, path, turned, broken)
    app = open_app("documents")
    assert not app.exception
    assert sorted(app.dataframe[0].value["File"]) == ["afdp.pdf", "br?ken.pdf", "caf?.pdf"]
    chat = open_app()
    chat.chat_input[0].set_value("How long does the cat sleep in the caf?").run()
    assert not chat.exception


def _library(home: Path) -> Library:
    return state._library(str(home), "default")


def _remove(app: AppTest, row: object) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state, "library", lambda: _library(Path(state.home())))
        remove([row])  # type: ignore[list-item]


def test_shards_are_listed_and_name_the_way_to_what_writes_them(
    open_app: OpenApp, write_pdf: Callable[..., Path], home: Path
) -> None:
    path = write_pdf("cats.pdf", CATS)
    with open_library("many") as library:
        index_in_shards(library, [path], 2)
    app = open_app("documents")
    app.selectbox[0].set_value("many").run()
    assert list(app.dataframe[0].value["File"]) == ["cats.pdf"]
    app.file_uploader[0].upload("new.pdf", path.read_bytes(), "application/pdf").run()
    assert "kept in shards" in app.error[0].value
    assert not (home / "collections" / "many" / UPLOADS).exists()


def test_a_folder_is_taken_only_from_this_machine(
    open_app: OpenApp, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    app = open_app("documents")
    app.text_input(key="folder").set_value("papers")
    next(button for button in app.button if button.label == "Add folder").click().run()
    assert "whole path" in app.error[0].value
    monkeypatch.setenv("RAGFORMER_UI_PASSWORD", "word")
    remote = open_app("documents", address="0.0.0.0")
    assert "folder" not in [field.key for field in remote.text_input]


def test_a_file_that_failed_is_listed_with_its_reason_and_may_ask_for_a_password(
    open_app: OpenApp, library: Library, write_pdf: Callable[..., Path], index: Callable[..., Any]
) -> None:
    broken = write_pdf("a.pdf", CATS).with_name("broken.pdf")
    broken.write_bytes(b"not a PDF")
    locked = write_pdf("locked.pdf", CATS, password="word")
    index(library, broken, locked)
    app = open_app("documents")
    table = app.dataframe[0].value
    assert list(table["Status"]) == ["failed", "failed"]
    assert "not a PDF" in table["Remark"][0]
    assert any(element.value == "locked.pdf is encrypted." for element in app.text)
