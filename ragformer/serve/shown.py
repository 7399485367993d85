"""What of an answer its client is sent: all of it, or as far as `max_tokens` and `stop` let it go.

pieces of text -> Shown -> pieces to send ... Answer -> Shown -> the Answer as it was sent
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace

from ragformer.answer.speaker import speaker_of
from ragformer.config import Backend
from ragformer.library import Library
from ragformer.serve.replies import places
from ragformer.types import Answer


class Shown:
    """text: what has been sent. ended: by a limit, "length" or "stop"; "" as long as there is more
    to send. count: how many tokens a text takes. most: of them; None for any number."""

    def __init__(
        self, count: Callable[[str], int], most: int | None = None, stops: Sequence[str] = ()
    ) -> None:
        self.text = self.ended = ""
        self._count, self._most, self._stops = count, most, stops
        self._held = ""  # it may be the beginning of a stop

    @property
    def n_tokens(self) -> int:
        return self._count(self.text)

    def add(self, piece: str) -> str:
        """What to send after this piece."""
        return self._send(self._held + piece)

    def end(self, answer: Answer) -> tuple[str, Answer]:
        """What is left to send, and the Answer as it was sent: with the citations whose quotes are
        whole in it, and a note where it is not all."""
        left = "" if self.ended else self._send(self._held, last=True)
        if not self.ended:
            return left, answer
        n = len(self.text)
        found = list(zip(answer.citations, places(answer), strict=True))
        note = f"The answer was cut off {self._where()}"
        if any(start < n < end for _, (start, end) in found):
            note += ", within a quotation"
        return left, replace(
            answer,
            text=self.text,
            citations=tuple(citation for citation, (_, end) in found if end <= n),
            note=f"{answer.note} {note}.".strip(),
            cut=self.ended == "length",
        )

    def _send(self, text: str, last: bool = False) -> str:
        """As much of `text` as may go, unless it has ended before; last: nothing is held back."""
        if self.ended:
            return ""
        # Of stops that overlap, the one that is whole first, however the text comes in pieces.
        found = [(at + len(stop), at) for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self.ended, text = "stop", text[: min(found)[1]]
        held = 0 if found or last else self._begun(text)
        text, self._held = text[: len(text) - held], text[len(text) - held :]
        if (fits := self._fitting(text)) < len(text):
            self.ended, text = "length", text[:fits]
        self.text += text
        return text

    def _begun(self, text: str) -> int:
        """How many characters at the end of `text` are the beginning of a stop."""
        longest = max(map(len, self._stops), default=1) - 1
        for n in range(min(longest, len(text)), 0, -1):
            if any(stop.startswith(text[-n:]) for stop in self._stops):
                return n
        return 0

    def _fitting(self, text: str) -> int:
        """How many characters of `text` may still be sent."""
        whole, most = self.text + text, self._most
        # A token has a byte at least, but for one space before the text: counting takes its time.
        if most is None or len(whole.encode("utf-8", "replace")) < most:
            return len(text)
        if self._count(whole) <= most:
            return len(text)
        n = bisect_right(range(len(text)), most, key=lambda n: self._count(self.text + text[:n]))
        return max(0, n - 1)

    def _where(self) -> str:
        return "before a text given as stop" if self.ended == "stop" else "at max_tokens"


def counter(library: Library, backend: Backend) -> Callable[[str], int]:
    """How many tokens a text takes: those of what writes, of a server's model about as many."""
    speaker = speaker_of(library.settings, backend or library.backend)
    return speaker.count if speaker else library.reader.tokenizer.count
