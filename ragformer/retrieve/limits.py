"""Limits that a question sets itself: "on page 12", "in section 4.2", "in manual.pdf".

    question -> the question without the phrase, and the Limits it sets -> ids of chunks

Only English, and only where a page or heading is plainly meant: a phrase that goes on ("in chapter
11 bankruptcy", "on page 3 of the Times") is part of the question, no limit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from ragformer.retrieve.naming import named_documents, plainly_named
from ragformer.store.rows import unpack_headings, unpack_spans
from ragformer.store.store import Store
from ragformer.text.overlap import stem
from ragformer.text.words import STOP_WORDS, words
from ragformer.types import Document

_ENDS = (
    "SELECT number, substr(text, 1, 9), substr(text, -9) FROM pages WHERE document_id = ?"
    " AND (instr(substr(text, 1, 9), ?) OR instr(substr(text, -9), ?))"
)
_ORDER_WORDS = "first second third fourth fifth sixth seventh eighth ninth tenth"
_COUNT_WORDS = "one two three four five six seven eight nine ten eleven twelve"
_ROMAN_FIGURES = "i ii iii iv v vi vii viii ix x xi xii xiii xiv xv xvi xvii xviii xix xx"
_ORDER, _COUNT, _ROMAN = map(str.split, (_ORDER_WORDS, _COUNT_WORDS, _ROMAN_FIGURES))
_LAST = -1
_LISTED = "IN (SELECT value FROM json_each(?))"
_OVERLAPS = (
    "EXISTS (SELECT 1 FROM json_each(spans) WHERE json_extract(value, '$[0]') BETWEEN ? AND ?)"
)

_NUMBER = r"\d{1,4}|(?-i:[ivxlc]{1,7}|[IVXLC]{2,7})"  # a single I is a person
_AT = r"(?:(?:what|how)\s+about(?:\s+on|\s+in)?|on|at|from|in|of|according\s+to)"
_EDGE = r"(?:(?:at|on|in|near)\s+the\s+(?:top|bottom|beginning|start|end|foot)\s+of\s+)"
_PAGES = re.compile(
    rf"(?:\A\s*|\b(?:{_EDGE}|{_AT}\s+|(?P<does>does|did)\s+))(?:(?P<many>pages|pp\.)|page|p\.)\s*\(?(?P<first>{_NUMBER})\b\)?"
    r"(?:(?:\s*(?:[-–—&]|\b(?:to|and|or|through)\b)|(?(many)\s*,(?:\s*(?:and|or)\b)?|(?!)))"
    rf"\s*(?:(?:pages?|pp?\.)\s*)?(?P<last>{_NUMBER})\b)*",
    re.IGNORECASE,
)
_NTH_PAGE = re.compile(
    rf"\b(?:{_EDGE}|{_AT}\s+)the\s+(?:very\s+)?(?P<nth>{'|'.join(_ORDER)}|last)\s+page\b",
    re.IGNORECASE,
)
_KIND = r"chapter|section|appendix|annex|part|article"
_HEADING = re.compile(
    rf"\b(?:{_AT}|(?P<does>does|did)(?=\s+(?:chap|app|ann|section\s+\d+\.\d)))\s+(?P<kind>{_KIND}|§)\s*"
    rf"(?P<number>\d+(?:\.\d+)*|[ivxlc]{{1,7}}\b|{'|'.join(_COUNT)}|(?-i:[A-H])\b)(?![\w-])",
    re.IGNORECASE,
)
_TOPIC = re.compile(
    r"\b(?:on|from|in|of|under|according\s+to)\s+the\s+(?:"
    r"(?:chapter|section|part)\s+(?:on|about|called|titled|entitled|named)\s+(?P<after>[^,;:.?!]+)"
    r"|[\"“'‘](?P<before>[^\"”'’]+)[\"”'’]\s+(?:chapter|section|part|heading)\b"
    r"|(?:chapter|section|part|heading)\s+[\"“'‘](?P<quoted>[^\"”'’]+)[\"”'’]"
    r"|heading\s+(?P<under>[^,;:.?!]+))",
    re.IGNORECASE,
)
# Parts that many documents have; what follows must not go on, as in "the introduction of the law".
_USUAL = re.compile(
    r"\b(?:in|from|according\s+to)\s+the\s+(?P<named>abstract|introduction|preface|foreword"
    r"|discussion|conclusions?|executive\s+summary|glossary|appendix)\b",
    re.IGNORECASE,
)
_DOCUMENT_BEFORE = re.compile(
    r"(?:\b(?:does|do|did|has)\s+(?P<says>[^,;:?!]+?)\s+\w+|\b(?:in|of|from)\s+(?P<of>[^,;:?!]+?),?)\s*$",
    re.IGNORECASE,
)
# What makes a phrase less, or more, than a limit: "not on page 3", "from page 5 to the end", "in
# section 3 or 4". The whole collection is searched then: that hides nothing.
_NOT = re.compile(
    r"(?:\b(?:not|never|except|excluding|apart|aside|besides|beyond|outside|than|exempt\w*|exclu\w+"
    r"|differ\w*|missing|absent)|n[o’']t|\S\s+(?:and|or))\s+$",
    re.IGNORECASE,
)
_ON = re.compile(
    rf"\s*(?:,|&|-|–|—|\b(?:and|or|to|through|until)\b)+\s*(?:(?:{_KIND}|§)s?\s*)?(?:\d|{_AT}\b"
    r"|(?:the\s+)?(?:after|following|later|next|onwards?)\b)",
    re.IGNORECASE,
)
_ON_FROM = re.compile(r"\s+(?:on|onwards?|to|through|until|up)\b", re.IGNORECASE)
_OF_DOCUMENT = re.compile(r"\s+(?:(?P<of>of)|in|from)\s+(?=[\w\"'“‘])", re.IGNORECASE)
_FILES_GO_ON = re.compile(r"\s*(?:,\s*)?(?:&|\b(?:and|or|than|to|versus|vs)\b)", re.IGNORECASE)
_NAME_WORDS = 8
_CLAUSE = re.compile(r"(?:[^,;:?!]|[,;:?!](?=\S))+")
_GOES_ON = re.compile(r"\s*(?:$|[,;:.?!)]|(?P<word>[\w'-]+))")
_SAYING_WORDS = """
    concerning describe described describes mention mentioned mentions regarding said say says show
    shown shows state stated states tell tells
"""
_SAYING = frozenset(_SAYING_WORDS.split())


@dataclass(frozen=True, slots=True)
class Limits:
    """What a question is limited to; each part may be absent.

    pages: first and last, as printed or counted; or one counted number, -1 for the last.
    heading: its kind and number ("section", "4.2"). topic: the headings on it. said: the phrases,
    as they stand in the question, with the document they name.
    """

    pages: tuple[str, str] | int | None = None
    heading: tuple[str, str] | None = None
    topic: frozenset[str] | None = None
    said: tuple[str, ...] = ()
    documents: tuple[Document, ...] = ()


def find_limits(
    question: str, store: Store, documents: Sequence[Document]
) -> tuple[str, Limits | None]:
    """The question without its limits' phrases, and the limits; None if it sets none.

    documents: those asked, so that "of the manual" after a page can be told from a book that is
    not here. A topic that no heading is on stays in the question.
    """
    limits = Limits(documents=tuple(documents))
    rest = question
    for pattern in (_PAGES, _NTH_PAGE, _HEADING):
        match = pattern.search(rest)
        if match is None or not _is_limit(match, pattern):
            continue
        tail = _document_behind(rest[match.end() :], limits.documents)
        if tail is None:
            continue
        length, named = tail
        end = match.end() + length
        start = match.end("does") if match.groupdict().get("does") else match.start()
        named = named if length else _named_before(match, named)
        limits = _with(limits, match, rest[start:end], named)
        rest = _without(rest, match, end)
    rest, limits = _with_files(rest, limits)
    rest, limits = _with_topic(rest, limits, store)
    return (rest, limits) if limits.said else (question, None)


def _with_files(rest: str, limits: Limits) -> tuple[str, Limits]:
    """The question without the files that it names in full ("in manual.pdf"), and the limits with
    their documents; "does manual.pdf say" becomes "does the document say"."""
    asked = rest.casefold()
    known = {path.name for document in limits.documents for path in document.paths}
    names = sorted(
        (n for n in known if n[-4:].lower() == ".pdf" and n.casefold() in asked), key=len
    )
    if not names:
        return rest, limits
    any_name = "|".join(map(re.escape, reversed(names)))  # "annual-report.pdf" before "report.pdf"
    name = rf"[\"“'‘]?(?:{any_name})(?![\w-]|\.\w)[\"”]?"
    listed = rf"(?P<file>{name}(?:\s*(?:,|&|\b(?:and|or)\b)+\s*{name})*)"
    pattern = re.compile(
        rf"(?P<at>\b{_AT}\s+)?(?<![\w./\\-])(?:(?:the\s+)?(?:file|document|pdf)s?\s+)?{listed}",
        re.IGNORECASE,
    )
    match = pattern.search(rest)
    if match is None or not _is_limit(match, pattern) or _FILES_GO_ON.match(rest[match.end() :]):
        return rest, limits
    said = {found.casefold() for found in re.findall(any_name, match["file"], re.IGNORECASE)}
    named = tuple(
        document
        for document in limits.documents
        if any(path.name.casefold() in said for path in document.paths)
    )
    limits = replace(limits, said=(*limits.said, match.group().strip()), documents=named)
    opens = not rest[: match.start()].strip() and rest[match.end() :].lstrip()[:1] in (":", ",")
    if match["at"] or opens:
        return _without(rest, match, match.end()), limits
    if len(named) > 1:
        return rest, limits
    return f"{rest[: match.start()]}the document{rest[match.end() :]}", limits


def _with_topic(rest: str, limits: Limits, store: Store) -> tuple[str, Limits]:
    """The question without the phrase that says what it is a chapter on, and the limits with it."""
    for pattern in (_TOPIC, _USUAL):
        match = pattern.search(rest)
        if match is None or _NOT.search(rest[: match.start()]):
            continue
        end, headings = _on_topic(match, _headings(store, limits.documents))
        tail = _document_behind(rest[end:], limits.documents)
        if pattern is _USUAL and not (headings and tail):
            continue
        length, named = tail or (0, limits.documents)
        said = (*limits.said, rest[match.start() : end + length].strip())
        limits = replace(limits, topic=headings, said=said, documents=named)
        return (_without(rest, match, end + length) if headings else rest), limits
    return rest, limits


def _is_limit(match: re.Match[str], pattern: re.Pattern[str]) -> bool:
    """Whether the answer is to be found there and nowhere else."""
    before, behind = match.string[: match.start()], match.string[match.end() :]
    opened = match.group().lower().startswith("from") and _ON_FROM.match(behind)
    return not (opened or _NOT.search(before) or _ON.match(behind) or pattern.search(behind))


def _document_behind(
    text: str, documents: tuple[Document, ...]
) -> tuple[int, tuple[Document, ...]] | None:
    """What follows a limit: how many characters name a document, and the documents meant.

    None when the phrase goes on, so that it is no limit.
    """
    of_document = _OF_DOCUMENT.match(text)
    if of_document is None:
        return (0, documents) if _ends(text) else None
    clause = _CLAUSE.match(text)
    ends = [m.end() for m in re.finditer(r"\S+", clause[0] if clause else "")][1 : 1 + _NAME_WORDS]
    for end in reversed(ends):
        name = text[of_document.end() : end].removesuffix(".")
        whole = _ends(text[end:]) and (words(name) or ["the"])[-1] not in STOP_WORDS
        if whole and (named := named_documents(name, documents)):
            return end, tuple(named)
    return None if of_document["of"] else (0, documents)


def _named_before(match: re.Match[str], documents: tuple[Document, ...]) -> tuple[Document, ...]:
    """The documents that "does the manual say on page 9" means; all where none is named."""
    before = _DOCUMENT_BEFORE.search(match.string[: match.start()])
    named = plainly_named(before["says"] or before["of"], documents) if before else ()
    return tuple(named) or documents


def _ends(text: str) -> bool:
    """Whether a phrase ends here: at punctuation, or at a word that cannot belong to it."""
    following = _GOES_ON.match(text)
    if following is None:
        return False
    word = (following["word"] or "").lower()
    return not word or (word != "of" and (word in STOP_WORDS or word in _SAYING))


def _with(
    limits: Limits, match: re.Match[str], said: str, documents: tuple[Document, ...]
) -> Limits:
    found = match.groupdict()
    pages, heading = limits.pages, limits.heading
    if found.get("first"):
        pages = pages or (found["first"].lower(), (found["last"] or found["first"]).lower())
    elif nth := (found.get("nth") or "").lower():
        pages = pages or (_LAST if nth == "last" else _ORDER.index(nth) + 1)
    else:
        kind = "section" if found["kind"] == "§" else found["kind"].lower()
        heading = kind, _figure(found["number"].lower())
    return Limits(pages, heading, None, (*limits.said, said.strip(" .")), documents)


def _figure(number: str) -> str:
    """A number in words or Roman as figures; a letter stays one."""
    for names in (_COUNT, _ROMAN):
        if number in names:
            return str(names.index(number) + 1)
    return number


def _without(text: str, match: re.Match[str], end: int) -> str:
    """`text` without all from the match to `end`, with neither its comma in front nor a doubled
    space left; "does page 5 say" becomes "does the text say"."""
    before, after = text[: match.start()].rstrip(), text[end:].lstrip()
    if does := match.groupdict().get("does"):
        return f"{before} {does} the text {after}".strip()
    if not before:
        after = after.lstrip(",;: ")
    if after[:1] in ("", ",", ".", "?", "!", ";", ":"):
        return before.rstrip(",") + after
    return f"{before} {after}" if before else after


def limited_chunks(store: Store, limits: Limits) -> list[int]:
    """Ids of the chunks on those pages and under that heading, ascending; [] if there are none."""
    listed = json.dumps([document.id for document in limits.documents])
    columns = "SELECT id, document_id, heading_path, spans FROM chunks"
    where = f"document_id {_LISTED}"
    values: list[str | int] = [listed]
    pages: dict[str, Collection[int]] = {}
    if limits.pages is not None:
        pages = {d.id: _pages(store, d, limits.pages) for d in limits.documents}
        numbers = [number for some in pages.values() if some for number in (min(some), max(some))]
        # Reading the spans of 100,000 chunks here takes five times as long as there.
        where += f" AND {_OVERLAPS}"
        values += [min(numbers, default=0), max(numbers, default=0)]
    rows = store.query(f"{columns} WHERE {where} ORDER BY id", *values)
    if limits.heading is not None or limits.topic is not None:
        paths = {path for _, _, path, _ in rows}  # far fewer than chunks
        meant = {path for path in paths if _is_under(unpack_headings(path), limits)}
        rows = [row for row in rows if row[2] in meant]
    if limits.pages is not None:
        rows = [row for row in rows if any(s.page in pages[row[1]] for s in unpack_spans(row[3]))]
    return [int(row[0]) for row in rows]


def _is_under(path: Sequence[str], limits: Limits) -> bool:
    numbered = limits.heading is None or any(map(_numbered(*limits.heading).match, path))
    return numbered and (limits.topic is None or not limits.topic.isdisjoint(path))


def _pages(store: Store, document: Document, asked: tuple[str, str] | int) -> Collection[int]:
    """The physical pages meant in a document. A label of the file's own goes before a count.

    Many files print numbers that their labels do not know of: where counting is all there is, a
    page that begins or ends with the number is meant too.
    """
    n = document.n_pages
    if isinstance(asked, int):
        return [n if asked == _LAST else asked]
    columns = "SELECT lower(label), number FROM pages WHERE document_id = ?"
    rows = store.query(f"{columns} ORDER BY number DESC", document.id)
    printed = {str(label): int(number) for label, number in rows}  # of two alike, the first page
    first, last = asked
    counted = all(label == str(number) for label, number in printed.items())
    if not counted and first in printed and printed[first] <= printed.get(last, 0):
        return range(printed[first], printed[last] + 1)
    if not (first.isdigit() and last.isdigit()):
        return []
    low, high = sorted((int(first), int(last)))
    numbers = range(low, high + 1)
    if not counted:
        return numbers
    wanted = set(map(str, numbers))
    only = str(low) if low == high else ""  # "" is in every text
    ends = store.query(_ENDS, document.id, only, only)
    borne = ((row[0], {*row[1].split()[:1], *row[2].split()[-1:]}) for row in ends)
    return {*numbers, *(number for number, said in borne if said & wanted)}


def _numbered(kind: str, number: str) -> re.Pattern[str]:
    """Headings of that number and those below it. Only chapters and sections may leave out what
    they are: "3 Safety" is not part 3."""
    bare = "?" if kind in ("chapter", "section") else ""
    figure = re.escape(number)
    if number.isdigit() and 0 < int(number) <= len(_ROMAN):
        figure = f"(?:{figure}|(?<=[a-z] ){_ROMAN[int(number) - 1]})"
    return re.compile(rf"(?:(?:{kind}|§)\s*){bare}{figure}(?:\.\d+)*(?![\w])", re.IGNORECASE)


def _headings(store: Store, documents: Sequence[Document]) -> set[str]:
    listed = json.dumps([document.id for document in documents])
    paths = f"SELECT DISTINCT heading_path FROM chunks WHERE document_id {_LISTED}"
    rows = store.query(paths, listed)
    return {heading for (path,) in rows for heading in unpack_headings(path)}


def _on_topic(match: re.Match[str], headings: set[str]) -> tuple[int, frozenset[str]]:
    """Where the topic ends, and the headings that hold all its words.

    Words behind the topic may belong to the question: the longest beginning that a heading holds
    is the topic. With none, it is all of it.
    """
    group = str(match.lastgroup)
    stems_of = {heading: set(map(stem, words(heading))) for heading in headings}
    ends = [match.start(group) + word.end() for word in re.finditer(r"\S+", match[group])]
    open_ended = group in ("after", "under")
    for end in reversed(ends if open_ended else ends[-1:]):  # a quoted one is whole
        said = {stem(w) for w in words(match.string[match.start(group) : end])} - STOP_WORDS
        whole = said and words(match.string[:end])[-1] not in STOP_WORDS
        if whole and (meant := {h for h, stems in stems_of.items() if said <= stems}):
            return (match.end() if end == ends[-1] else end), frozenset(meant)
    return match.end(), frozenset()
