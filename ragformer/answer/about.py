"""Questions about the documents themselves, answered from what the store knows of them.

    question -> its shape, the whole of it -> the documents it names -> a plain text

"How many pages does the manual have?" is one, "How many pages does the contract say a brief may
have?" is not: a question counts only if nothing of it is left over and what it names is a document
here. No model is asked, and nothing is quoted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from ragformer.retrieve.naming import plainly_named, surely_named
from ragformer.store.store import Store
from ragformer.types import Answer, Document, OutlineItem

MAX_NAMED = 10
"""Documents answered for at once where the question names none."""
MAX_LISTED = 50
"""Lines of a list of files or headings."""

_DOC = r"(?P<doc>[^?!;]+?)"
_THING = r"(?P<thing>[^?!;]+?)"
"""Of what as many a thing is asked as a document: parts, a structure, a name."""
_OF = rf"(?:\s+(?:of|in|from)\s+{_DOC})?"
_LEAD = r"(?:(?:please|can you|could you|would you|tell me|show me|give me|show|list)\s+)*"
_END = r"(?:\s+(?:in total|in all|altogether|please))*\s*[?.!]*"
_IS = r"(?:is|are|'s|’s)"
_CHAPTERS = r"(?:main\s+)?(?:chapters|headings)"
_PARTS = r"(?:main\s+)?(?:chapters|sections|headings|parts)"
_FILES = r"(?:documents|files|pdfs|pdf files)"
_PLACE = r"(?:collection|library|folder|index)"
_HERE = (
    r"(?:\s+(?:can you (?:read|search)|do (?:i|we|you) (?:have|know)"
    rf"|does (?:the|this|my) {_PLACE} (?:have|contain)))?"
    r"(?:\s+(?:are|have been|there|here|in|the|this|my|our|your|read|indexed|available|loaded"
    rf"|{_PLACE}))*"
)
_CANNOT = (
    r"(?:(?:could\s*n[o’']t|could not|cannot|can\s*[’']?t|can not) be read"
    r"|(?:were|was|are|is) (?:not read|unread|unreadable|not readable)|ha(?:ve|s) no text)"
)
_IT = re.compile(
    r"(?:it|they|them|(?:this|that|the)(?: (?:one|document|file|pdf))?)", re.IGNORECASE
)
_CHAPTER = re.compile(
    r"chapter\s+(\d+|[ivxlc]+|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)\b"
    r"(?!\.\d)",
    re.IGNORECASE,
)
_NUMBERED = re.compile(r"(?:\d{1,2}|[IVXLC]+)(?:[.:)]\s*(?!\d)|\s)")


def about_documents(
    question: str, store: Store, documents: Sequence[Document], recent: Sequence[Document] = ()
) -> Answer | None:
    """The answer to a question about `documents` themselves; None for any other question, and
    where the store does not know.

    recent: what the turn before was drawn from, which "it" then means.
    """
    asked = " ".join(question.split())
    for shape, answer in _SHAPES:
        match = shape.fullmatch(asked)
        if match is None:
            continue
        named = _named(match.groupdict(), documents, recent)
        if named and (text := answer(store, named)):
            about = tuple(named)
            return Answer(question, text, (), (), 1.0, False, None, "local", "", about=about)
    return None


def _named(
    found: dict[str, str | None], documents: Sequence[Document], recent: Sequence[Document]
) -> list[Document]:
    phrase = (found.get("thing") or found.get("doc") or "").strip()
    if not phrase:
        return list(documents)
    if recent and _IT.fullmatch(phrase) and (" " in phrase or not found.get("thing")):
        return list(recent)
    return (surely_named if found.get("thing") else plainly_named)(phrase, documents)


def _pages(store: Store, documents: list[Document]) -> str:
    total = sum(document.n_pages for document in documents)
    if len(documents) > MAX_NAMED:
        return f"{len(documents)} documents, {total:,} pages together. {_WHICH}"
    lines = [f"{d.path.name} has {_count(d.n_pages, 'page')}." for d in documents]
    return "\n".join(lines + ([f"Together: {total:,} pages."] if len(lines) > 1 else []))


def _titles(store: Store, documents: list[Document]) -> str:
    return _each(documents, lambda d: f"The title of {d.path.name} is “{d.title}”.")


def _authors(store: Store, documents: list[Document]) -> str:
    """Nothing where no file records one: then its text may name one."""
    known = [document for document in documents if document.author]
    if not known:
        return ""
    return _each(known, lambda d: f"{d.path.name} records “{d.author}” as its author.")


def _subject(store: Store, documents: list[Document]) -> str:
    return _each(documents, lambda document: _subject_of(store, document))


def _subject_of(store: Store, document: Document) -> str:
    name = document.path.name
    items = store.outline(document.id) or _headings(store, document)
    top: list[str] = []
    for level in range(3):  # a title may be the only heading of the first
        if len(top := [item.title for item in items if item.level <= level]) > 2:
            break
    lines = [f"{name} is “{document.title}”, {_count(document.n_pages, 'page')}."]
    if top:
        more = "; and more" if len(items) > MAX_NAMED else ""
        lines.append(f"Its headings: {'; '.join(top[:MAX_NAMED])}{more}.")
    lines.append(f"Its central sentences, each with its page: ragformer summarize {name}")
    return "\n".join(lines)


def _outline(store: Store, documents: list[Document]) -> str:
    return _each(documents, lambda document: _outline_of(store, document))


def _outline_of(store: Store, document: Document) -> str:
    items = store.outline(document.id) or _headings(store, document)
    if not items:
        return f"{document.path.name} has no headings that could be read."
    while len(items) > MAX_LISTED and (deepest := max(item.level for item in items)):
        items = [item for item in items if item.level < deepest]
    labels = "SELECT number, label FROM pages WHERE document_id = ?"
    printed = dict(store.query(labels, document.id))
    lines = [
        f"{'  ' * (item.level + 1)}{item.title}, {_page(item.page, printed.get(item.page, ''))}"
        for item in items[:MAX_LISTED]
    ]
    more = len(items) - len(lines)
    return "\n".join([f"{document.path.name}:", *lines, *([f"  and {more} more"] if more else [])])


def _headings(store: Store, document: Document) -> list[OutlineItem]:
    """The headings that were seen in the text, where the file has no outline of its own."""
    found: dict[tuple[str, ...], OutlineItem] = {}
    for chunk in store.chunks(document.id):
        for level, title in enumerate(chunk.heading_path):
            item = OutlineItem(level, title, chunk.spans[0].page)
            found.setdefault(chunk.heading_path[: level + 1], item)
    return list(found.values())


def _page(number: int, label: str) -> str:
    return f"page {number}" + (f" (printed {label})" if label not in ("", str(number)) else "")


def _chapters(store: Store, documents: list[Document]) -> str:
    """How many there are, where every document says so by numbering them."""
    counts = [(d.path.name, _n_chapters(store.outline(d.id))) for d in documents]
    if len(counts) > MAX_NAMED or not all(n for _, n in counts):
        return ""
    return "\n".join(f"{name} has {_count(n, 'numbered chapter')}." for name, n in counts)


def _n_chapters(outline: list[OutlineItem]) -> int:
    """0 where it cannot be told, as where an answer key names the chapters again."""
    called = [(item.level, match[1]) for item in outline if (match := _CHAPTER.match(item.title))]
    if called:
        names = [name.lower() for level, name in called if level == min(called)[0]]
        return len(names) if len(set(names)) == len(names) else 0
    return sum(bool(_NUMBERED.match(item.title)) for item in outline if item.level == 0)


def _files(store: Store, documents: list[Document]) -> str:
    lines = [
        f"  {d.path.name}: {d.title}, {_count(d.n_pages, 'page')}" for d in documents[:MAX_LISTED]
    ]
    more = len(documents) - len(lines)
    failed = [outcome.path.name for outcome in store.failures()]
    if len(documents) < store.query("SELECT count(*) FROM documents")[0][0]:
        failed = []  # asked of some files only
    text = [f"{_count(len(documents), 'document')}:", *lines]
    text += [f"  and {more} more"] if more else []
    text += [f"Could not be read: {_several(failed)}."] if failed else []
    return "\n".join(text)


def _unread(store: Store, documents: list[Document]) -> str:
    lines = [
        f"{d.path.name}, of {_count(d.n_pages, 'page')}: {_ranges(d.unread_pages)}"
        for d in documents
        if d.unread_pages
    ]
    if not lines:
        return "Every page could be read."
    more = len(lines) - MAX_LISTED
    lines[MAX_LISTED:] = [f"and {more} more documents"] if more > 0 else []
    return "\n".join(["Pages without text that could be read:", *lines])


def _each(documents: list[Document], tell: Callable[[Document], str]) -> str:
    if len(documents) > MAX_NAMED:
        return f"There are {len(documents)} documents. {_WHICH}"
    return "\n".join(map(tell, documents))


_WHICH = "Name one, by its file name or words of its title."


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _several(names: list[str]) -> str:
    return ", ".join(names[:MAX_NAMED]) + (" and more" if len(names) > MAX_NAMED else "")


def _ranges(numbers: Sequence[int]) -> str:
    """1, 2, 3, 7 as "1-3, 7"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs)


_Tell = Callable[[Store, list[Document]], str]
_PATTERNS: tuple[tuple[str, _Tell], ...] = (
    (rf"how many pages (?:does|do) {_DOC} (?:have|contain|comprise|run to)", _pages),
    (rf"how many pages (?:has|have) {_DOC}(?: got)?", _pages),
    (rf"how many pages (?:are there|there are|are){_OF}", _pages),
    (rf"how many pages (?:long )?(?:is|are) {_DOC}(?: long)?", _pages),
    (rf"how long {_IS} {_DOC} in pages", _pages),
    (rf"(?:what ?{_IS} )?the (?:number of pages|page count|page number count){_OF}", _pages),
    (rf"what ?{_IS} the titles? (?:of|in) {_THING}", _titles),
    (rf"what ?{_IS} {_THING} (?:called|titled|entitled)", _titles),
    (rf"who ?(?:{_IS}|was|were) the authors? of {_DOC}", _authors),
    (rf"who (?:wrote|authored|has written|have written) {_DOC}", _authors),
    (rf"(?:what ?{_IS} )?the (?:author|authors|name of the author) of {_DOC}", _authors),
    (rf"what ?{_IS} {_THING} about", _subject),
    (rf"(?:summari[sz]e|(?:an? |the )?(?:summary|overview) of) {_THING}", _subject),
    (rf"(?:what|which) {_CHAPTERS} (?:does|do) {_DOC} (?:have|contain|include)", _outline),
    (
        rf"(?:what|which) {_PARTS} (?:does|do) {_THING} (?:have|contain|include|consist of)",
        _outline,
    ),
    (rf"(?:what|which) {_CHAPTERS} (?:are there|are){_OF}", _outline),
    (rf"(?:what|which) {_PARTS} (?:are there|are) (?:of|in|from) {_THING}", _outline),
    (rf"(?:what ?{_IS} )?(?:all )?the (?:{_CHAPTERS}|outline|table of contents){_OF}", _outline),
    (rf"(?:what ?{_IS} )?(?:all )?the {_PARTS} (?:of|in|from) {_THING}", _outline),
    (rf"table of contents{_OF}", _outline),
    (rf"how {_IS} {_THING} (?:structured|organi[sz]ed)", _outline),
    (rf"how many chapters (?:does|do) {_DOC} (?:have|contain)", _chapters),
    (rf"how many chapters (?:are there|are){_OF}", _chapters),
    (rf"(?:what|which|how many) {_FILES}{_HERE}", _files),
    (rf"(?:all |all of )?(?:the |my |your )?{_FILES}(?: in the (?:collection|library))?", _files),
    (rf"what ?{_IS} in (?:the|this|my|our|your) {_PLACE}", _files),
    (rf"which pages{_OF} {_CANNOT}", _unread),
    (rf"(?:are|were) there (?:any )?(?:unread|unreadable) pages{_OF}", _unread),
    (rf"could (?:all|every) (?:the )?pages?{_OF} be read", _unread),
)
_SHAPES = [
    (re.compile(_LEAD + pattern + _END, re.IGNORECASE), answer) for pattern, answer in _PATTERNS
]
