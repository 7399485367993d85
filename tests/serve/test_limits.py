"""Who is let in, how much is taken, and what happens to work nobody waits for."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import openai
import pytest

from ragformer.errors import ClusterError, ConfigError, ServerError
from ragformer.library import Library
from ragformer.serve.app import make_app
from ragformer.types import Answer, Progress

from .conftest import QUESTION, Running, started

ASKED: Any = {"model": "default", "messages": [{"role": "user", "content": QUESTION}]}
BODY = json.dumps(ASKED).encode()
JSON = {"Content-Type": "application/json"}


class Slow:
    """In place of Library.stream: a word, and then one each time `go` says so, or on and on."""

    def __init__(self, endless: bool = True) -> None:
        self.endless = endless
        self.begun, self.go, self.closed = (threading.Event() for _ in range(3))
        self.n = 0

    def __call__(self, *_: Any, **__: Any) -> Iterator[str | Answer]:
        self.n += 1
        try:
            yield "word "
            self.begun.set()
            while self.endless and not self.go.is_set():
                threading.Event().wait(0.01)
                yield "word "
            self.go.wait()
            yield "end"
            yield Answer(QUESTION, "word end", (), (), None, False, None, "local", "slow")
        finally:
            self.closed.set()


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    made = Slow()
    monkeypatch.setattr(Library, "stream", made)
    yield made
    made.go.set()


def connected(running: Running) -> socket.socket:
    host, port = running.root.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)))


def sent(
    running: Running,
    body: bytes,
    path: str = "/v1/chat/completions",
    kind: str = "application/json",
) -> socket.socket:
    """A connection on which the request has been sent and no answer read."""
    made = connected(running)
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
    made.sendall(f"{head}Content-Type: {kind}\r\n\r\n".encode() + body)
    return made


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_hangs_up_stops_the_work(running: Running, slow: Slow, stream: bool) -> None:
    with sent(running, json.dumps(ASKED | {"stream": stream}).encode()) as connection:
        slow.begun.wait()
        if stream:
            connection.recv(100)
    assert slow.closed.wait(60)
    running.wait_idle()


def test_an_upload_that_nobody_waits_for_is_given_up_and_not_kept(
    running: Running, monkeypatch: pytest.MonkeyPatch, served_home: Path
) -> None:
    begun, ended = threading.Event(), threading.Event()

    def endless(*_: Any, **__: Any) -> Iterator[Progress]:
        try:
            begun.set()
            while not ended.wait(0.01):
                yield Progress(0, 1, 0, 0)
        finally:
            ended.set()

    monkeypatch.setattr(Library, "index", endless)
    form = b'Content-Disposition: form-data; name="file"; filename="long.pdf"\r\n\r\n%PDF'
    body, kind = b"--x\r\n" + form + b"\r\n--x--\r\n", "multipart/form-data; boundary=x"
    uploads = served_home / "collections" / "default" / "uploads"
    with sent(running, body, "/v1/documents", kind):
        begun.wait()
        assert (uploads / "long.pdf").read_bytes() == b"%PDF"
    is_given_up = ended.wait(30)
    ended.set()
    running.wait_idle()
    assert is_given_up
    assert list(uploads.iterdir()) == []
    uploads.rmdir()


def test_one_is_worked_on_and_what_nobody_waits_for_leaves_the_queue(
    running: Running, slow: Slow
) -> None:
    with sent(running, BODY):
        slow.begun.wait()
        with sent(running, BODY):
            while running.service.answers.depth < 2:
                threading.Event().wait(0.01)
        while running.service.answers.depth > 1:
            threading.Event().wait(0.01)
        assert slow.n == 1
    running.wait_idle()


def test_a_full_queue_says_when_to_come_again(slow: Slow) -> None:
    with started(waiting=0) as running:
        with sent(running, BODY):
            slow.begun.wait()
            with running.client() as client, pytest.raises(openai.InternalServerError) as caught:
                client.chat.completions.create(**ASKED)
        assert caught.value.status_code == 503
        assert caught.value.response.headers["retry-after"] == "1"
        running.wait_idle()


def test_what_takes_too_long_is_ended(slow: Slow) -> None:
    with started(seconds=0.3) as running, running.client() as client:
        with pytest.raises(openai.InternalServerError, match=r"0\.3 seconds") as caught:
            client.chat.completions.create(**ASKED)
        assert caught.value.status_code == 504
        with pytest.raises(openai.APIError, match=r"0\.3 seconds"):
            list(client.chat.completions.create(**ASKED, stream=True))
        assert slow.closed.wait(60)
        running.wait_idle()


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("kind", [ServerError, ClusterError])
def test_what_fails_meanwhile_is_said(
    running: Running, monkeypatch: pytest.MonkeyPatch, begun: bool, kind: type[Exception]
) -> None:
    def failing(*_: Any, **__: Any) -> Iterator[str]:
        if begun:
            yield "word "
        raise kind("the other server broke off; ask again")

    monkeypatch.setattr(Library, "stream", failing)
    with running.client() as client, pytest.raises(openai.APIError, match="broke off") as caught:
        list(client.chat.completions.create(**ASKED, stream=True))
    assert getattr(caught.value, "status_code", None) == (None if begun else 502)


def test_a_server_that_stops_ends_what_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(endless=False)
    monkeypatch.setattr(Library, "stream", slow)
    with started() as running, running.client() as client:
        chunks = client.chat.completions.create(**ASKED, stream=True)
        next(chunks)
        running.stop()
        slow.go.set()
        *_, last = chunks
    assert last.choices[0].finish_reason == "stop"


def test_a_token_is_asked_for_where_there_is_one() -> None:
    with started("s3cret") as running, httpx.Client(base_url=running.root, timeout=None) as http:
        for key in ("", "wrong", "s3cret2"):
            answer = http.get(
                "/v1/models", headers={"Authorization": f"Bearer {key}"} if key else {}
            )
            assert answer.status_code == 401
            assert answer.json()["error"]["code"] == "invalid_api_key"
        assert http.get("/metrics").status_code == 401
        assert http.get("/health").json() == {"status": "ok"}
        with running.client("s3cret") as client:
            assert client.models.list().data
        with running.client("wrong") as client, pytest.raises(openai.AuthenticationError):
            client.models.list()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", ""])
def test_where_others_may_reach_it_there_must_be_a_token(host: str) -> None:
    with pytest.raises(ConfigError, match="RAGFORMER_SERVE_TOKEN"):
        make_app(host)
    make_app(host, "s3cret")


@pytest.mark.parametrize("token", ["two words", "schlüssel", "line\n", "\udcff"])
def test_a_token_that_no_client_can_send_is_refused(token: str) -> None:
    with pytest.raises(ConfigError, match="RAGFORMER_SERVE_TOKEN goes in a header"):
        make_app("0.0.0.0", token)


def test_no_other_site_gets_in(running: Running) -> None:
    with httpx.Client(base_url=running.root, timeout=None) as http:
        for host in ("evil.example", "127.0.0.1.evil.example", "evil.example:80", "[", ""):
            assert http.get("/v1/models", headers={"Host": host}).status_code in (400, 421)
        for host in ("localhost:80", "127.0.0.1", "[::1]:8000"):
            assert http.get("/v1/models", headers={"Host": host}).status_code == 200
        for origin in ("http://evil.example", "null", "", "http://[", "http://127.0.0.1:1"):
            answer = http.post("/v1/documents", headers={"Origin": origin})
            assert answer.status_code == 403
            assert "access-control-allow-origin" not in answer.headers
        assert http.get("/v1/models", headers={"Origin": running.root}).status_code == 200


@pytest.mark.parametrize(
    ("path", "asked", "said"),
    [
        ("chat/completions", {"messages": [{"role": "user", "content": 1}]}, "messages.0.content"),
        ("chat/completions", {"messages": [{"role": "user", "content": [{}]}]}, ".0.type: Field"),
        ("chat/completions", {"response_format": {"type": "json_object"}}, "should be 'text'"),
        ("chat/completions", {"tool_choice": "required"}, "'none' or 'auto'"),
        ("chat/completions", {"modalities": ["text", "audio"]}, "modalities.1: "),
        ("chat/completions", {"logprobs": True}, "logprobs: "),
        ("chat/completions", {"n": 2}, "n: "),
        ("chat/completions", {"in": ["x" * 5000]}, "in.0: "),
        ("embeddings", {"input": [[1, 2]]}, "input: send texts, not"),
        ("embeddings", {"input": ["a", 1]}, "input.1: Input should be a valid string"),
        ("embeddings", {"input": ["x"] * 2049}, "input: List should have at most 2048"),
        ("documents", {}, "file: send the PDF itself"),
    ],
)
def test_what_cannot_be_had_is_named(
    running: Running, path: str, asked: dict[str, Any], said: str
) -> None:
    body: dict[str, Any] = ASKED | asked
    answer = httpx.post(f"{running.url}/{path}", json=body, timeout=None)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert said in error["message"]
    assert error["message"].startswith(f"{error['param']}: ")
    assert "[" not in error["param"]


@pytest.mark.parametrize(
    ("body", "kind"), [(BODY, "application/x-www-form-urlencoded"), (b"{'", "application/json")]
)
def test_what_is_no_json_is_told_what_to_send(running: Running, body: bytes, kind: str) -> None:
    url = f"{running.url}/chat/completions"
    answer = httpx.post(url, content=body, headers={"Content-Type": kind}, timeout=None)
    assert answer.json()["error"]["message"].startswith("send a JSON object")


def chunked(body: bytes) -> Callable[[], Iterator[bytes]]:
    return lambda: (body[start : start + 1000] for start in range(0, len(body), 1000))


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"model": "default", "messages": [{"role": "user", "content": "\xff\xfe"}]}', 400),
        (b'{"model": "\\ud800", "messages": [{"role": "user", "content": "\\ud800"}]}', 404),
        (b"[" * 3000, 400),
        (b"not JSON", 400),
        (b"", 400),
        (b'"x"', 400),
        (b"{}", 400),
        (b'{"model": "' + b"x" * 20_000 + b'"}', 413),
    ],
)
def test_a_body_that_cannot_be_used(body: bytes, status: int) -> None:
    with started(body=10_000) as running, httpx.Client(base_url=running.url, timeout=None) as http:
        for sent_as in (body, chunked(body)()):
            answer = http.post("/chat/completions", content=sent_as, headers=JSON)
            assert answer.status_code == status
            assert answer.json()["error"]["type"] == "invalid_request_error"
        assert http.get("/models").status_code == 200


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/documents"])
def test_a_body_that_does_not_come_is_not_waited_for(path: str) -> None:
    with started(body_seconds=0.2, upload_seconds=0.2) as running:
        kind = "multipart/form-data; boundary=x" if path == "/v1/documents" else "application/json"
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\n"
        with connected(running) as slow:
            begun = b"--x\r\nContent-" if path == "/v1/documents" else b'{"mo'
            slow.sendall(f"{head}Content-Length: 100\r\n\r\n".encode() + begun)
            answer = b"".join(iter(lambda: slow.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"was not whole after 0.2 seconds" in answer


HEALTH = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@pytest.mark.parametrize("begun", [b"", HEALTH[:20], HEALTH + HEALTH[:20]])
def test_a_connection_without_a_request_is_closed_and_no_answer_is_cut(
    slow: Slow, begun: bytes
) -> None:
    with started(idle_seconds=0.2) as running, running.client() as client:
        patient = client.with_options(max_retries=20)  # it may itself be late with its request
        chunks = patient.chat.completions.create(**ASKED, stream=True)
        next(chunks)
        with connected(running) as late, contextlib.suppress(ConnectionError):
            late.sendall(begun)
            while late.recv(4096):
                pass
        slow.go.set()
        *_, last = chunks
    assert last.choices[0].finish_reason == "stop"


def test_connections_that_ask_nothing_keep_nobody_out(slow: Slow) -> None:
    with started(connections=3) as running, running.client() as client:
        chunks = client.chat.completions.create(**ASKED, stream=True)
        next(chunks)
        with connected(running) as oldest, connected(running) as newer:
            assert httpx.get(f"{running.root}/health", timeout=None).status_code == 200
            assert oldest.recv(4096) == b""
            newer.sendall(HEALTH)
            assert newer.recv(4096).startswith(b"HTTP/1.1 200 ")
        slow.go.set()
        *_, last = chunks
    assert last.choices[0].finish_reason == "stop"


def test_an_upload_that_is_too_large(served_home: Any) -> None:
    with (
        started(upload=10_000) as running,
        httpx.Client(base_url=running.url, timeout=None) as http,
    ):
        answer = http.post("/documents", files={"file": ("a.pdf", b"%PDF" * 5000)})
        assert answer.status_code == 413
        assert not (served_home / "collections" / "default" / "uploads").exists()


def test_counts_for_prometheus_hold_no_text(running: Running) -> None:
    with httpx.Client(base_url=running.root, timeout=None) as http:
        http.get("/v1/models")
        http.get("/v1/models/nothing")
        text = http.get("/metrics").text
    assert 'ragformer_requests_total{path="/v1/models",status="200"}' in text
    assert 'ragformer_requests_total{path="/v1/models/{model}",status="404"}' in text
    assert 'ragformer_queue{worker="answers"} 0.0' in text
    assert "nothing" not in text
