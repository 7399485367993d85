"""What may be asked of the server. Fields of the OpenAI protocol that change nothing here, as
temperature, seed and tools, are taken and left alone; those by which another kind of reply is
awaited are refused."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from ragformer.library import MAX_PASSAGES
from ragformer.serve.failures import ApiError

MOST_INPUTS = 2048
MOST_STOPS = 4
LONGEST_BEFORE = 20_000  # characters of the turn before
LONGEST_PLACE = 4096  # characters of a path or pattern
_K = Annotated[int | None, Field(ge=1, le=MAX_PASSAGES, description="passages to find")]
_Tokens = Annotated[int | None, Field(ge=1, description="of the answer's text")]
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
        """Its words, without what is no text."""
        if self.content is None or isinstance(self.content, str):
            return self.content or ""
        return "\n".join(part.text or "" for part in self.content if part.type in _TEXTS)

    def refuse_others(self) -> None:
        """Raise ApiError for a picture or a sound."""
        parts = self.content if isinstance(self.content, list) else []
        other = next((part.type for part in parts if part.type not in _TEXTS), None)
        if other is not None:
            raise ApiError(400, f"a question may hold text, not {other[:100]}", param="messages")


_TEXTS = ("text", "input_text", "refusal")


class StreamOptions(BaseModel):
    include_usage: bool | None = False


class TextFormat(BaseModel):
    type: Literal["text"]


class ChatRequest(_Request):
    """model: a collection, or collection:model. The last message of the user is the question, the
    turn before it what the question may lean on; a ragformer's own message holds both.
    max_completion_tokens: a newer name of max_tokens. stop: texts before which the answer ends."""

    model: str
    messages: Annotated[list[Message], Field(min_length=1, max_length=1000)]
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    max_tokens: _Tokens = None
    max_completion_tokens: _Tokens = None
    stop: str | Annotated[list[str], Field(max_length=MOST_STOPS)] | None = None
    n: Annotated[int | None, Field(ge=1, le=1)] = None
    response_format: TextFormat | None = None
    tool_choice: Literal["none", "auto"] | None = None
    function_call: Literal["none", "auto"] | None = None
    modalities: list[Literal["text"]] | None = None
    logprobs: Literal[False] | None = None
    k: _K = None
    within: _WITHIN = None

    @property
    def most_tokens(self) -> int | None:
        given = [n for n in (self.max_tokens, self.max_completion_tokens) if n is not None]
        return min(given, default=None)

    @property
    def stops(self) -> list[str]:
        """Without empty ones, which some clients send for none."""
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return list(filter(None, given))

    def question(self) -> str:
        last = self.messages[self._last()]
        last.refuse_others()
        return asked_in(last.text)[0]

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


def _texts_only(given: object) -> object:
    """Raises for numbers of tokens, which some clients make of texts unasked."""
    if isinstance(given, list) and given and isinstance(given[0], int | list):
        raise PydanticCustomError(
            "tokens",
            "send texts, not the numbers of their tokens, which are another model's"
            " (LangChain: check_embedding_ctx_length=False)",
        )
    return given


class EmbeddingRequest(_Request):
    """model: a collection, for its encoder. input_type: as texts are embedded to be found, or as
    questions are."""

    model: str
    input: Annotated[
        str | Annotated[list[str], Field(min_length=1, max_length=MOST_INPUTS)],
        BeforeValidator(_texts_only),
    ]
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
