"""How text is shown to the models: the same length as the original, so that offsets stay true.

And what may be asked of them.
"""

from __future__ import annotations

from ragformer.errors import InputError

MAX_QUESTION = 2000  # characters
_SPACES = dict.fromkeys(map(ord, "\n\t\r\u00a0"), " ")
# Half a character, as in a command line that is not UTF-8: no tokenizer can take it.
_SURROGATES = dict.fromkeys(range(0xD800, 0xE000), "\ufffd")
_SHOWN = _SPACES | _SURROGATES


def for_model(text: str) -> str:
    """`text` with every line break, tab and hard space a plain space; one character for one.

    A lone surrogate becomes U+FFFD.
    """
    return text.translate(_SHOWN)


def model_line(text: str) -> str:
    """`for_model` with a space in front, so that the first word is cut like any other word.

    Offsets in the result are one more than in `text`.
    """
    return " " + for_model(text)


def check_question(question: str) -> str:
    """The question, trimmed and storable; raises InputError if it is empty or too long."""
    question = question.encode("utf-8", "replace").decode("utf-8").replace("\0", " ").strip()
    if not question:
        raise InputError("the question is empty; ask something in words")
    if len(question) > MAX_QUESTION:
        raise InputError(
            f"the question has {len(question):,} characters and at most {MAX_QUESTION:,} are "
            "taken; shorten it"
        )
    return question
