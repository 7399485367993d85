"""What the programs that people have send unasked, and how their clients read the reply."""

from __future__ import annotations

import asyncio
import gzip
import json
import urllib.error
import urllib.request
from typing import Any

import openai
import pytest

from ragformer.library import Library

from .conftest import QUESTION, Running

ASKED: list[Any] = [{"role": "user", "content": QUESTION}]
BODY = json.dumps({"model": "default", "messages": ASKED}).encode()
JSON = {"Content-Type": "application/json"}
TOOL = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}}
CALLED = {"id": "1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}

SENT: dict[str, dict[str, Any]] = {
    "a chat page": {
        "messages": [{"role": "system", "content": "Be kind."}, *ASKED],
        "temperature": 0.8,
        "top_p": 0.9,
        "seed": 1,
        "frequency_penalty": 0,
        "user": "somebody",
        "metadata": {"chat_id": "1"},
    },
    "a framework": {
        "messages": [{"role": "developer", "content": "Be kind."}, ASKED[0] | {"name": "ann"}],
        "max_completion_tokens": 4096,
        "n": 1,
        "stop": None,
        "logprobs": False,
        "response_format": {"type": "text"},
        "tools": [TOOL],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "service_tier": "auto",
        "reasoning_effort": "low",
    },
    "an editor": {
        "messages": [{"role": "user", "content": [{"type": "text", "text": QUESTION}]}],
        "max_tokens": 4096,
        "stop": [],
        "top_k": 40,
        "chat_template_kwargs": {"enable_thinking": False},
        "stream_options": None,
        "logit_bias": None,
    },
    "an agent": {
        "messages": [
            *ASKED,
            {"role": "assistant", "content": None, "tool_calls": [CALLED]},
            {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "noon"}]},
        ]
    },
    "a chat in which a picture was refused": {
        "messages": [
            {"role": "user", "content": [PICTURE, {"type": "text", "text": "And this?"}]},
            {"role": "assistant", "content": ""},
            *ASKED,
        ]
    },
}


def asked(
    running: Running, body: bytes, path: str = "/v1/chat/completions", **headers: str
) -> tuple[int, Any]:
    """Status and JSON of what comes of a request."""
    request = urllib.request.Request(running.root + path, body, JSON | headers)
    try:
        with urllib.request.urlopen(request) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@pytest.mark.parametrize("sender", SENT)
def test_what_they_send_unasked_is_taken(running: Running, cats: Library, sender: str) -> None:
    status, told = asked(running, json.dumps({"model": "default"} | SENT[sender]).encode())
    assert status == 200, told
    mine = cats.ask(QUESTION).text
    assert told["choices"][0]["message"]["content"] == mine
    with running.client() as client:
        chunks = client.chat.completions.create(
            model="default", messages=ASKED, stream=True, extra_body=SENT[sender]
        )
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == mine


def test_every_way_of_the_client_reads_the_same(running: Running, cats: Library) -> None:
    call: Any = {"model": "default", "messages": ASKED}
    mine = cats.ask(QUESTION).text
    with running.client() as client:
        completions = client.chat.completions
        assert (
            completions.with_raw_response.create(**call).parse().choices[0].message.content == mine
        )
        with completions.with_streaming_response.create(**call) as reply:
            assert reply.parse().choices[0].message.content == mine
        with completions.with_streaming_response.create(**call, stream=True) as reply:
            lines = [line for line in reply.iter_lines() if line]
        assert lines[-1] == "data: [DONE]"
        parsed = completions.parse(**call)
        assert parsed.choices[0].message.content == mine
        with completions.stream(**call) as events:
            kinds = [event.type for event in events]
            final = events.get_final_completion()
        assert {"content.delta", "content.done"} <= set(kinds)
        assert final.choices[0].message.content == mine
        assert final.choices[0].message.annotations == parsed.choices[0].message.annotations

    async def beside() -> list[str]:
        async with openai.AsyncOpenAI(base_url=running.url, api_key="none", max_retries=0) as api:
            whole, chunks = await asyncio.gather(
                api.chat.completions.create(**call),
                api.chat.completions.create(**call, stream=True),
            )
            pieces = [chunk.choices[0].delta.content or "" async for chunk in chunks]
        return [whole.choices[0].message.content, "".join(pieces)]

    assert asyncio.run(beside()) == [mine, mine]


def test_what_watches_over_servers_may_ask_for_the_head_alone(running: Running) -> None:
    request = urllib.request.Request(f"{running.root}/health", method="HEAD")
    with urllib.request.urlopen(request) as reply:
        assert (reply.status, reply.read()) == (200, b"")


def test_what_cannot_be_read_is_told_what_to_send(running: Running) -> None:
    tokens = json.dumps({"model": "default", "input": [[1, 2], [3]]}).encode()
    for told, status, said in (
        (asked(running, gzip.compress(BODY), **{"Content-Encoding": "gzip"}), 415, "as it is"),
        (asked(running, BODY, "/chat/completions"), 404, "go to /v1/chat"),
        (asked(running, tokens, "/v1/embeddings"), 400, "send texts"),
        (
            asked(running, tokens.replace(b"[[1, 2], [3]]", b"[1, 2]"), "/v1/embeddings"),
            400,
            "texts",
        ),
    ):
        assert told[0] == status
        assert said in told[1]["error"]["message"]
    assert asked(running, BODY, **{"Content-Encoding": "identity"})[0] == 200
