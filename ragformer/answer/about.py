"""Questions about the documents themselves, answered from what the store knows of them.

    question -> its shape, the whole of it -> the documents it names -> a plain text

"How many pages does the manual have?" is one, "How many pages does the contract say a brief may
have?" is not: a question counts only if nothing of it is left over and what it names is a document
here. No model is asked, and nothing is quoted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from ragformer.retrieve.naming import plainly_named
from ragformer.store.store import Store
from ragformer.types import Answer, Document, OutlineItem

MAX_NAMED = 10
"""Documents answered for at once where the question names none."""
MAX_LISTED = 50
"""Lines of a list of files or headings."""

_DOC = r"(?P<doc>[^?!;]+?)"
_OF = rf"(?:\s+(?:of|in|from)\s+{_DOC})?"
_LEAD = r"(?:(?:please|can you|could you|would you|tell me|show me|give me|show|list)\s+)*"
_END = r"(?:\s+(?:in total|in all|altogether|please))*\s*[?.!]*"
_IS = r"(?:is|are|'s|’s)"
_PARTS = r"(?:main\s+)?(?:chapters|sections|headings|parts)"
_FILES = r"(?:documents|files|pdfs|pdf files)"
_HERE = (
    r"(?:\s+(?:are|is|do|does|have|has|can|could|been|there|here|you|we|i|it|in|the|this|my|have"
    r"|know|search|read|indexed|available|loaded|collection|library|folder|index))*"
)
_CANNOT = (
    r"(?:(?:could\s*n[o’']t|could not|cannot|can\s*[’']?t|can not) be read"
    r"|(?:were|was|are|is) (?:not read|unread|unreadable|not readable)|ha(?:ve|s) no text)"
)
_IT = re.compile(
    r"(?:it|they|them|(?:this|that|the)(?: (?:one|document|file|pdf))?)", re.IGNORECASE
)
_CHAPTER = re.compile(r"(?:chapter|part)\s+\w", re.IGNORECASE)
_NUMBERED = re.compile(r"(?:\d+|[IVXLC]+)(?:[.:)]|\s)")


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
        phrase = (match.groupdict().get("doc") or "").strip()
        named = _named(phrase, documents, recent)
        if named and (text := answer(store, named, phrase)):
            about = tuple(named)
            return Answer(question, text, (), (), 1.0, False, None, "local", "", about=about)
    return None


def _named(
    phrase: str, documents: Sequence[Document], recent: Sequence[Document]
) -> list[Document]:
    if recent and _IT.fullmatch(phrase):
        return list(recent)
    return plainly_named(phrase, documents) if phrase else list(documents)


def _pages(store: Store, documents: list[Document], phrase: str) -> str:
    total = sum(document.n_pages for document in documents)
    if len(documents) > MAX_NAMED:
        return f"{len(documents)} documents, {total:,} pages together. {_WHICH}"
    lines = [f"{d.path.name} has {_count(d.n_pages, 'page')}." for d in documents]
    return "\n".join(lines + ([f"Together: {total:,} pages."] if len(lines) > 1 else []))


def _titles(store: Store, documents: list[Document], phrase: str) -> str:
    return _each(documents, lambda d: f"The title of {d.path.name} is “{d.title}”.")


def _outline(store: Store, documents: list[Document], phrase: str) -> str:
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


def _chapters(store: Store, documents: list[Document], phrase: str) -> str:
    """How many there are, where every document says so by numbering them."""
    counts = [(d.path.name, _n_chapters(store.outline(d.id))) for d in documents]
    if len(counts) > MAX_NAMED or not all(n for _, n in counts):
        return ""
    return "\n".join(f"{name} has {_count(n, 'numbered chapter')}." for name, n in counts)


def _n_chapters(outline: list[OutlineItem]) -> int:
    called = sum(bool(_CHAPTER.match(item.title)) for item in outline)
    top = sum(bool(_NUMBERED.match(item.title)) for item in outline if item.level == 0)
    return called or top


def _files(store: Store, documents: list[Document], phrase: str) -> str:
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


def _unread(store: Store, documents: list[Document], phrase: str) -> str:
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


_Tell = Callable[[Store, list[Document], str], str]
_PATTERNS: tuple[tuple[str, _Tell], ...] = (
    (rf"how many pages (?:does|do) {_DOC} (?:have|contain|comprise|run to)", _pages),
    (rf"how many pages (?:has|have) {_DOC}(?: got)?", _pages),
    (rf"how many pages (?:are there|there are|are){_OF}", _pages),
    (rf"how many pages (?:long )?(?:is|are) {_DOC}(?: long)?", _pages),
    (rf"how long {_IS} {_DOC} in pages", _pages),
    (rf"(?:what ?{_IS} )?the (?:number of pages|page count|page number count){_OF}", _pages),
    (rf"what ?{_IS} the titles? (?:of|in) {_DOC}", _titles),
    (rf"what ?{_IS} {_DOC} (?:called|titled|entitled)", _titles),
    (rf"(?:what|which) {_PARTS} (?:does|do) {_DOC} (?:have|contain|include|consist of)", _outline),
    (rf"(?:what|which) {_PARTS} (?:are there|are){_OF}", _outline),
    (rf"(?:what ?{_IS} )?(?:all )?the (?:{_PARTS}|outline|table of contents){_OF}", _outline),
    (rf"table of contents{_OF}", _outline),
    (rf"how {_IS} {_DOC} (?:structured|organi[sz]ed)", _outline),
    (rf"how many chapters (?:does|do) {_DOC} (?:have|contain)", _chapters),
    (rf"how many chapters (?:are there|are){_OF}", _chapters),
    (rf"(?:what|which|how many) {_FILES}{_HERE}", _files),
    (rf"(?:all |all of )?(?:the |my |your )?{_FILES}(?: in the (?:collection|library))?", _files),
    (rf"which pages{_OF} {_CANNOT}", _unread),
    (rf"(?:are|were) there (?:any )?(?:unread|unreadable) pages{_OF}", _unread),
    (rf"could (?:all|every) (?:the )?pages?{_OF} be read", _unread),
)
_SHAPES = [
    (re.compile(_LEAD + pattern + _END, re.IGNORECASE), answer) for pattern, answer in _PATTERNS
]
