"""Turn what a PDF reader gave into text worth searching, and remember where each character was.

PDFium writes U+FFFE for a hyphen at a line end together with the line break after it. Of such a
word we keep the two halves joined ("exam" + "ple"), or the hyphen where it belongs to the word:
before a capital or a digit ("COVID-19") and in a word that has one already ("year-to-date"). One
that stands for what comes later ("six- and eight-cylinder") keeps its line end, too.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass

LIGATURES = {
    "ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st"
}  # fmt: skip
# The look-behind keeps a long run of blanks linear: it is tried once, from its start.
_LINE_END = r"(?:(?<![ \t\u00a0])[ \t\u00a0]+)?(?:\r\n|[\n\r\x0b\x0c\x85\u2028\u2029])"
# What any of the kinds begins with; asked first, it lets the search pass over the rest quickly.
_BEGINS = (
    r"[ \x00-\x1f\x7f-\xa0\u00ad\u2007\u2028\u2029\u202f"
    r"\ud800-\udfff\ufb00-\ufb06\ufdd0-\ufdef\ufffe\uffff-]"
)
_ODD = re.compile(
    rf"(?={_BEGINS})(?:"
    rf"(?P<hyphen>[\ufffe\u00ad]{_LINE_END}[ \t\u00a0]*|\ufffe|(?<=[a-z])-{_LINE_END}(?=[a-z]))"
    rf"|(?P<line>{_LINE_END})"
    r"|(?P<space>[\u00a0\u2007\u202f])"
    r"|(?P<ligature>[\ufb00-\ufb06])"
    r"|(?P<pair>[\ud800-\udbff][\udc00-\udfff])"
    r"|(?P<drop>[\x00-\x08\x0e-\x1f\x7f-\x9f\u00ad\ufdd0-\ufdef\uffff\ud800-\udfff]+))"
)
# After a hyphen that stands for the end of a later word. "or" and "to" may end a word, too.
HANGS = re.compile(r"(?:and|und|oder)\s|(?:or|to|bis)\s+[^\W\d_]+-[^\W\d_]")
_PARTS = re.compile(r"\S+")
_NO_CHARACTER = re.compile(r"[\ufffd\ue000-\uf8ff\U000f0000-\U0010ffff]|\(cid:\d+\)")
JUNK = 0.5  # of the visible characters


@dataclass(frozen=True, slots=True)
class Cleaned:
    """`origin[i]` is where `text[i]` stood in the raw text; a word breaks over lines at `joins`."""

    text: str
    origin: list[int]
    joins: list[int]

    def parts(self) -> list[tuple[int, int]]:
        """The words as (start, end) in `text`; a word joined over a line end is two parts."""
        found = [match.span() for match in _PARTS.finditer(self.text)]
        ends = [end for _, end in found]
        for join in reversed(self.joins):
            i = bisect_left(ends, join)
            if i < len(found) and found[i][0] < join < found[i][1]:
                found[i : i + 1] = [(found[i][0], join), (join, found[i][1])]
        return found


def clean(raw: str) -> Cleaned:
    """Line ends as \\n, halves of words joined, ligatures spelled out, useless characters dropped.

    Dropped: NUL and other control characters, lone surrogates, soft hyphens, non-characters.
    """
    pieces: list[str] = []
    origin: list[int] = []
    joins: list[int] = []
    done = 0
    for match in _ODD.finditer(raw):
        kind = match.lastgroup or ""
        pieces.append(raw[done : match.start()])
        origin.extend(range(done, match.start()))
        done = match.end()
        new = _replacement(kind, raw, match)
        pieces.append(new)
        origin.extend([match.start()] * len(new))
        if kind == "hyphen":
            joins.append(len(origin))
    pieces.append(raw[done:])
    origin.extend(range(done, len(raw)))
    return Cleaned("".join(pieces), origin, joins)


def is_junk(text: str) -> bool:
    """Whether most of a text is no characters: its font does not say which its shapes are."""
    if text.isascii() and "(cid:" not in text:  # most pages, and nothing else is as quick
        return False
    visible = sum(map(len, text.split()))
    found = sum(len(match.group()) for match in _NO_CHARACTER.finditer(text))
    return found > 0 and found >= JUNK * visible


def _replacement(kind: str, raw: str, match: re.Match[str]) -> str:
    if kind == "hyphen":
        if HANGS.match(raw, match.end()) and raw[match.start()] != "\u00ad":
            return "-\n"
        return "-" if _keeps_hyphen(raw, match.start(), match.end()) else ""
    if kind == "ligature":
        return LIGATURES[match.group()]
    if kind == "pair":
        return match.group().encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    return {"line": "\n", "space": " ", "drop": ""}[kind]


def _keeps_hyphen(raw: str, start: int, end: int) -> bool:
    """Whether the hyphen at a line end belongs to the word around `raw[start:end]`."""
    after = raw[end : end + 1]
    if raw[start] == "\u00ad" or not after.strip():
        return False
    if not after.islower():
        return after.isalnum() and not _no_case(after)
    before = re.search(r"[^\s\ufffe]*$", raw[max(0, start - 40) : start])
    return before is not None and "-" in before.group()


def _no_case(character: str) -> bool:
    """Letters of scripts without capitals say nothing about the hyphen."""
    return character.isalpha() and character.lower() == character.upper()
