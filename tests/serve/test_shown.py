"""max_tokens and stop: how much of an answer is sent, and what is said of it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import openai
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ragformer.answer import writer
from ragformer.library import Library
from ragformer.serve.shown import Shown

from .conftest import QUESTION, Running
from .test_replies import answer, citation

ASKED: list[Any] = [{"role": "user", "content": QUESTION}]
WORDS = st.text("ab", max_size=4)


def sent(text: str, most: int | None, stops: list[str]) -> tuple[str, str]:
    """What is to be sent of it, a character being a token, and why no more."""
    ended = ""
    for end in range(1, len(text) + 1):
        if whole := [stop for stop in stops if text[:end].endswith(stop)]:
            text, ended = text[: end - max(map(len, whole))], "stop"
            break
    return (text, ended) if most is None or len(text) <= most else (text[:most], "length")


@given(
    st.lists(WORDS),
    st.none() | st.integers(1, 20),
    st.lists(WORDS.filter(bool), max_size=4),
)
@example(["aa", "b"], None, ["aab"])
def test_a_text_ends_where_it_must_in_whatever_pieces_it_comes(
    pieces: list[str], most: int | None, stops: list[str]
) -> None:
    text, ended = sent("".join(pieces), most, stops)
    shown = Shown(len, most, stops)
    came = [shown.add(piece) for piece in pieces]
    left, told = shown.end(answer("".join(pieces)))
    assert "".join([*came, left]) == shown.text == told.text == text
    assert (shown.ended, told.cut, bool(told.note)) == (ended, ended == "length", bool(ended))


def test_of_a_quote_that_is_cut_there_is_no_citation_and_the_note_says_so() -> None:
    text = "It sleeps: “eighteen hours” [1] and hunts: “at night, eighteen hours” [2]"
    quotes = citation(1, "eighteen hours"), citation(2, "at night, eighteen hours")
    ends = {stop: text.index(stop) for stop in (" hours” [1]", "” [1]", ", eighteen", " [2]")}
    for stop, marks, within in zip(ends, ([], [1], [1], [1, 2]), (1, 0, 1, 0), strict=True):
        shown = Shown(len, ends[stop])
        shown.add(text)
        left, told = shown.end(answer(text, *quotes))
        assert (left, told.text) == ("", text[: ends[stop]])
        assert [citation.mark for citation in told.citations] == marks
        assert told.note.endswith("within a quotation.") == bool(within)


def chat(client: Any, model: str, **limits: Any) -> tuple[Any, Any]:
    """The answer as it comes whole, of which the stream must be the same; the choice and all."""
    told = client.chat.completions.create(model=model, messages=ASKED, **limits)
    options = {"include_usage": True}
    *chunks, last, counted = client.chat.completions.create(
        model=model, messages=ASKED, stream=True, stream_options=options, **limits
    )
    [choice] = told.choices
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert streamed == choice.message.content
    assert last.choices[0].finish_reason == choice.finish_reason
    annotations = [annotation.to_dict() for annotation in choice.message.annotations]
    assert last.choices[0].delta.model_extra["annotations"] == annotations
    assert last.model_extra["ragformer"] == told.model_extra["ragformer"]
    assert counted.usage == told.usage
    return choice, told


@pytest.mark.parametrize("model", ["default", "default:qwen"])
def test_an_answer_has_at_most_so_many_tokens(
    client: Any, cats: Library, imported: Path, model: str
) -> None:
    whole, told = chat(client, model)
    text, n = whole.message.content, told.usage.completion_tokens
    assert whole.message.annotations
    assert whole.finish_reason == ("stop" if model == "default" else "length")  # at 80 tokens
    lengths = []
    for most in range(1, n, n // 5):
        choice, cut = chat(client, model, max_tokens=most)
        content = choice.message.content
        lengths.append(len(content))
        assert text.startswith(content)
        assert cut.usage.completion_tokens <= most
        assert cut.usage.prompt_tokens == told.usage.prompt_tokens
        assert choice.finish_reason == (whole.finish_reason if content == text else "length")
        note = cut.model_extra["ragformer"]["note"]
        assert ("cut off at max_tokens" in note) == (content != text)
        kept = [a for a in whole.message.annotations if a.url_citation.end_index <= len(content)]
        assert choice.message.annotations == kept
        for annotation in kept:
            place = annotation.url_citation
            quote = annotation.model_extra["ragformer"]["quote"]
            assert content[place.start_index : place.end_index].split() == quote.split()
    assert all(a <= b for a, b in pairwise(lengths))
    assert len(set(lengths)) > 3


def test_the_newer_name_of_max_tokens_is_another_for_the_same(client: Any) -> None:
    whole, told = chat(client, "default")
    assert chat(client, "default", max_completion_tokens=told.usage.completion_tokens)[0] == whole
    less, _ = chat(client, "default", max_completion_tokens=9, max_tokens=3)
    assert less == chat(client, "default", max_tokens=3)[0] != whole


def test_an_imported_decoder_writes_no_more_than_is_sent(
    client: Any, imported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, draw = [], writer.generate_beside

    def counted(*args: Any, **kwargs: Any) -> Iterator[int | None]:
        for token in draw(*args, **kwargs):
            written.append(token)
            yield token

    def tokens(**limits: Any) -> tuple[int, str]:
        written.clear()
        told = client.chat.completions.create(model="default:qwen", messages=ASKED, **limits)
        return sum(token is not None for token in written), told.model_extra["ragformer"]["note"]

    monkeypatch.setattr(writer, "generate_beside", counted)
    everything, note = tokens()
    assert (everything, note) == (80, "The answer was cut off at the model's limit.")
    n, note = tokens(max_tokens=1)
    assert n < everything
    assert note == "The answer was cut off at max_tokens."
    n_stopped, note = tokens(stop="“")
    assert n_stopped == n
    assert note == "The answer was cut off before a text given as stop."


def test_an_answer_ends_before_a_stop(client: Any) -> None:
    whole, _ = chat(client, "default")
    text = whole.message.content
    quote = whole.message.annotations[0].url_citation
    for stop, end in (
        ("” [1]", text.index("” [1]")),
        (["nowhere", "\n\n", "cat"], min(text.index("\n\n"), text.index("cat"))),
        (text[quote.start_index + 4 : quote.end_index], quote.start_index + 4),
        (text, 0),
        ([], len(text)),
        ("", len(text)),
    ):
        choice, told = chat(client, "default", stop=stop)
        assert choice.message.content == text[:end]
        assert choice.finish_reason == "stop"
        assert bool(choice.message.annotations) == (quote.end_index <= end)
        cut = quote.start_index < end < quote.end_index
        assert ("within a quotation" in told.model_extra["ragformer"]["note"]) == cut


def test_what_was_cut_is_the_turn_before(running: Running, client: Any) -> None:
    cut = client.chat.completions.create(model="default", messages=ASKED, max_tokens=12)
    text = cut.choices[0].message.content
    turn = running.service.shelf.turn("default", QUESTION, text)
    assert (turn.text, turn.citations, turn.cut) == (text, (), True)
    assert turn.passages


@pytest.mark.parametrize(
    ("limits", "param"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_completion_tokens": 0}, "max_completion_tokens"),
        ({"stop": list("abcde")}, "stop"),
        ({"stop": [1]}, "stop.0"),
    ],
)
def test_limits_that_are_none(client: Any, limits: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="default", messages=ASKED, **limits)
    assert caught.value.param == param
