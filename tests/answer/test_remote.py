"""A remote model over a real connection: what is sent, what comes, and every way it fails."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Sequence

import pytest
from protocol_server import (
    KEY,
    Reply,
    Server,
    chunk,
    event,
    events,
    lost,
    silence,
    status,
    stream,
    whole,
)

from ragformer.answer import remote
from ragformer.answer.remote import stream_reply
from ragformer.errors import ConfigError, RagformerError, ServerError
from ragformer.types import RemoteModel

ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]


def talk(server: Server, *replies: Reply, name: str = "small", **options: float) -> list[object]:
    """What the client makes of these replies."""
    server.replies = list(replies) or server.replies
    return list(stream_reply(RemoteModel(name, server.url, KEY, **options), ASKED))  # type: ignore[arg-type]


def failure(server: Server, *replies: Reply, **options: object) -> RagformerError:
    """How it fails with these replies; no traceback of it holds the key."""
    with pytest.raises(RagformerError) as caught:
        talk(server, *replies, **options)  # type: ignore[arg-type]
    assert KEY not in "".join(traceback.format_exception(caught.value))
    return caught.value


def test_the_text_comes_piece_by_piece_then_model_and_usage(server: Server) -> None:
    *texts, reply = talk(server, stream("Be", "cause."))
    assert texts == ["Be", "cause."]
    usage = {"prompt_tokens": 120.0, "completion_tokens": 7.0, "total_tokens": 127.0}
    assert reply == remote.Reply("small-v2", usage)
    (body,) = server.asked
    assert (body["model"], body["messages"], body["stream"]) == ("small", ASKED, True)
    assert body["temperature"] == 0
    assert server.keys == [f"Bearer {KEY}"]


@pytest.mark.parametrize("trouble", [status(429), status(408), status(500), status(503), lost])
def test_what_may_pass_is_tried_again(server: Server, trouble: Reply) -> None:
    assert talk(server, trouble, stream("yes"))[0] == "yes"
    assert len(server.asked) == 2


def test_what_does_not_pass_is_one_sentence_after_three_tries(server: Server) -> None:
    error = failure(server, status(429, f"quota of {KEY} used up"))
    assert isinstance(error, ServerError)
    assert f"{server.url} takes no more questions now" in str(error)
    assert "quota of (the key) used up" in str(error)
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("trouble", "kind", "said"),
    [
        (status(401, f"wrong key {KEY}"), ConfigError, "refuses the key in OPENAI_API_KEY"),
        (status(403), ConfigError, "refuses the key"),
        (status(400, "maximum context length is 4096 tokens"), ServerError, "less than 8,192"),
        (status(400, f"odd {KEY}\n" + "x" * 1000), ServerError, "answers with status 400: odd ("),
        (events(chunk("a"), cut=True), ServerError, "lost in the middle of an answer"),
        (events(chunk("a")), ServerError, "ended the answer before it was whole"),
        (events(chunk("a"), event("{nope")), ServerError, "not the OpenAI protocol"),
        (events(b"data: \xff\n\n"), ServerError, "not the OpenAI protocol"),
        (events(event("[" * 20_000)), ServerError, "not the OpenAI protocol"),
        (whole(b"<html></html>", kind="text/html"), ServerError, "than the OpenAI protocol"),
        (
            events(chunk("a"), event('{"error": {"message": "out of memory"}}')),
            ServerError,
            "broke off: out of memory",
        ),
    ],
)
def test_every_failure_is_one_short_sentence_without_the_key(
    server: Server, trouble: Reply, kind: type[Exception], said: str
) -> None:
    error = failure(server, trouble)
    assert isinstance(error, kind)
    assert said in str(error)
    assert len(str(error)) < 500
    assert "\n" not in str(error)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "junk",
    [
        "5",
        "[]",
        "null",
        '"x"',
        '{"choices": 5}',
        '{"choices": [3, null]}',
        '{"choices": [{"delta": 7, "finish_reason": 7}]}',
        '{"choices": [{"delta": {"content": {"a": 1}}}], "model": 3, "usage": 7}',
    ],
)
def test_an_event_that_says_nothing_is_passed_over(server: Server, junk: str) -> None:
    *texts, reply = talk(server, events(chunk("a"), event(junk), chunk("b", finish="stop")))
    assert (texts, reply) == (["a", "b"], remote.Reply("small-v2"))


def test_half_a_character_and_a_null_do_no_harm(server: Server) -> None:
    (text, _) = talk(server, events(chunk("\ud83d\0", finish="stop")))
    assert text == "?\0"


def test_a_slow_server_is_given_up(server: Server) -> None:
    error = failure(server, silence, timeout=0.1)
    assert "said nothing for 0.1 seconds, 3 times" in str(error)


def test_no_server_at_all(server: Server) -> None:
    address = server.url
    server.shutdown()
    server.server_close()
    with pytest.raises(ServerError, match=f"no server answers at {address}"):
        list(stream_reply(RemoteModel("small", address), ASKED))


def test_closing_the_iterator_hangs_up(server: Server) -> None:
    server.replies = [events(chunk("a"), wait=True)]
    pieces = stream_reply(RemoteModel("small", server.url, KEY), ASKED)
    assert next(pieces) == "a"
    pieces.close()
    assert server.gone.wait(30)


def test_what_is_enough_ends_in_a_reply(server: Server) -> None:
    server.replies = [events(chunk("a"), chunk("b"), wait=True)]
    enough = threading.Event()
    pieces = stream_reply(RemoteModel("small", server.url, KEY), ASKED, enough)
    assert next(pieces) == "a"
    enough.set()
    assert list(pieces) == [remote.Reply("small-v2")]
    assert server.gone.wait(30)


def test_a_model_that_never_stops_is_stopped(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "LONGEST_REPLY", 10)
    *texts, reply = talk(server, events(*[chunk("no! ")] * 5, wait=True))
    assert (texts, reply) == (["no! "] * 3, remote.Reply("small-v2", cut=True))
    assert server.gone.wait(30)


def test_what_a_model_does_not_take_is_left_out(server: Server) -> None:
    fussy = status(400, "Unsupported value: 'temperature' must be 1 with this model")
    old = status(422, "unknown field stream_options")
    assert talk(server, fussy, old, stream("yes"))[0] == "yes"
    assert [sorted(body) for body in server.asked] == [
        ["messages", "model", "stream", "stream_options", "temperature"],
        ["messages", "model", "stream", "stream_options"],
        ["messages", "model", "stream"],
    ]


@pytest.mark.parametrize(
    ("models", "name", "asked_for", "said"),
    [
        (["only"], "", "only", ""),
        (["a", "b"], "", "", "no model is chosen and .* has a, b;"),
        ([], "", "", "has none;"),
        (["a", "b"], "c", "", "has no model c; it has a, b"),
        (["a"], "a", "", "does not know the address or the model a"),
        (list("abcdefghijkl"), "z", "", "it has a, b, c, d, e, f, g, h, i, j and more"),
    ],
)
def test_which_model(
    server: Server, models: Sequence[str], name: str, asked_for: str, said: str
) -> None:
    server.models = list(models)
    if asked_for:
        talk(server, stream("yes"), name=name)
        assert server.asked[0]["model"] == asked_for
        return
    server.replies = [status(404, "no such model")]
    with pytest.raises(ConfigError, match=said):
        talk(server, name=name)


def test_a_url_that_is_not_the_servers(server: Server) -> None:
    url = server.url.removesuffix("/v1")
    for name, said in (("small", "check OPENAI_BASE_URL"), ("", "does not list its models")):
        with pytest.raises(ConfigError, match=said):
            list(stream_reply(RemoteModel(name, url), ASKED))


def test_without_the_package_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ConfigError, match=r"pip install 'ragformer\[openai\]'"):
        list(stream_reply(RemoteModel("small", "http://127.0.0.1:1/v1"), ASKED))


def test_the_key_is_not_in_the_repr_nor_the_password_in_the_address() -> None:
    model = RemoteModel("m", "https://me:secret@host:8443/v1/?token=secret", KEY)
    assert KEY not in repr(model)
    assert model.address == "https://host:8443/v1"


@pytest.mark.parametrize(
    ("base_url", "key", "said"),
    [
        ("localhost:11434/v1", "", "begins with http:// or https://"),
        ("http://", "", "names its host"),
        ("http://host:x/v1", "", "begins with http://"),
        ("http://[/v1", "", "begins with http://"),
        ("https://api.openai.com/v1", "", "OPENAI_API_KEY is not set, and https://api.openai.com"),
        ("http://localhost/v1", "sk-é", "a character that no key has"),
        ("http://localhost/v1", "sk-1\n2", "a character that no key has"),
    ],
)
def test_what_cannot_work_is_no_remote_model(base_url: str, key: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        RemoteModel("m", base_url, key)
    assert "sk-" not in str(caught.value)
