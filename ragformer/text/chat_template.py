"""The form in which an imported model was taught to read a conversation: its own chat template.

The template is a Jinja program out of a stranger's folder. It runs in Jinja's sandbox and sees
placeholders where the messages stand, so it can neither act nor change what a message says; and
what a message says can be told from the template, so that no symbol in it is taken for one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from ragformer.errors import NotFoundError, WeightsError

_PLACE = "the-content-of-message-{}-stands-here"
# What a stranger's program, which a template is, was seen to raise.
_RAISED = (
    *(ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError),
    *(TypeError, ValueError),
)
_PLACES = re.compile(_PLACE.format(r"(\d+)"))


@dataclass(frozen=True, slots=True)
class Part:
    """A run of a prompt: the template's own, in which symbols count, or a message's content."""

    text: str
    content: bool


class ChatTemplate:
    """A compiled template. symbols: what it may name, as bos_token."""

    def __init__(self, source: str, symbols: Mapping[str, str]) -> None:
        try:
            import jinja2
            from jinja2.sandbox import ImmutableSandboxedEnvironment
        except ImportError as error:
            raise NotFoundError(
                "a chat template needs the package jinja2; run: pip install"
                " 'ragformer[checkpoints]'"
            ) from error
        self._error = jinja2.TemplateError
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.globals["raise_exception"] = self._refuse
        self.symbols = dict(symbols)
        try:
            self._template = environment.from_string(source)
        except (jinja2.TemplateError, RecursionError) as error:
            raise WeightsError(f"the model's chat template is none: {error}") from error

    def _refuse(self, said: str) -> NoReturn:
        raise self._error(said)

    def parts(self, messages: Sequence[Mapping[str, str]]) -> list[Part]:
        """The prompt up to where the model begins its reply.

        messages: {"role", "content"}, the first of which may be the system's; where the template
        knows no such role, its content goes before the next message's.
        """
        try:
            return self._parts(messages)
        except (self._error, *_RAISED) as error:
            if len(messages) < 2 or messages[0]["role"] != "system":
                raise WeightsError(f"the model's chat template fails: {error}") from error
        first, second, *rest = messages
        content = f"{first['content']}\n\n{second['content']}"
        return self.parts([{**second, "content": content}, *rest])

    def _parts(self, messages: Sequence[Mapping[str, str]]) -> list[Part]:
        places: list[dict[str, Any]] = [
            {**message, "content": _PLACE.format(n)} for n, message in enumerate(messages)
        ]
        rendered = self._template.render(
            messages=places,
            add_generation_prompt=True,
            enable_thinking=False,
            tools=None,
            documents=None,
            **self.symbols,
        )
        found = _PLACES.split(rendered)
        if sorted(map(int, found[1::2])) != list(range(len(messages))):
            raise ValueError("it leaves a message out, or shows it twice")
        parts = [
            Part(messages[int(text)]["content"] if n % 2 else text, bool(n % 2))
            for n, text in enumerate(found)
        ]
        return [part for part in parts if part.text]
