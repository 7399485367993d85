"""What a remote model writes, held against the passages that it was given.

    pieces of text -> prose | a quotation and its marks | a mark -> re-read -> text, citations

Our own decoder cannot write a quote that is not there; a remote model can. So its text is read as
it comes, and held back from each quotation mark on until what follows is known to be so.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ragformer.answer.cite import checked_citation, part_spans
from ragformer.answer.edges import whole_words
from ragformer.store.store import Store
from ragformer.types import Citation, Passage

QUOTE_WORDS = 4
"""From so many words on, a quotation that was given no mark gets that of the passage it is from.
Below, it stays without: it may be a term and no evidence."""
LONGEST_HELD = 4000
"""Characters that are held back for the end of a quotation."""

_PLAIN = (
    dict.fromkeys('"`´‘’‚‛“”„‟«»‹›′″', "'")
    | dict.fromkeys("‐‑‒–—―−", "-")
    | dict.fromkeys("\u00ad\u200b\ufeff", "")
)
_NUMBERS = r"\[\s*\d{1,3}(?:\s*[,;]\s*\d{1,3})*\s*\]"
_LEAD = r"(?:\s{0,4}\n\s{0,4}(?:[-*•]|\d{1,2}[.)])?|:)?[ \t]{0,4}"
"""What goes with a quotation that is taken out: a colon, or the start of its line."""
_EVENT = re.compile(rf"(?P<lead>{_LEAD})(?:(?P<quote>[\"“])|(?P<mark>(?=\[\s*(?:\d|\Z)))|\Z)")
_CLOSING = re.compile(r"[\"”]")
_MARKS = re.compile(rf"(?P<stop>[.,;:!?]?)\s*(?P<marks>{_NUMBERS}(?:\s*{_NUMBERS})*)")
_MAYBE_MARKS = re.compile(r"[.,;:!?]?\s*(?:\[[\d\s,;]*\]\s*)*(?:\[[\d\s,;]*)?\Z")
_MARK = re.compile(rf"{_NUMBERS}(?:\s*{_NUMBERS})*")
_LINE_ENDS = re.compile(r"[ \t]*[.,;]?[ \t]*(?=\n|\Z)")


def find_quote(passage: Passage, quote: str) -> tuple[int, int] | None:
    """Where `quote` stands in one part of the passage, in whole words; None if it does not.

    White space, quotation marks and hyphens count as equal to their like, and a stop at the end,
    where sentences that are quoted often get one, need not be there.
    """
    wanted = _folded(quote)[0].strip()
    if not any(map(str.isalnum, wanted)):
        return None
    for form in (wanted, wanted.rstrip(" .,;:…")):
        for low, high, _ in part_spans(passage):
            folded, places = _folded(passage.text[low:high])
            at = folded.find(form)
            while at >= 0:
                found = low + places[at], low + places[at + len(form) - 1] + 1
                if whole_words(passage.text, *found) == found:
                    return found
                at = folded.find(form, at + 1)
    return None


def _folded(text: str) -> tuple[str, list[int]]:
    """The text with what counts as equal made equal, and where each of its characters stood."""
    shown: list[str] = []
    places: list[int] = []
    for at, character in enumerate(text):
        plain = " " if character.isspace() else _PLAIN.get(character, character)
        if plain and not (plain == " " and shown and shown[-1] == " "):
            shown.append(plain)
            places.append(at)
    return "".join(shown), places


class Checked:
    """Takes a model's text piece by piece and gives back what of it holds.

    Every mark it gives back is that of one of `citations`, and every quotation of QUOTE_WORDS or
    more is one of them in the page's own characters. dropped: how many "marks" and "quotes" were
    not given back.
    """

    def __init__(self, store: Store, passages: Sequence[Passage]) -> None:
        self.store = store
        self.passages = passages
        self.citations: list[Citation] = []
        self.dropped = {"marks": 0, "quotes": 0}
        self._held = ""

    def add(self, piece: str, end: bool = False) -> str:
        """What may be shown after this piece; end: it is the last one, nothing more is held."""
        self._held += piece
        shown = []
        while self._held and (taken := self._take(end)) is not None:
            text, n = taken
            shown.append(text)
            self._held = self._held[n:]
        return "".join(shown)

    def _take(self, end: bool) -> tuple[str, int] | None:
        """What to show of the beginning of what is held, and how much that was; None: wait."""
        event = _EVENT.search(self._held)
        assert event is not None  # it matches the end
        if at := event.start():
            return _straight(self._held[:at]), at
        if event["quote"]:
            return self._take_quote(event["lead"], event.end(), end)
        if event["mark"] is not None:
            return self._take_mark(event["lead"], event.end(), end)
        return (_straight(self._held), len(self._held)) if end else None

    def _take_mark(self, lead: str, at: int, end: bool) -> tuple[str, int] | None:
        """Marks that follow no quotation stay where the passage has been quoted before."""
        if not end and _MAYBE_MARKS.match(self._held, at):
            return None
        match = _MARK.match(self._held, at)
        if match is None:
            return self._held[: at + 1], at + 1
        known = {citation.mark for citation in self.citations}
        numbers = _numbers(match[0])
        kept = [number for number in numbers if number in known]
        self.dropped["marks"] += len(numbers) - len(kept)
        before = lead if kept or "\n" in lead else lead.rstrip()
        return before + _written(kept), match.end()

    def _take_quote(self, lead: str, at: int, end: bool) -> tuple[str, int] | None:
        """The quotation that begins at `at`, with its marks."""
        stop = self._held.find("\n\n", at)
        whole = end or stop >= 0 or len(self._held) - at > LONGEST_HELD
        stop = min(stop if stop >= 0 else len(self._held), at + LONGEST_HELD)
        closings = [match.start() for match in _CLOSING.finditer(self._held, at, stop)]
        for i, closing in enumerate(closings):
            if not whole and _MAYBE_MARKS.match(self._held, closing + 1):
                return None
            marks = _MARKS.match(self._held, closing + 1)
            if marks is None:
                continue
            cited = self._cited(self._held[at:closing], _numbers(marks["marks"]))
            if cited or i == 0:
                return self._marked(lead, self._held[at:closing], marks, cited, end)
        if not whole:
            return None
        if not closings:
            return _straight(self._held[:at]), at
        return self._unmarked(lead, self._held[at : closings[0]]), closings[0] + 1

    def _marked(
        self, lead: str, quote: str, marks: re.Match[str], cited: list[Citation], end: bool
    ) -> tuple[str, int] | None:
        """A quotation with marks: in the page's own characters, or taken out."""
        numbers = _numbers(marks["marks"])
        if cited:
            self.dropped["marks"] += len(numbers) - len(cited)
            return self._quoted(lead, cited) + marks["stop"], marks.end()
        if not any(1 <= number <= len(self.passages) for number in numbers):
            self.dropped["marks"] += len(numbers)
            return self._unmarked(lead, quote) + marks["stop"], marks.end()
        rest = _LINE_ENDS.match(self._held, marks.end())
        if rest and rest.end() == len(self._held) and not end:
            return None  # its line may go on
        self.dropped["quotes"] += 1
        if "\n" not in lead:
            return "", marks.end()
        return ("", rest.end()) if rest else (lead.rstrip(" \t"), marks.end())

    def _unmarked(self, lead: str, quote: str) -> str:
        """A quotation without a mark: from the first passage that holds it, else no quotation."""
        for number in range(1, len(self.passages) + 1):
            if cited := self._cited(quote, [number]):
                if len(quote.split()) >= QUOTE_WORDS:
                    return self._quoted(lead, cited)
                return f"{lead}“{_line(cited[0].quote)}”"
        self.dropped["quotes"] += 1
        for numbers in map(_numbers, re.findall(_NUMBERS, quote)):
            self.dropped["marks"] += len(numbers)
        return lead + re.sub(rf"\s*{_NUMBERS}|[\"“”]", "", quote)

    def _cited(self, quote: str, numbers: Sequence[int]) -> list[Citation]:
        """The citations of the quotation for those marks whose passages hold it."""
        cited = []
        for number in numbers:
            if 1 <= number <= len(self.passages):
                passage = self.passages[number - 1]
                if found := find_quote(passage, quote):
                    cited.append(checked_citation(self.store, passage, number, *found))
        return cited

    def _quoted(self, lead: str, cited: list[Citation]) -> str:
        self.citations += [citation for citation in cited if citation not in self.citations]
        return f"{lead}“{_line(cited[0].quote)}” {_written([c.mark for c in cited])}"


def _numbers(marks: str) -> list[int]:
    """Each once."""
    return list(dict.fromkeys(map(int, re.findall(r"\d+", marks))))


def _written(numbers: Sequence[int]) -> str:
    return "".join(f"[{number}]" for number in numbers)


def _straight(text: str) -> str:
    """Prose without curly quotation marks: those around quotations are ours."""
    return text.translate({ord("“"): '"', ord("”"): '"'})


def _line(quote: str) -> str:
    return quote.replace("\n", " ")
