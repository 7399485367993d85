"""Questions altered so that their passage no longer answers them.

A name or number of the question becomes another one of its kind, or a word its opposite: two of
the ways people write unanswerable questions (Rajpurkar et al. 2018, arXiv:1806.03822, table 1).
A reader that only looks for the right kind of answer near the right words is wrong on these.
"""

from __future__ import annotations

import random
import re

_PAIRS = """
first last, largest smallest, biggest smallest, highest lowest, most least, more fewer, more less,
before after, oldest youngest, earliest latest, longest shortest, maximum minimum, north south,
east west, northern southern, eastern western, increase decrease, increased decreased, above below,
inside outside, best worst, older younger, larger smaller, higher lower, male female, win lose,
won lost, begin end, began ended, start stop, started stopped, allowed forbidden, enable disable,
enabled disabled, import export, upper lower, left right, early late, always never, with without,
public private, internal external, accept reject, accepted rejected, open close, opened closed
"""
_OPPOSITES: dict[str, list[str]] = {}
for _pair in _PAIRS.replace("\n", " ").split(","):
    _one, _other = _pair.split()
    _OPPOSITES.setdefault(_one, []).append(_other)
    _OPPOSITES.setdefault(_other, []).append(_one)

_WORD = re.compile(r"[A-Za-z]+")
_NAME = re.compile(r"(?<!\w)[A-Z][\w'’-]+(?: (?:of |the |de )?[A-Z][\w'’-]+)*")
_NUMBER = re.compile(r"\d[\d,.]*\d|\d")


def altered_question(question: str, context: str, answer: str, rng: random.Random) -> str | None:
    """`question` asking for something that `context` does not say; None where nothing is to alter.

    answer: the right one to the question as it stands; it is never put in.
    """
    ways = [_with_opposite, _with_other_name, _with_other_number]
    rng.shuffle(ways)
    for way in ways:
        if altered := way(question, context, answer, rng):
            return altered
    return None


def _with_opposite(question: str, context: str, answer: str, rng: random.Random) -> str | None:
    words = [m for m in _WORD.finditer(question) if m.group().lower() in _OPPOSITES]
    if not words:
        return None
    word = rng.choice(words)
    other = rng.choice(_OPPOSITES[word.group().lower()])
    if other in context.lower().split():
        return None
    return _replaced(question, word, other.title() if word.group()[0].isupper() else other)


def _with_other_name(question: str, context: str, answer: str, rng: random.Random) -> str | None:
    # The first word of a sentence is capital whatever it is.
    names = [m for m in _NAME.finditer(question) if m.start() > 0]
    others = [
        m.group() for m in _NAME.finditer(context) if not _starts_sentence(context, m.start())
    ]
    return _swapped(question, names, others, answer, rng)


def _with_other_number(question: str, context: str, answer: str, rng: random.Random) -> str | None:
    numbers = list(_NUMBER.finditer(question))
    return _swapped(question, numbers, _NUMBER.findall(context), answer, rng)


def _swapped(
    question: str, found: list[re.Match[str]], others: list[str], answer: str, rng: random.Random
) -> str | None:
    """One of what was found in the question made one of the others that it does not say."""
    said = question.lower()
    free = [o for o in others if o.lower() not in said and o.lower() not in answer.lower()]
    if not found or not free:
        return None
    return _replaced(question, rng.choice(found), rng.choice(free))


def _replaced(question: str, match: re.Match[str], other: str) -> str:
    return question[: match.start()] + other + question[match.end() :]


def _starts_sentence(text: str, at: int) -> bool:
    before = text[:at].rstrip(" \"'“‘([")
    return not before or before[-1] in ".!?:;\n"
