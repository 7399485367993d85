"""Text of others made plain: nothing in it is markup, a link, or the name of another folder."""

from __future__ import annotations

import re
from pathlib import Path

from ragformer.store.rows import storable

# Streamlit reads labels and notes as Markdown, with colours and icons between colons and formulas
# between dollars. Addresses become links even where every mark of them is escaped, so a joiner that
# nobody sees stands in them.
_MARKUP = re.compile(r"([\\`*_{}\[\]()<>#+\-!|~$:^=&])")
_ADDRESS = re.compile(r"(?i)(?<=www)(?=\.)|(?<=:)(?=//)|(?<=@)")
_NUMBERED = re.compile(r"^(\d+)([.)])")
_JOINER = "\u2060"
_TURNS = re.compile("[\u202a-\u202e\u2066-\u2069]")  # of the direction of writing


def shown(text: str) -> str:
    """A path's text as a browser can have it: what is no UTF-8 in it as question marks, and
    nothing that makes "fdp.exe" of "exe.pdf"."""
    return _TURNS.sub("", storable(text))


def file_name(path: Path) -> str:
    """`shown`, of the path's last part."""
    return shown(path.name)


def escaped(text: str) -> str:
    """`text` on one line, so that Markdown shows it as it stands."""
    flat = _ADDRESS.sub(_JOINER, " ".join(shown(text).split()))
    return _NUMBERED.sub(r"\1\\\2", _MARKUP.sub(r"\\\1", flat))


def counted(n: int, noun: str) -> str:
    """ "1 page", "1,200 pages"."""
    return f"{n:,} {noun}{'s' * (n != 1)}"


def shortened(text: str, length: int) -> str:
    """`text` on one line of at most `length` characters."""
    flat = " ".join(text.split())
    return flat if len(flat) <= length else flat[: length - 1].rstrip() + "…"
