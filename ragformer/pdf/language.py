"""A guess at a text's language from its script and its commonest small words."""

from __future__ import annotations

import re
from collections import Counter

# A few of each language's commonest words, those it shares with a neighbour left out where we can.
_SMALL_WORDS = {
    "en": "the of and to is that for with was this are by from which be not have",
    "de": "der die und das den von zu mit sich des auf für ist nicht ein eine dem auch werden",
    "fr": "le les des et est dans du une que pour qui par sur pas au avec sont cette",
    "es": "el los las y del en que se por una con para su como más son está",
    "it": "il di che la per è del della con non sono una gli nel alla dei anche",
    "pt": "o os do da em que não uma para com por dos no na as mais foi são",
    "nl": "de het een van en dat niet zijn met voor op aan ook door worden naar",
    "sv": "och att det som är på av för med den till inte om ett har",
    "pl": "i w nie na się że do jest z to jak o przez dla oraz są",
}
_VOTES: dict[str, list[str]] = {}
for _language, _words in _SMALL_WORDS.items():
    for _word in _words.split():
        _VOTES.setdefault(_word, []).append(_language)

# Order matters: Japanese is told by its kana, although most of a page may be Chinese characters.
_SCRIPTS = (
    ("ja", re.compile(r"[\u3040-\u30ff]"), 0.05),
    ("ko", re.compile(r"[\uac00-\ud7af]"), 0.3),
    ("zh", re.compile(r"[\u4e00-\u9fff]"), 0.3),
    ("th", re.compile(r"[\u0e00-\u0e7f]"), 0.3),
    ("ru", re.compile(r"[\u0400-\u04ff]"), 0.3),
    ("el", re.compile(r"[\u0370-\u03ff]"), 0.3),
    ("he", re.compile(r"[\u0590-\u05ff]"), 0.3),
    ("ar", re.compile(r"[\u0600-\u06ff]"), 0.3),
    ("hi", re.compile(r"[\u0900-\u097f]"), 0.3),
)
MAX_CHARS = 20_000
MIN_VOTES = 5


def detect_language(text: str) -> str:
    """The ISO 639-1 code of a text's likely language, "" when there is too little to tell.

    Scripts used by one main language are told by the script (Cyrillic counts as Russian).
    """
    sample = text[:MAX_CHARS]
    n_letters = sum(map(str.isalpha, sample))
    if n_letters < 10:
        return ""
    for language, script, share in _SCRIPTS:
        if len(script.findall(sample)) > share * n_letters:
            return language
    votes: Counter[str] = Counter()
    for word in re.findall(r"[^\W\d_]+", sample.lower()):
        votes.update(_VOTES.get(word, ()))
    if not votes:
        return ""
    best, n = max(votes.items(), key=lambda item: (item[1], item[0]))
    return best if n >= MIN_VOTES else ""
