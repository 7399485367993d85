"""What may be asked of the server. Fields of the OpenAI protocol that change nothing here, as
temperature, max_tokens, stop and tools, are taken and left alone; those by which another kind of
reply is awaited are refused."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from ragformer.library import MAX_PASSAGES
from ragformer.serve.failures import ApiError

MOST_INPUTS = 2048
LONGEST_BEFORE = 20_000  # characters of the turn before
LONGEST_PLACE = 4096  # characters of a path or pattern
_K = Annotated[int | None, Field(ge=1, le=MAX_PASSAGES, description="passages to find")]
_WITHIN = Annotated[
    list[Annotated[str, Field(max_length=LONGEST_PLACE)]] | None,
    Field(alias="in", min_length=1, max_length=100, description="files to look in, as for --in"),
]
_PASSAGE = re.compile(r'<passage mark="\[\d+\]">\n')
_PASSAGE_ENDS, _BEFORE_ENDS = "\n</passage>\n\n", "\n</before>\n\n"
_BEFORE, _ANSWERED, _QUESTION = "<before>\nAsked before: ", "\nAnswered: ", "Question: "


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


class TextFormat(BaseModel):
    type: Literal["text"]


class ChatRequest(_Request):
    """model: a collection, or collection:model. The last message of the user is the question, the
    turn before it what the question may lean on; a ragformer's own message holds both."""

    model: str
    messages: Annotated[list[Message], Field(min_length=1, max_length=1000)]
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    n: Annotated[int | None, Field(ge=1, le=1)] = None
    response_format: TextFormat | None = None
    tool_choice: Literal["none", "auto"] | None = None
    function_call: Literal["none", "auto"] | None = None
    modalities: list[Literal["text"]] | None = None
    logprobs: Literal[False] | None = None
    k: _K = None
    within: _WITHIN = None

    def question(self) -> str:
        return asked_in(self.messages[self._last()].text)[0]

    def turn_before(self) -> tuple[str, str] | None:
        """Question and answer before the last question, if there is a whole turn."""
        _, before = asked_in(self.messages[self._last()].text)
        if before:
            return before
        spoken = [m for m in self.messages[: self._last()] if m.role in ("user", "assistant")]
        if [m.role for m in spoken[-2:]] != ["user", "assistant"]:
            return None
        asked, answered = spoken[-2:]
        return asked_in(asked.text)[0][:LONGEST_BEFORE], answered.text[:LONGEST_BEFORE]

    def _last(self) -> int:
        users = [i for i, message in enumerate(self.messages) if message.role == "user"]
        if not users:
            raise ApiError(400, "there is no message of the user", param="messages")
        return users[-1]


def asked_in(content: str) -> tuple[str, tuple[str, str] | None]:
    """The question, and the turn before it if that is told, in a message that a ragformer wrote to
    another model (`build_messages` of answer/prose.py); any other message is the question.

    No tag of its own stands in the passages and the turn of such a message.
    """
    at = 0
    while _PASSAGE.match(content, at) and (end := content.find(_PASSAGE_ENDS, at)) >= 0:
        at = end + len(_PASSAGE_ENDS)
    told, before = content[at:], None
    if at and told.startswith(_BEFORE):
        turn, _, told = told.removeprefix(_BEFORE).partition(_BEFORE_ENDS)
        asked, _, answered = turn.partition(_ANSWERED)
        before = asked[:LONGEST_BEFORE], answered[:LONGEST_BEFORE]
    if not (at and told.startswith(_QUESTION)):
        return content, None
    return told.removeprefix(_QUESTION), before


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
