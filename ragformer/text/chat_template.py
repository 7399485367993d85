"""The form in which an imported model was taught to read a conversation: its own chat template.

The template is a Jinja program out of a stranger's folder. It runs in Jinja's sandbox, in a child
process with limits, and sees placeholders where the messages stand, so it can neither act nor
change what a message says; and what a message says can be told from the template, so that no symbol
in it is taken for one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, NoReturn

from ragformer.errors import NotFoundError, WeightsError
from ragformer.fence import Fence, OverrunError, fenced

_PLACE = "the-content-of-message-{}-stands-here"
# What a stranger's program, which a template is, was seen to raise.
_RAISED = (
    *(ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError),
    *(TypeError, ValueError),
)
# A usual template takes some thousandths of a second and 30 MB.
FENCE = Fence(seconds=5.0, memory_mb=512)
MAX_CHARS = 1_000_000
_PLACES = re.compile(_PLACE.format(r"(\d+)"))
_SAID = {
    "add_generation_prompt": True,
    "enable_thinking": False,
    "tools": None,
    "documents": None,
}


@dataclass(frozen=True, slots=True)
class Part:
    """A run of a prompt: the template's own, in which symbols count, or a message's content."""

    text: str
    content: bool


class ChatTemplate:
    """A template. symbols: what it may name, as bos_token."""

    def __init__(self, source: str, symbols: Mapping[str, str]) -> None:
        self.source = source
        self.symbols = dict(symbols)
        # What stands around the messages, by their roles: it depends on nothing else.
        self._around: dict[tuple[str, ...], list[str]] = {}

    def parts(self, messages: Sequence[Mapping[str, str]]) -> list[Part]:
        """The prompt up to where the model begins its reply.

        messages: {"role", "content"}, the first of which may be the system's; where the template
        knows no such role, its content goes before the next message's. Raises WeightsError for a
        template that fails or does not end, NotFoundError where the package is missing.
        """
        try:
            found = self._split(tuple(message["role"] for message in messages))
        except OverrunError:
            raise
        except WeightsError:
            if len(messages) < 2 or messages[0]["role"] != "system":
                raise
            first, second, *rest = messages
            content = f"{first['content']}\n\n{second['content']}"
            return self.parts([{**second, "content": content}, *rest])
        parts = [
            Part(messages[int(text)]["content"] if n % 2 else text, bool(n % 2))
            for n, text in enumerate(found)
        ]
        return [part for part in parts if part.text]

    def _split(self, roles: tuple[str, ...]) -> list[str]:
        """The template's own text and, between, the number of the message that stands there."""
        if roles not in self._around:
            places = [{"role": role, "content": _PLACE.format(n)} for n, role in enumerate(roles)]
            found = _PLACES.split(self._render({**self.symbols, **_SAID, "messages": places}))
            if sorted(map(int, found[1::2])) != list(range(len(roles))):
                raise WeightsError(
                    "the model's chat template fails: it leaves a message out, or shows it twice"
                )
            self._around[roles] = found
        return self._around[roles]

    def _render(self, values: dict[str, Any]) -> str:
        if find_spec("jinja2") is None:
            raise NotFoundError(
                "a chat template needs the package jinja2; run: pip install"
                " 'ragformer[checkpoints]'"
            )
        try:
            return fenced(render, self.source, values, fence=FENCE)
        except OverrunError as error:
            raise OverrunError(
                f"the model's chat template takes {error} to run, as no usual one does; put another"
                " into its folder as chat_template.jinja"
            ) from error


def render(source: str, values: dict[str, Any]) -> str:
    """What a template makes of the values. It may take all time and memory there is: see `fenced`.

    Raises WeightsError for one that fails or is none.
    """
    import jinja2
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(said: str) -> NoReturn:
        raise jinja2.TemplateError(said)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = refuse
    try:
        template = environment.from_string(source)
    except (jinja2.TemplateError, RecursionError) as error:
        raise WeightsError(f"the model's chat template is none: {error}") from error
    pieces, size = [], 0
    try:
        for piece in template.generate(values):
            pieces.append(piece)
            size += len(piece)
            if size > MAX_CHARS:
                raise ValueError(f"it writes more than {MAX_CHARS:,} characters")
    except (jinja2.TemplateError, *_RAISED) as error:
        reason = str(error) or type(error).__name__
        raise WeightsError(f"the model's chat template fails: {reason}") from error
    return "".join(pieces)
