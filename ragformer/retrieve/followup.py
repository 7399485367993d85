"""Questions that lean on the one before: which they are, and which terms they are searched with.

"What is the notice period?" ... "and how long is it for part-time staff?"
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ragformer.text.words import STOP_WORDS, question_words, words
from ragformer.types import Answer, Document

MAX_CARRIED = 12
"""Words. The decoder reads the first 96 tokens of a question."""
MAX_FROM_ANSWER = 6

_OPENING = re.compile(r"\W*(?:(?:and|but|so)\s+)?(?:what|how)\s+about\b", re.IGNORECASE)
_JOINED = re.compile(r"\W*(?:and|but|or|so)\b", re.IGNORECASE)
_FRAGMENT = re.compile(r"\W*(?:in|for|on|at|with|without|from|under|during|by)\b", re.IGNORECASE)
# "Is it allowed to ...", "what is it that ...": an "it" that stands for what follows.
_EXPLETIVE = re.compile(
    r"\bit\s+(?:rain|snow|(?:that|(?:mean|takes?)\s+for|(?:\w+\s+){1,3}(?:to|that|if|when))\s+\w)",
    re.IGNORECASE,
)
# "How many years is it?", "What colour are they?": a noun that cannot be what the pronoun means.
_OF_IT = re.compile(
    r"\W*(?:and\s+|but\s+|so\s+)?(?:how\s+(?:many|much)|what|which)(?:\s+[^\W_]+){1,2}\s+"
    r"(?:is|are|was|were|do|does|did|has|have|had|can|will|must|may)\s+(?:it|they|he|she)\b",
    re.IGNORECASE,
)
_MEASURES = frozenset(
    {"big", "far", "high", "large", "late", "long", "many", "much", "often", "old"}
)
_VAGUE = frozenset({"another", "else", "others"})
_SPOKEN_TO = frozenset({"you", "your", "yours"})  # "Who are you?" leans on nothing said before
_STANDS_ALONE = 5
"""Content words with which a question is searched as it is, whatever its pronouns stand for."""
_PRONOUNS = frozenset(
    {"he", "her", "hers", "him", "his", "it", "its", "she", "their", "theirs", "them", "they"}
)
_POINTING = frozenset({"that", "these", "this", "those"})
_VERBS = frozenset(
    {"apply", "are", "cost", "happen", "help", "include", "included", "is", "mean", "right"}
    | {"take", "true", "was", "were", "work"}
)
_PREPOSITIONS = frozenset({"about", "at", "by", "for", "from", "in", "of", "on", "to", "with"})
_ARTICLES = frozenset({"a", "all", "an", "any", "each", "every", "no", "some", "the"})


def is_follow_up(question: str) -> bool:
    """Whether it cannot stand alone: it has no content word, is a fragment, or its pronoun comes
    before anything that it could stand for."""
    asked = words(question)
    content = [_says_something(asked, i) for i in range(len(asked))]
    if _OPENING.match(question):
        return True
    if not any(content):
        return _SPOKEN_TO.isdisjoint(asked)
    if _JOINED.match(question) and sum(content) <= 2:
        return True
    if _FRAGMENT.match(question) and len(asked) <= 4:
        return True
    if _EXPLETIVE.search(question) and sum(content) > 1:
        return False
    if _OF_IT.match(question) and sum(content) < _STANDS_ALONE:
        return True
    place = next((i for i in range(len(asked)) if _is_pronoun(asked, i)), None)
    if place is None or sum(content) >= _STANDS_ALONE:
        return False
    return _nothing_before(asked, content, place)


def carry(question: str, last: Answer) -> str:
    """The question with the terms of the last turn behind it, each once."""
    own = set(words(question))
    if last.about:
        terms = question_words(last.about[0].title) if len(last.about) == 1 else []
    else:
        terms = question_words(last.searched_as or last.question)
        terms += [] if last.abstained else _short_words(last)
    kept = [word for word in dict.fromkeys(terms) if word not in own and word not in STOP_WORDS]
    return " ".join([question if own else "", *kept[:MAX_CARRIED]]).strip()


def recent_documents(last: Answer | None, documents: Sequence[Document]) -> list[Document]:
    """Those of the documents that the last answer quotes or is about."""
    if last is None:
        return []
    ids = {d.id for d in last.about} | {citation.document_id for citation in last.citations}
    return [document for document in documents if document.id in ids]


def cited_chunks(last: Answer) -> Sequence[int]:
    """Ids of the chunks that the last answer quotes."""
    return [last.passages[citation.mark - 1].chunk_id for citation in last.citations]


def _short_words(last: Answer) -> list[str]:
    return question_words(last.text.split("\n", 1)[0])[:MAX_FROM_ANSWER]


def _says_something(asked: list[str], i: int) -> bool:
    measured = asked[i] in _MEASURES and i > 0 and asked[i - 1] == "how"
    return not (asked[i] in STOP_WORDS or asked[i] in _VAGUE or measured)


def _is_pronoun(asked: list[str], i: int) -> bool:
    """ "that" and its like only where no noun follows."""
    if asked[i] in _POINTING:
        return i + 1 == len(asked) or asked[i + 1] in _VERBS
    return asked[i] in _PRONOUNS


def _nothing_before(asked: list[str], content: list[bool], place: int) -> bool:
    """Whether no noun stands before the pronoun: no content word, or only a verb right at it
    ("who signed it", "who pays for them")."""
    said = [i for i in range(place) if content[i]]
    if not said:
        return True
    if asked[place] in _POINTING and place + 1 < len(asked):
        return False  # "animals that are kept"
    at = place - 1 if content[place - 1] else place - 2
    verb = said == [at] and asked[at - 1] not in _ARTICLES
    return verb and (at == place - 1 or asked[place - 1] in _PREPOSITIONS)
