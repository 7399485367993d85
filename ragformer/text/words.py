"""Words as search sees them: runs of letters and digits, and which of them say nothing alone."""

from __future__ import annotations

import re

# Left out on purpose, though frequent: "us" and "may" (a country, a month), "not" and "no".
_STOP_WORDS = """
    a about after again all also am an and any are as at be because been before being between both
    but by can could did do does doing during each few for from further had has have having he her
    here hers him his how i if in into is it its itself just me more most my of off on once only or
    other our ours out over own s same shall she should so some such t than that the their theirs
    them then there these they this those through to too under until up very was we were what when
    where which while who whom whose why will with would you your yours
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
_POLITE_WORDS = "bye goodbye hello hey hi ok okay please sorry thank thanks"
_SAYING_NOTHING = STOP_WORDS.union(_POLITE_WORDS.split())
_NAME = re.compile(r"\w\s+[A-Z]\w")

# A hyphen joins word parts, a point or comma joins digits ("2.5", "10,000"). Combining marks and
# the Indic blocks belong to a word, though Python's \w leaves their vowel signs out.
_LETTER = r"[^\W_]|[\u0300-\u036f\u0900-\u0dff]"
_WORD = re.compile(rf"(?:{_LETTER})+(?:(?:-|(?<=\d)[.,](?=\d))(?:{_LETTER})+)*")


def words(text: str) -> list[str]:
    """Every word of `text` in order, lower-cased: "Well-known 2.5 mm" -> well-known, 2.5, mm."""
    return [match.group().lower() for match in _WORD.finditer(text)]


def says_something(question: str) -> bool:
    """Whether it has a word to look for: neither "Why?" nor "Hello, who are you?" has one.

    A stop word with a capital inside a question ("What does WHO do?") is a name.
    """
    if any(word not in _SAYING_NOTHING for word in words(question)):
        return True
    shouted = question.isupper() or question.istitle()
    return not shouted and _NAME.search(question) is not None


def question_words(text: str) -> list[str]:
    """The words of `text` that say something; all of them when every one is a stop word."""
    found = words(text)
    return [word for word in found if word not in STOP_WORDS] or found
