"""Which documents a few words of a question mean: by file name, by title, or by what they are."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ragformer.text.overlap import stem
from ragformer.text.words import STOP_WORDS
from ragformer.types import Document

# What any document may be called.
_KINDS = """
    8k 10k 10q agreement article book booklet brochure catalog catalogue collection contract
    datasheet document documentation ebook file folder guide guidebook guideline handbook invoice
    law leaflet lease letter library manifesto manual memo newsletter pamphlet paper pdf policy
    prospectus protocol publication regulation report statute study syllabus text textbook thesis
    transcript tutorial whitepaper work
"""
_WORD = re.compile(r"[^\W_]+")
_FORM_NUMBER = re.compile(r"\b(\d{1,2})-([A-Za-z])\b")  # a 10-K is a 10K in most file names
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")  # MonadManifesto.pdf


def named_documents(phrase: str, documents: Sequence[Document]) -> list[Document]:
    """Those of the documents that `phrase` names, in their order; none when it names none.

    Every word that says something has to stand in the name of one file or in its title ("the
    ferries report", "manual.pdf"). A file of exactly that name wins. A phrase that only says what
    a document is ("this contract", "the PDFs") means those with that word in their names and, if
    there are none, all.
    """
    exact = [d for d in documents if _plain(phrase) in _file_names(d)]
    if exact or not documents or _plain(phrase).endswith(".pdf"):
        return exact
    said = [stem(word) for word in _words(phrase) if word not in STOP_WORDS]
    wanted = {word for word in said if word not in _KIND_STEMS}
    names = {document.id: _name_stems(document) for document in documents}
    if not wanted:
        kinds = {word for word in said if word not in _ANY_STEMS}
        named = [d for d in documents if kinds and kinds <= names[d.id]]
        return named or list(documents)
    full = [d for d in documents if set(said) - _ANY_STEMS <= names[d.id]]
    return full or [d for d in documents if wanted <= names[d.id]]


def plainly_named(phrase: str, documents: Sequence[Document]) -> list[Document]:
    """As `named_documents`, less where the words may mean a thing: "the machine" is no manual.

    That takes a word for what a document is, a file's own name, or most of a title. "The law" means
    documents not so named only as "this law", or where there is one document, whose name does not
    say what it is: the law that a handbook speaks of is not the handbook.
    """
    named = named_documents(phrase, documents)
    said = _said(phrase)
    if said <= _ANY_STEMS:
        return named
    if said <= _KIND_STEMS:
        return [d for d in named if _may_be_called(phrase, said, d, len(documents) == 1)]
    return [d for d in named if said & _KIND_STEMS or _is_name(phrase, said, d)]


def surely_named(phrase: str, documents: Sequence[Document]) -> list[Document]:
    """As `plainly_named`, where a thing is likelier meant: "how is the library organised?"

    That takes a file name with its ".pdf", "document" and the like, or a word for what a document
    is that stands in the name of this one.
    """
    said = _said(phrase)
    if _plain(phrase).endswith(".pdf") or said & _FILE_STEMS:
        return plainly_named(phrase, documents)
    kinds = said & _KIND_STEMS - _ANY_STEMS
    return [d for d in plainly_named(phrase, documents) if kinds & _name_stems(d)]


def _may_be_called(phrase: str, kinds: set[str], document: Document, alone: bool) -> bool:
    """Whether words that only say what a document is mean this one."""
    named = _name_stems(document) & _KIND_STEMS
    pointed = phrase.casefold().startswith("this ")
    return pointed or not kinds.isdisjoint(named) or (alone and not named)


def _said(phrase: str) -> set[str]:
    return {stem(word) for word in _words(phrase) if word not in STOP_WORDS}


def _is_name(phrase: str, said: set[str], document: Document) -> bool:
    """Whether it is the file's name, or more than half of the title up to its first colon."""
    if _plain(phrase) in _file_names(document):
        return True
    title = {stem(word) for word in _words(re.split("[:;–—]", document.title)[0])}
    return 2 * len(said & title) > len(title)


def _plain(phrase: str) -> str:
    return phrase.strip("\"'“”‘’ ").casefold().removeprefix("the ")


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(_FORM_NUMBER.sub(r"\1\2", text))]


def _file_names(document: Document) -> set[str]:
    return {name.casefold() for path in document.paths for name in (path.name, path.stem)}


def _name_stems(document: Document) -> set[str]:
    stems = [path.stem for path in document.paths]
    names = " ".join([document.title, *stems, *(_CAMEL.sub(" ", name) for name in stems)])
    return set(map(stem, _words(names)))


_KIND_STEMS = frozenset(map(stem, _KINDS.split()))
_FILE_STEMS = frozenset(map(stem, ("document", "file", "pdf")))
_ANY_STEMS = _FILE_STEMS | frozenset(map(stem, ("collection", "folder", "library")))
