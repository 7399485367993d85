"""A model behind an OpenAI-compatible server: messages in, its text as it is written out.

What goes wrong on the way becomes one sentence. None holds the key, nor do the exceptions behind
it reach a traceback: a server may repeat what it was sent.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING, Any

from ragformer.errors import ConfigError, RagformerError, ServerError
from ragformer.types import RemoteModel

if TYPE_CHECKING:
    import openai

CONNECT_SECONDS = 10.0
RETRIES = 2
"""After the first try, by the `openai` package: with growing pauses, or those the server asks for,
on 408, 409, 429, 5xx and a connection that is lost before the answer begins."""
LONGEST_REPLY = 100_000
"""Characters, thoughts included; a model that has lost its way never stops by itself."""
LONGEST_QUOTED = 300  # characters of what a server says of an error
MOST_NAMED = 10

_TOO_LONG = re.compile(r"context|too (?:long|many tokens)|maximum.{0,20}tokens", re.IGNORECASE)

Message = dict[str, str]


@dataclass(frozen=True, slots=True)
class Reply:
    """The end of a stream: the model's name and the tokens that its server counted, and whether
    the text was cut at a limit."""

    model: str
    usage: dict[str, float] = field(default_factory=dict)
    cut: bool = False


def stream_reply(
    model: RemoteModel, messages: Sequence[Message], enough: Event | None = None
) -> Generator[str | Reply, None, None]:
    """Yield the text as it comes and, last, exactly one Reply.

    Closing the iterator closes the connection, at which servers stop writing; so does setting
    `enough`, behind which the Reply still comes. Raises ConfigError without the package `openai`
    and for a key or model that the server refuses, ServerError for anything else that fails there
    or on the way.
    """
    used: dict[str, float] = {}
    finish, length = "", 0
    with _client(model) as client:
        with _in_words(client, model):
            told = name = model.name or _only_model(client, model)
            begun = _started(client, name, messages)
        with begun as stream, _in_words(client, model, begun=True):
            for chunk in stream:
                told = _get(chunk, "model", str) or told
                used = _usage(chunk) or used
                text, finish = _text(chunk), _finish(chunk) or finish
                length += len(text)
                if text:
                    yield text
                if enough is not None and enough.is_set():
                    finish = "stop"
                    break
                if length > LONGEST_REPLY:
                    finish = "length"
                    break
        if not finish:
            raise ServerError(
                f"{model.address} ended the answer before it was whole, or sent something else"
                " than the OpenAI protocol; ask again"
            )
        yield Reply(told, used, finish == "length")


@contextmanager
def _client(model: RemoteModel) -> Iterator[openai.OpenAI]:
    try:
        import openai
    except ImportError as error:
        raise ConfigError(
            "the package openai is not installed; run: pip install 'ragformer[openai]'"
        ) from error
    with openai.OpenAI(
        api_key=model.api_key or "none",  # the package insists on one
        base_url=model.base_url,
        timeout=openai.Timeout(model.timeout, connect=CONNECT_SECONDS),
        max_retries=RETRIES,
    ) as client:
        yield client


def _started(client: openai.OpenAI, name: str, messages: Sequence[Message]) -> Any:
    """The stream of the reply, asked for again without what the server says it does not take.

    No limit is set on the answer's length: some servers know only the one field for it, some only
    the other.
    """
    import openai

    sent: Any = list(messages)
    options: dict[str, Any] = {"temperature": 0.0, "stream_options": {"include_usage": True}}
    while True:
        try:
            return client.chat.completions.create(model=name, messages=sent, stream=True, **options)
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            refused = [option for option in options if option in str(error)]
            if not refused:
                raise
            for option in refused:
                del options[option]


def _only_model(client: openai.OpenAI, model: RemoteModel) -> str:
    names = _names(client)
    if len(names) != 1:
        raise ConfigError(
            f"no model is chosen and {model.address} has {_listed(names)};"
            " choose with --model or RAGFORMER_OPENAI_MODEL"
        )
    return names[0]


def _names(client: openai.OpenAI) -> list[str]:
    """The models the server lists, in its order."""
    found = _get(client.models.list(), "data", list) or []
    return [name for item in found if (name := _get(item, "id", str))]


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:MOST_NAMED]) + (" and more" if len(names) > MOST_NAMED else "")
    return shown or "none"


# A chunk is whatever the server sent: nothing is certain of it.


def _get(value: object, name: str, kind: type) -> Any:
    """The field of that name if it is of that kind, else None."""
    found = getattr(value, name, None)
    return found if isinstance(found, kind) else None


def _choice(chunk: object) -> object:
    return next(iter(_get(chunk, "choices", list) or []), None)


def _text(chunk: object) -> str:
    """Half a character, as some servers cut them, becomes a question mark."""
    text = _get(getattr(_choice(chunk), "delta", None), "content", str) or ""
    return str(text).encode("utf-8", "replace").decode()


def _finish(chunk: object) -> str:
    return _get(_choice(chunk), "finish_reason", str) or ""


def _usage(chunk: object) -> dict[str, float]:
    usage = getattr(chunk, "usage", None)
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    counts = {name: _get(usage, name, int) for name in names}
    return {name: float(count) for name, count in counts.items() if count is not None}


# Errors


@contextmanager
def _in_words(client: openai.OpenAI, model: RemoteModel, begun: bool = False) -> Iterator[None]:
    """What goes wrong within, as one of ours; begun: the server has begun to answer."""
    import openai

    try:
        yield
    except openai.APIStatusError as error:
        raise _refused(error, client, model) from None
    except openai.APITimeoutError:
        times = "" if begun else f", {RETRIES + 1} times"
        raise ServerError(
            f"{model.address} said nothing for {model.timeout:g} seconds{times};"
            " ask again, or set RAGFORMER_OPENAI_TIMEOUT to more"
        ) from None
    except openai.APIConnectionError:
        raise ServerError(
            f"the connection to {model.address} was lost in the middle of an answer; ask again"
            if begun
            else f"no server answers at {model.address}; start it, or set OPENAI_BASE_URL to it"
        ) from None
    except openai.APIError as error:
        said = _said(error, model)
        raise ServerError(f"{model.address} broke off: {said}; ask again") from None
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, RagformerError):
            raise
        raise ServerError(
            f"what {model.address} sent is not the OpenAI protocol; check OPENAI_BASE_URL,"
            " which mostly ends with /v1, and ask again"
        ) from None


def _refused(
    error: openai.APIStatusError, client: openai.OpenAI, model: RemoteModel
) -> RagformerError:
    at, status = model.address, error.status_code
    if status in (401, 403):
        given = "the key in OPENAI_API_KEY" if model.api_key else "to answer without OPENAI_API_KEY"
        return ConfigError(f"{at} refuses {given} (status {status}); check it and the server's URL")
    if status == 404:
        return _not_there(client, model)
    said = _said(error, model)
    if status == 429:
        return ServerError(f"{at} takes no more questions now, or the account is empty: {said}")
    if status in (400, 413, 422) and _TOO_LONG.search(said):
        return ServerError(
            f"the passages are too long for the model: {said};"
            f" set RAGFORMER_OPENAI_CONTEXT to less than {model.context:,}"
        )
    return ServerError(f"{at} answers with status {status}: {said}")


def _not_there(client: openai.OpenAI, model: RemoteModel) -> RagformerError:
    import openai

    try:
        names = _names(client)
    except openai.OpenAIError:
        names = []
    if not model.name:
        return ConfigError(
            f"{model.address} does not list its models (status 404); choose one with --model, and"
            " check OPENAI_BASE_URL, which mostly ends with /v1"
        )
    if names and model.name not in names:
        return ConfigError(f"{model.address} has no model {model.name}; it has {_listed(names)}")
    return ConfigError(
        f"{model.address} does not know the address or the model {model.name} (status 404);"
        " check OPENAI_BASE_URL, which mostly ends with /v1, and --model"
    )


def _said(error: openai.APIError, model: RemoteModel) -> str:
    """The server's own words on one line, not too many, and never the key."""
    body = error.body
    message = body.get("message") if isinstance(body, dict) else None
    said = " ".join(str(message or error.message).split())
    if model.api_key:
        said = said.replace(model.api_key, "(the key)")
    return said if len(said) <= LONGEST_QUOTED else said[:LONGEST_QUOTED] + " ..."
