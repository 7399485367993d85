"""Text of others made plain: nothing in it is markup, a link, or the name of another folder."""

from __future__ import annotations

import re

# Streamlit reads labels and notes as Markdown, with colours and icons between colons and formulas
# between dollars. Addresses become links even where every mark of them is escaped, so a joiner that
# nobody sees stands in them.
_MARKUP = re.compile(r"([\\`*_{}\[\]()<>#+\-!|~$:^=&])")
_ADDRESS = re.compile(r"(?i)(?<=www)(?=\.)|(?<=:)(?=//)|(?<=@)")
_NUMBERED = re.compile(r"^(\d+)([.)])")
_JOINER = "\u2060"


def escaped(text: str) -> str:
    """`text` on one line, so that Markdown shows it as it stands."""
    flat = _ADDRESS.sub(_JOINER, " ".join(text.split()))
    return _NUMBERED.sub(r"\1\\\2", _MARKUP.sub(r"\\\1", flat))


def counted(n: int, noun: str) -> str:
    """ "1 page", "1,200 pages"."""
    return f"{n:,} {noun}{'s' * (n != 1)}"


def shortened(text: str, length: int) -> str:
    """`text` on one line of at most `length` characters."""
    flat = " ".join(text.split())
    return flat if len(flat) <= length else flat[: length - 1].rstrip() + "…"
