"""How text is shown to the models: the same length as the original, so that offsets stay true."""

from __future__ import annotations

_BREAKS = str.maketrans({"\n": " ", "\t": " ", "\r": " ", "\u00a0": " "})


def for_model(text: str) -> str:
    """`text` with every line break, tab and hard space a plain space; one character for one."""
    return text.translate(_BREAKS)


def model_line(text: str) -> str:
    """`for_model` with a space in front, so that the first word is cut like any other word.

    Offsets in the result are one more than in `text`.
    """
    return " " + for_model(text)
