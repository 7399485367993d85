"""A real HTTP server in this process that speaks the OpenAI protocol, well or badly.

with serving() as server:
    server.replies = [status(429), stream("The answer")]   # in turn; the last one again and again
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-test-5ecret"
Reply = Callable[[BaseHTTPRequestHandler], None]


class Server(ThreadingHTTPServer):
    """models: what it lists. asked: the bodies of chat requests. keys: the keys they came with."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.models = ["small"]
        self.replies: list[Reply] = [stream("hello")]
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.gone = threading.Event()  # a client hung up before its reply was whole
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Silent where a client hung up between two requests: a client is free to, at any moment,
        and a traceback on the common stderr would land in the output of the test that runs."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self.server.keys.append(self.headers["Authorization"])
        if self.path != "/v1/models":
            return status(404, "no such path")(self)
        listed = [{"id": name, "object": "model"} for name in self.server.models]
        return whole(json.dumps({"object": "list", "data": listed}).encode())(self)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.keys.append(self.headers["Authorization"])
        if self.path != "/v1/chat/completions":
            return status(404, "no such path")(self)
        self.server.asked.append(json.loads(body))
        replies = self.server.replies
        return (replies.pop(0) if len(replies) > 1 else replies[0])(self)

    def log_message(self, format: str, *args: object) -> None:
        pass


def chunk(text: str | None = None, finish: str | None = None, **fields: object) -> bytes:
    """An event of a stream."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    value = {"id": "1", "object": "chat.completion.chunk", "model": "small-v2"}
    return event(json.dumps(value | {"choices": [choice]} | fields))


def event(data: str) -> bytes:
    return f"data: {data}\n\n".encode()


def stream(*texts: str, finish: str = "stop") -> Reply:
    """A reply as it should be: the texts, their end, what they cost."""
    usage = {"prompt_tokens": 120, "completion_tokens": 7, "total_tokens": 127}
    last = [chunk(finish=finish), chunk(choices=[], usage=usage), event("[DONE]")]
    return events(*map(chunk, texts), *last)


def events(*parts: bytes, cut: bool = False, wait: bool = False) -> Reply:
    """These bytes as a stream; cut: the connection is then lost. wait: it goes on and on without a
    word until the client hangs up."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        server: Server = handler.server  # type: ignore[assignment]
        try:
            for part in parts:
                handler.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            if wait:
                _hold(handler, server)
        except OSError:
            server.gone.set()
            handler.close_connection = True
            return
        if cut or wait:
            handler.close_connection = True
        else:
            handler.wfile.write(b"0\r\n\r\n")

    return reply


def _hold(handler: BaseHTTPRequestHandler, server: Server) -> None:
    """Comments for ever; raises OSError once the client is gone."""
    comment = b": still here\n\n"
    while not server.closing.wait(0.01):
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(comment), comment))


def silence(handler: BaseHTTPRequestHandler) -> None:
    """Nothing at all, not even a status."""
    server: Server = handler.server  # type: ignore[assignment]
    server.closing.wait()
    handler.close_connection = True


def lost(handler: BaseHTTPRequestHandler) -> None:
    """The connection is lost before anything is said."""
    handler.close_connection = True


def whole(body: bytes, code: int = 200, kind: str = "application/json", **headers: str) -> Reply:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body))}.items():
            handler.send_header(name, value)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return reply


def status(code: int, message: str = "no") -> Reply:
    """An error as OpenAI words it; it asks to try again soon."""
    error = {"error": {"message": message, "type": "some_error", "param": None, "code": None}}
    return whole(json.dumps(error).encode(), code, retry_after_ms="1")


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
