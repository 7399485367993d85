"""What may be asked of the server. Fields of the OpenAI protocol that change nothing here, as
temperature and tools, are taken and left alone."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from ragformer.library import MAX_PASSAGES
from ragformer.serve.failures import ApiError

MOST_INPUTS = 2048
LONGEST_BEFORE = 20_000  # characters of the turn before
_K = Annotated[int | None, Field(ge=1, le=MAX_PASSAGES, description="passages to find")]
_WITHIN = Annotated[
    list[str] | None,
    Field(alias="in", min_length=1, max_length=100, description="files to look in, as for --in"),
]
_PASSAGES = '<passage mark="['
_QUESTION = "Question: "


class _Request(BaseModel):
    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)


class Part(BaseModel):
    type: str
    text: str | None = None


class Message(BaseModel):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None

    @property
    def text(self) -> str:
        """Its words; raises ApiError for a picture or a sound."""
        if self.content is None or isinstance(self.content, str):
            return self.content or ""
        other = next((part.type for part in self.content if part.type not in _TEXTS), None)
        if other is not None:
            raise ApiError(400, f"a message may hold text, not {other[:100]}", param="messages")
        return "\n".join(part.text or "" for part in self.content)


_TEXTS = ("text", "input_text", "refusal")


class StreamOptions(BaseModel):
    include_usage: bool | None = False


class ChatRequest(_Request):
    """model: a collection, or collection:model. The last message of the user is the question, the
    turn before it what the question may lean on."""

    model: str
    messages: Annotated[list[Message], Field(min_length=1, max_length=1000)]
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    n: Annotated[int | None, Field(ge=1, le=1)] = None
    k: _K = None
    within: _WITHIN = None

    def question(self) -> str:
        return asked_in(self.messages[self._last()].text)

    def turn_before(self) -> tuple[str, str] | None:
        """Question and answer before the last question, if there is a whole turn."""
        spoken = [m for m in self.messages[: self._last()] if m.role in ("user", "assistant")]
        if [m.role for m in spoken[-2:]] != ["user", "assistant"]:
            return None
        asked, answered = spoken[-2:]
        return asked_in(asked.text)[:LONGEST_BEFORE], answered.text[:LONGEST_BEFORE]

    def _last(self) -> int:
        users = [i for i, message in enumerate(self.messages) if message.role == "user"]
        if not users:
            raise ApiError(400, "there is no message of the user", param="messages")
        return users[-1]


def asked_in(content: str) -> str:
    """The question in a message that a ragformer wrote to another model (`build_messages` of
    answer/prose.py); any other message is the question."""
    if not content.startswith(_PASSAGES):
        return content
    lines = re.split(r"\n\n(?=Question: )", content)
    return lines[-1].removeprefix(_QUESTION)


class EmbeddingRequest(_Request):
    """model: a collection, for its encoder. input_type: as texts are embedded to be found, or as
    questions are."""

    model: str
    input: str | Annotated[list[str], Field(min_length=1, max_length=MOST_INPUTS)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int | None, Field(ge=1)] = None
    input_type: Literal["passage", "query"] = "passage"

    @property
    def texts(self) -> list[str]:
        return [self.input] if isinstance(self.input, str) else self.input


class SearchRequest(_Request):
    query: str
    collection: str | None = None
    k: _K = None
    within: _WITHIN = None
