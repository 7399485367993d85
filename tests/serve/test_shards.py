"""A collection in shards over the service: searched, asked and listed as one store, not written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from shards_here import index_in_shards

from ragformer import forms
from ragformer.cluster.layout import shard_folder
from ragformer.library import Library, open_library

from .conftest import BOATS, CATS, QUESTION, Running, pdf


@pytest.fixture(scope="module")
def many(served_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """The files of the default collection, and a third, in three shards."""
    folder = tmp_path_factory.mktemp("many")
    files = [pdf(folder / "cats.pdf", "", CATS), pdf(folder / "boats.pdf", BOATS)]
    files.append(pdf(folder / "mills.pdf", "The mill grinds rye."))
    with open_library("many") as library:
        index_in_shards(library, files, 3)
        yield library


@pytest.fixture
def http(running: Running, many: Library) -> Iterator[Any]:
    with httpx.Client(base_url=running.url, timeout=None) as client:
        yield client


def test_shards_are_searched_and_listed(http: Any, many: Library) -> None:
    asked = {"query": QUESTION, "k": 2, "collection": "many"}
    found = http.post("/search", json=asked).json()
    assert found["data"] == forms.hit_forms(many.store, many.search(QUESTION, 2))
    assert "cat sleeps" in found["data"][0]["text"]
    assert "missing" not in found
    listed = http.get("/documents", params={"collection": "many"}).json()["data"]
    assert {Path(row["path"]).name for row in listed} == {"cats.pdf", "boats.pdf", "mills.pdf"}
    hit = found["data"][0]
    picture = http.get(
        f"/documents/{hit['document_id']}/pages/{hit['page']}.png", params={"collection": "many"}
    )
    assert picture.content[1:4] == b"PNG"


def test_a_chat_asks_all_shards(client: Any, many: Library) -> None:
    assert {"many", "many:local"} <= {model.id for model in client.models.list()}
    messages = [{"role": "user", "content": QUESTION}]
    said = client.chat.completions.create(model="many", messages=messages)
    mine = many.ask(QUESTION)
    assert said.choices[0].message.content == mine.text
    cited = [note.model_extra["ragformer"] for note in said.choices[0].message.annotations]
    assert cited == forms.answer_form(many.store, mine)["citations"]
    assert cited


def test_a_lost_shard_is_named(http: Any, client: Any, many: Library) -> None:
    lost = shard_folder(many.folder, 1)
    lost.rename(lost.with_name("away"))
    try:
        found = http.post("/search", json={"query": "cat river mill", "collection": "many"}).json()
        messages = [{"role": "user", "content": QUESTION}]
        said = client.chat.completions.create(model="many", messages=messages)
        listed = http.get("/documents", params={"collection": "many"}).json()
    finally:
        lost.with_name("away").rename(lost)
    for told in (found["missing"], listed["missing"], [said.model_extra["ragformer"]["note"]]):
        assert len(told) == 1
        assert "shard 1 of the 3 of this collection was not searched" in told[0]


def test_shards_are_not_written_over_the_service(http: Any, many: Library, tmp_path: Path) -> None:
    path = pdf(tmp_path / "new.pdf", "The lighthouse is of granite.")
    files = {"file": ("new.pdf", path.read_bytes(), "application/pdf")}
    sent = http.post("/documents", params={"collection": "many"}, files=files)
    assert sent.status_code == 400
    assert "kept in shards: index with --engine ray" in sent.json()["error"]["message"]
    assert not (many.folder / "uploads").exists()
    document = many.store.documents()[0]
    gone = http.delete(f"/documents/{document.id}", params={"collection": "many"})
    assert "--engine ray" in gone.json()["error"]["message"]
    assert many.store.find(document.id) == document
