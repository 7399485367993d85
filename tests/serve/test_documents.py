"""Documents over the service: search, list, upload, delete, and pages as pictures."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from PIL import Image

from ragformer import forms
from ragformer.config import load_settings
from ragformer.library import Library, open_library
from ragformer.store.store import Store
from ragformer.store.uploads import UPLOADS, save_upload

from .conftest import BOATS, QUESTION, Running, pdf, started

OTHER = "The lighthouse was built of granite."


@pytest.fixture
def http(running: Running) -> Any:
    with httpx.Client(base_url=running.url, timeout=None) as client:
        yield client


def send(http: Any, path: Path, name: str, collection: str) -> Any:
    files = {"file": (name, path.read_bytes(), "application/pdf")}
    return http.post("/documents", params={"collection": collection}, files=files)


def said(response: Any) -> tuple[int, str]:
    error = response.json()["error"]
    assert error["type"] == (
        "server_error" if response.status_code >= 500 else "invalid_request_error"
    )
    return response.status_code, error["message"]


def test_search_and_list_are_those_of_the_command_line(http: Any, cats: Library) -> None:
    hits = http.post("/search", json={"query": QUESTION, "k": 2, "in": ["cats.pdf"]}).json()
    assert hits["data"] == forms.hit_forms(cats.store, cats.search(QUESTION, 2, ["cats.pdf"]))
    assert len(hits["data"]) == 1
    listed = http.get("/documents").json()["data"]
    assert listed == [form for d in cats.store.documents() for form in forms.file_forms(d)]


def test_a_file_whose_name_is_no_utf_8_breaks_no_answer(running: Running, tmp_path: Path) -> None:
    path = pdf(tmp_path / os.fsdecode(b"caf\xe9.pdf"), OTHER)
    broken = path.with_name(os.fsdecode(b"br\xf6ken.pdf"))
    broken.write_bytes(b"nothing")
    with open_library("odd") as library:
        list(library.index([path, broken]))
    with httpx.Client(base_url=running.url, timeout=None) as http:
        listed = http.get("/documents", params={"collection": "odd"})
        assert {Path(row["path"]).name for row in listed.json()["data"]} == {
            "caf?.pdf", "br?ken.pdf",
        }  # fmt: skip
        found = http.post("/search", json={"query": "granite", "collection": "odd"}).json()
        assert [Path(hit["path"]).name for hit in found["data"]] == ["caf?.pdf"]
    asked: Any = {"model": "odd", "messages": [{"role": "user", "content": "What is granite?"}]}
    with running.client() as client:
        whole = client.chat.completions.create(**asked)
        pieces = client.chat.completions.create(**asked, stream=True)
        assert whole.choices[0].message.content == "".join(
            piece.choices[0].delta.content or "" for piece in pieces
        )


def test_a_file_is_uploaded_found_and_deleted(http: Any, tmp_path: Path) -> None:
    path = pdf(tmp_path / "light.pdf", OTHER)
    sent = send(http, path, "../../../light.pdf", "towers")
    assert sent.status_code == 201, sent.text
    form = sent.json()
    kept = load_settings().collections / "towers" / UPLOADS / "light.pdf"
    assert (form["status"], form["path"], form["pages"]) == ("added", str(kept), 1)
    again = send(http, path, "light.pdf", "towers").json()
    assert (again["status"], again["id"]) == ("unchanged", form["id"])
    found = http.post("/search", json={"query": "lighthouse", "collection": "towers"}).json()
    assert [hit["document_id"] for hit in found["data"]] == [form["id"]]
    one = f"/documents/{form['id']}"
    gone = http.delete(one, params={"collection": "towers"})
    assert gone.json() == {"object": "document", "id": form["id"], "deleted": True}
    assert not kept.exists()
    assert said(http.delete(one, params={"collection": "towers"}))[0] == 404
    found = http.post("/search", json={"query": "lighthouse", "collection": "towers"}).json()
    assert found["data"] == []


def test_what_is_no_pdf_is_not_kept_and_loses_nothing(http: Any, tmp_path: Path) -> None:
    good = pdf(tmp_path / "good.pdf", OTHER)
    assert send(http, good, "good.pdf", "mixed").status_code == 201
    bad = tmp_path / "bad.pdf"
    bad.write_bytes(b"PK\x03\x04 no PDF")
    status, message = said(send(http, bad, "good.pdf", "mixed"))
    assert (status, "cannot be indexed" in message) == (422, True)
    with open_library("mixed") as library:
        assert [d.path.name for d in library.store.documents()] == ["good.pdf"]
        assert library.store.failures() == []
        assert [f.name for f in (library.folder / UPLOADS).iterdir()] == ["good.pdf"]
    for name in ("../up", "a/b", "x" * 65):
        assert said(send(http, good, "good.pdf", name))[0] == 400
    assert said(http.post("/documents", json={}))[0] == 400


def test_a_file_that_the_page_saved_and_indexes_is_not_taken_away(
    http: Any, tmp_path: Path
) -> None:
    path = pdf(tmp_path / "both.pdf", OTHER)
    folder = load_settings().collections / "both"
    saved, _ = save_upload(folder, "both.pdf", io.BytesIO(path.read_bytes()))
    with Store.open(folder, create=True) as store, store.indexing():
        status, message = said(send(http, path, "both.pdf", "both"))
        assert (status, "is indexing" in message) == (503, True)
        assert said(send(http, pdf(tmp_path / "new.pdf", BOATS), "new.pdf", "both"))[0] == 503
    assert list((folder / UPLOADS).iterdir()) == [saved]
    assert send(http, path, "both.pdf", "both").json()["path"] == str(saved)


def test_a_page_is_drawn_with_its_quote_marked(http: Any, cats: Library) -> None:
    [document] = cats.store.documents(["boats.pdf"])
    quote = BOATS.split(".")[0]

    def drawn(**query: Any) -> Image.Image:
        found = http.get(f"/documents/{document.id}/pages/1.png", params={"width": 600} | query)
        assert (found.status_code, found.headers["content-type"]) == (200, "image/png")
        return Image.open(io.BytesIO(found.content)).convert("RGB")

    plain, marked = drawn(), drawn(quote=quote.replace(" ", "  "))
    assert plain.size == marked.size == (600, 800)
    yellow = [marked.getpixel((x, 100)) for x in range(600)].count((255, 255, 85))
    assert yellow > 50
    [boxes] = [
        hit["boxes"] for hit in http.post("/search", json={"query": quote, "k": 1}).json()["data"]
    ]
    x0, y0, x1, y1 = boxes[0]["box"]
    changed = [
        (x, y)
        for x in range(600)
        for y in range(800)
        if plain.getpixel((x, y)) != marked.getpixel((x, y))
    ]
    assert all(x0 - 2 <= x <= x1 + 2 and y0 - 2 <= y <= y1 + 2 for x, y in changed)


def test_an_encrypted_file_is_taken_and_drawn_by_a_server_that_knows_its_password(
    http: Any, write_pdf: Any, served_home: Path
) -> None:
    path = write_pdf("secret.pdf", OTHER, password="word")
    status, message = said(send(http, path, "secret.pdf", "secrets"))
    assert (status, "password" in message) == (422, True)
    with (
        started(passwords=["other", "word"]) as knows,
        httpx.Client(base_url=knows.url, timeout=None) as told,
    ):
        kept = send(told, path, "secret.pdf", "secrets").json()
        page = f"/documents/{kept['id']}/pages/1.png"
        asked = {"collection": "secrets", "quote": "lighthouse"}
        assert told.get(page, params=asked).content.startswith(b"\x89PNG")
    status, message = said(http.get(page, params=asked))
    assert (status, "needs a (different) password" in message) == (403, True)


def test_pages_that_cannot_be_drawn(http: Any, cats: Library, served_home: Path) -> None:
    [document] = cats.store.documents(["cats.pdf"])
    pages = f"/documents/{document.id}/pages"
    assert said(http.get(f"{pages}/3.png"))[0] == 404
    assert said(http.get(f"{pages}/0.png"))[0] == 400
    assert said(http.get(f"{pages}/99999999999999999999.png"))[0] == 400
    status, message = said(http.get(f"{pages}/2.png", params={"quote": "It never sleeps."}))
    assert (status, "does not stand on page 2" in message) == (404, True)
    assert said(http.get(f"/documents/{'0' * 64}/pages/1.png"))[0] == 404
    assert said(http.get(f"/documents/{'%2e' * 3}/pages/1.png"))[0] == 400
    text, before = document.path.read_bytes(), document.path.stat()
    document.path.write_bytes(text + b"\n")
    try:
        assert said(http.get(f"{pages}/1.png"))[0] == 409
    finally:
        document.path.write_bytes(text)
        os.utime(document.path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("name", ["nothing", "../default", "", "a b"])
def test_a_collection_that_is_not_there(http: Any, name: str) -> None:
    if name:
        assert said(http.get("/documents", params={"collection": name}))[0] == 404
        asked = {"query": "cats", "collection": name}
        assert said(http.post("/search", json=asked))[0] == 404
    else:
        assert http.get("/documents", params={"collection": name}).json()["collection"] == "default"
    assert not (load_settings().collections / "nothing").exists()
