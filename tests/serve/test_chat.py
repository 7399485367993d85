"""Models, chat and embeddings, as the unmodified openai client sees them."""

from __future__ import annotations

import json
import shutil
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
from chat_checkpoint import write_checkpoint

from ragformer.answer.installed import import_model
from ragformer.forms import answer_form
from ragformer.library import Library
from ragformer.types import Answer, RemoteModel

from .conftest import CATS, QUESTION, Running, started

ASKED: list[Any] = [{"role": "user", "content": QUESTION}]


def test_the_models_are_the_collections_and_who_writes(client: Any, cats: Library) -> None:
    assert [model.id for model in client.models.list()] == ["default", "default:local"]
    assert client.models.retrieve("default:local").owned_by == "ragformer"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("default:other")
    assert caught.value.code == "model_not_found"


def test_an_answer_and_its_citations_are_those_of_the_library(client: Any, cats: Library) -> None:
    said = client.chat.completions.create(model="default", messages=ASKED)
    mine = cats.ask(QUESTION)
    message = said.choices[0].message
    assert message.content == mine.text
    assert said.choices[0].finish_reason == "stop"
    form = answer_form(cats.store, mine)
    assert [a.model_extra["ragformer"] for a in message.annotations] == form["citations"]
    assert said.model_extra["ragformer"]["confidence"] == form["confidence"]
    assert said.usage.total_tokens == said.usage.prompt_tokens + said.usage.completion_tokens
    [annotation] = message.annotations
    assert annotation.type == "url_citation"
    place = annotation.url_citation
    citation = mine.citations[0]
    assert message.content[place.start_index : place.end_index] == citation.quote
    with urllib.request.urlopen(place.url) as picture:
        assert picture.read(4) == b"\x89PNG"


def test_a_stream_is_the_same_answer_in_pieces(client: Any, cats: Library) -> None:
    whole = client.chat.completions.create(model="default:local", messages=ASKED)
    *chunks, counted = client.chat.completions.create(
        model="default:local", messages=ASKED, stream=True, stream_options={"include_usage": True}
    )
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks]
    assert len(texts) > 4
    assert "".join(texts) == whole.choices[0].message.content
    assert [c.choices[0].finish_reason for c in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    annotations = chunks[-1].choices[0].delta.model_extra["annotations"]
    assert annotations == json.loads(whole.to_json())["choices"][0]["message"]["annotations"]
    assert counted.choices == []
    assert counted.usage == whole.usage


def test_a_refusal_is_an_answer_without_annotations(
    cats: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAGFORMER_THRESHOLD", "1")
    with started() as other, other.client() as client:
        said = client.chat.completions.create(model="default", messages=ASKED)
    assert said.choices[0].message.annotations == []
    assert said.model_extra["ragformer"]["abstained"] is True
    assert said.model_extra["ragformer"]["reason"] == "low_confidence"


def test_a_question_leans_on_the_turn_before_it(client: Any, cats: Library) -> None:
    first = client.chat.completions.create(model="default", messages=ASKED)
    before = [*ASKED, {"role": "assistant", "content": first.choices[0].message.content}]
    then = [{"role": "user", "content": "And where does it hunt?"}]
    *_, last = cats.stream(QUESTION)
    *_, mine = cats.stream("And where does it hunt?", last=last)
    said = client.chat.completions.create(model="default", messages=before + then)
    assert said.choices[0].message.content == mine.text
    assert said.model_extra["ragformer"]["searched_as"] == mine.searched_as != ""
    # An answer that was not given here says at least what was asked.
    foreign = [*ASKED, {"role": "assistant", "content": "Eighteen hours."}]
    said = client.chat.completions.create(model="default", messages=foreign + then)
    assert "sleep" in said.model_extra["ragformer"]["searched_as"]


def test_parts_of_text_are_a_text_and_a_picture_is_refused(client: Any, cats: Library) -> None:
    parts = [{"type": "text", "text": "How long does"}, {"type": "text", "text": "the cat sleep?"}]
    said = client.chat.completions.create(
        model="default", messages=[{"role": "user", "content": parts}]
    )
    assert said.choices[0].message.content == cats.ask("How long does\nthe cat sleep?").text
    picture = [{"type": "image_url", "image_url": {"url": "data:,"}}]
    with pytest.raises(openai.BadRequestError, match="text, not image_url"):
        client.chat.completions.create(
            model="default", messages=[{"role": "user", "content": picture}]
        )


@pytest.mark.parametrize("packed", [True, False])
def test_embeddings_are_the_encoders(client: Any, cats: Library, packed: bool) -> None:
    texts = [f"{CATS} {n}" for n in range(3)]
    form = {} if packed else {"encoding_format": "float"}
    said = client.embeddings.create(model="default", input=texts, **form)
    assert np.array_equal(
        np.array([item.embedding for item in said.data], np.float32), cats.encoder.encode(texts)
    )
    assert said.usage.prompt_tokens == cats.encoder.count_tokens(texts)


def test_more_texts_than_are_embedded_at_once_keep_their_order(client: Any, cats: Library) -> None:
    texts = [f"text {n}" for n in range(130)]
    said = client.embeddings.create(model="default", input=texts)
    vectors = np.array([item.embedding for item in said.data])
    assert [item.index for item in said.data] == list(range(130))
    np.testing.assert_allclose(vectors, cats.encoder.encode(texts), atol=2e-2)


def test_our_own_client_talks_to_our_own_server(running: Running, cats: Library) -> None:
    backend = RemoteModel("default:local", running.url)
    answer = cats.ask(QUESTION, backend=backend)
    assert (answer.backend, answer.model) == ("openai", "default:local")
    assert not answer.abstained
    assert answer.dropped == {"marks": 0, "quotes": 0}
    for citation in answer.citations:
        page = cats.store.page(citation.document_id, citation.page)
        assert page.text[citation.span.start : citation.span.end] == citation.quote
    assert [c.quote for c in answer.citations] == [c.quote for c in cats.ask(QUESTION).citations]


def test_our_own_client_tells_our_own_server_of_the_turn_before(
    running: Running, cats: Library
) -> None:
    backend = RemoteModel("default:local", running.url)
    first = cats.ask(QUESTION, backend=backend)
    *_, told = cats.stream("And where does it hunt?", last=first, backend=backend)
    *_, mine = cats.stream("And where does it hunt?", last=cats.ask(QUESTION))
    assert isinstance(told, Answer)
    assert isinstance(mine, Answer)
    asked = running.service.shelf._given
    searched = [answer.searched_as for answer in asked.values() if "hunt" in answer.question]
    assert any("sleep" in text for text in searched)
    assert told.citations[0].quote == mine.citations[0].quote


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"model": "nothing"}, 404, "no model nothing"),
        ({"model": "default:"}, 404, "no model default:"),
        ({"model": "../default"}, 404, "no model"),
        ({"messages": []}, 400, "messages"),
        ({"messages": [{"role": "system", "content": "Be brief."}]}, 400, "no message of the user"),
        ({"messages": [{"role": "user", "content": " "}]}, 400, "empty"),
        ({"messages": [{"role": "user", "content": "x" * 2001}]}, 400, "2,001"),
        ({"n": 2}, 400, "n:"),
        ({"extra_body": {"k": 0}}, 400, "k:"),
        ({"extra_body": {"in": ["none.pdf"]}}, 404, "none.pdf"),
    ],
)
def test_what_cannot_be_asked(
    client: Any, cats: Library, change: dict[str, Any], status: int, said: str
) -> None:
    for stream in (False, True):
        with pytest.raises(openai.APIStatusError, match=said) as caught:
            client.chat.completions.create(
                **{"model": "default", "messages": ASKED, "stream": stream} | change
            )
        assert caught.value.status_code == status
        assert caught.value.type == "invalid_request_error"


def test_an_imported_decoder_is_a_model(
    running: Running, client: Any, served_home: Path, tmp_path: Path, cats: Library
) -> None:
    _, imported = import_model(write_checkpoint(tmp_path / "Qwen", [CATS]), None, "qwen")
    assert "default:qwen" in [model.id for model in client.models.list()]
    assert running.service.shelf.chosen("default:qwen") == ("default", imported.folder)
    shutil.rmtree(imported.folder)
    assert "default:qwen" not in [model.id for model in client.models.list()]
