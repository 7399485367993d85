"""The questions we measure with, read from their files:

    reading    a file: question, context (or passages), answers
    retrieval  a folder corpus / queries / qrels; a reading file; a pairs file: query, positive;
               or a ReQA file and its corpus
    pdfqa      a folder: pdfs/ and questions.jsonl

Every file may also end in .xz.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ragformer.errors import InputError
from ragformer.text.heldout import is_held_out
from ragformer.text.jsonl import read_jsonl, read_lines

HELD_OUT_CORPUS = 20_000

Case = TypeVar("Case")


@dataclass(frozen=True, slots=True)
class ReadingCase:
    """A question with what to read, (title, text) each; no golds when it has no answer there.

    scores: how well search by words and vectors likes each source, 0 to 1; empty where the
    sources were not searched for.
    """

    id: str
    question: str
    sources: tuple[tuple[str, str], ...]
    golds: tuple[str, ...]
    gold_sources: tuple[int, ...] = (0,)
    scores: tuple[float, ...] = ()

    @property
    def answerable(self) -> bool:
        return bool(self.golds)


@dataclass(frozen=True, slots=True)
class CorpusItem:
    """Something to find."""

    id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class RetrievalCase:
    """A question and the corpus ids that are right, each with its grade above 0."""

    id: str
    question: str
    grades: dict[str, int]


@dataclass(frozen=True, slots=True)
class RetrievalSet:
    corpus: tuple[CorpusItem, ...]
    cases: tuple[RetrievalCase, ...]


@dataclass(frozen=True, slots=True)
class PdfCase:
    """A question to a folder of PDFs. Any of `pages` (from 1) is right.

    tier: "core" is scored; "unanswerable" should be refused; "vision" stands in a picture.
    """

    id: str
    pdf: str
    question: str
    golds: tuple[str, ...]
    pages: tuple[int, ...]
    tier: str


def sample(cases: Sequence[Case], limit: int | None, seed: int) -> list[Case]:
    """At most `limit` of the cases, in their order; the same ones for the same seed."""
    if limit is None or limit >= len(cases):
        return list(cases)
    if limit < 1:
        raise InputError(f"a limit of {limit} leaves nothing to measure; give 1 or more")
    chosen = sorted(random.Random(seed).sample(range(len(cases)), limit))
    return [cases[index] for index in chosen]


def read_reading(path: Path) -> list[ReadingCase]:
    """A reading file: {"id","question","answers","answerable"} and "context" or "passages"."""
    cases: list[ReadingCase] = []
    for row in _rows(path, "question", "answers"):
        for answer in row["answers"]:
            _require(answer, dict, f"{path} has a row of which an answer")
        golds = tuple(str(answer["text"]) for answer in row["answers"] if answer["text"])
        sources, gold_sources = _sources(row, path)
        answerable = row.get("answerable", bool(golds))
        if answerable and not golds:
            continue  # nothing to compare an answer with
        if not answerable:
            golds, gold_sources = (), ()
        key = str(row.get("id", len(cases)))
        cases.append(ReadingCase(key, row["question"], sources, golds, gold_sources))
    return cases


def held_out_cases(cases: Sequence[ReadingCase]) -> list[ReadingCase]:
    """The questions on titles or passages that are held out of training."""
    kept = [case for case in cases if any(is_held_out(*source) for source in case.sources)]
    if not kept:
        raise InputError(f"none of the {len(cases)} questions is held out of training")
    return kept


def _sources(
    row: dict[str, Any], path: Path
) -> tuple[tuple[tuple[str, str], ...], tuple[int, ...]]:
    """What there is to read, and which of it holds the answer."""
    if "passages" in row:
        passages = row["passages"]
        _require(passages, list, f"{path} has a row whose passages")
        for passage in passages:
            _require(passage, dict, f"{path} has a row of which a passage")
            _require(passage["text"], str, f"{path} has a row of which a passage's text")
        gold = tuple(index for index, passage in enumerate(passages) if passage.get("gold"))
        return tuple((p.get("title", ""), p["text"]) for p in passages), gold
    if "context" not in row:
        raise InputError(f"{path} has a row with neither a context nor passages")
    _require(row["context"], str, f"{path} has a row whose context")
    return ((row.get("title", ""), row["context"]),), (0,)


def read_retrieval(path: Path, corpora: Sequence[Path] = ()) -> RetrievalSet:
    """A folder, a reading file, a pairs file, or a ReQA file with its corpus.

    corpora: of a ReQA file, the one its positive_ids are of; of a reading or pairs file, more such
    files whose passages are searched too.
    """
    if path.is_dir():
        if corpora:
            raise InputError(f"{path} brings its own corpus; leave out {corpora[0]}")
        found = _read_folder(path)
    elif corpora and "positive_ids" in next(read_jsonl(path), {}):
        if len(corpora) > 1:
            raise InputError(f"{path} is of one corpus, not {len(corpora)}; give one")
        found = _read_reqa(path, corpora[0])
    else:
        found = _from_passages(path, corpora)
    if not found.cases:
        raise InputError(f"{path} holds no question with something to find; check the file")
    return found


def held_out_part(found: RetrievalSet, most: int = HELD_OUT_CORPUS) -> RetrievalSet:
    """The questions all of whose right passages are held out of training.

    Their passages and, up to `most` in all, a random part of the others are the corpus.
    """
    held = {item.id for item in found.corpus if is_held_out(item.title or item.text)}
    cases = tuple(case for case in found.cases if held.issuperset(case.grades))
    if not cases:
        raise InputError(f"none of the {len(found.cases)} questions is held out of training")
    gold = {key for case in cases for key in case.grades}
    others = [item.id for item in found.corpus if item.id not in gold]
    random.Random(0).shuffle(others)
    kept = gold.union(others[: max(0, most - len(gold))])
    return RetrievalSet(tuple(item for item in found.corpus if item.id in kept), cases)


def _read_folder(folder: Path) -> RetrievalSet:
    """corpus.jsonl, queries.jsonl and qrels.tsv (query id, corpus id, grade; a head line)."""
    grades: dict[str, dict[str, int]] = {}
    qrels = _plain_or_packed(folder, "qrels.tsv")
    for number, line in read_lines(qrels):
        query, key, grade = _qrel(line, f"{qrels} line {number}")
        if grade.lstrip("-").isdigit() and int(grade) > 0:
            grades.setdefault(query, {})[key] = int(grade)
        elif number > 1 and not grade.lstrip("-").isdigit():
            raise InputError(f"{qrels} line {number} has the grade {grade}, not a whole number")
    corpus = _rows(_plain_or_packed(folder, "corpus.jsonl"), "_id", "text")
    queries = _rows(_plain_or_packed(folder, "queries.jsonl"), "_id", "text")
    return RetrievalSet(
        tuple(CorpusItem(str(r["_id"]), r.get("title") or "", r["text"]) for r in corpus),
        tuple(
            RetrievalCase(str(row["_id"]), row["text"], grades[str(row["_id"])])
            for row in queries
            if str(row["_id"]) in grades
        ),
    )


def _qrel(line: str, place: str) -> tuple[str, str, str]:
    parts = line.split("\t") if "\t" in line else line.split()
    if len(parts) == 4:  # as TREC writes them: query, 0, document, grade
        del parts[1]
    if len(parts) != 3:
        raise InputError(f"{place} has {len(parts)} columns, not query id, corpus id and grade")
    query, key, grade = (part.strip() for part in parts)
    return query, key, grade


_Asked = tuple[str, str, Sequence[tuple[str, str]], Sequence[int]]
"""An id, a question, its passages as (title, text), and which of them are right."""


def _from_passages(path: Path, more: Sequence[Path]) -> RetrievalSet:
    """Distinct passages of all the files are the corpus; a question's own are right.

    Unanswerable questions are left out: nothing is right for them.
    """
    number: dict[tuple[str, str], str] = {}
    cases = []
    for key, question, sources, gold in _asked(path):
        keys = [number.setdefault(source, str(len(number))) for source in sources]
        grades = {keys[index]: 1 for index in gold}
        if grades:
            cases.append(RetrievalCase(key, question, grades))
    for file in more:
        for _, _, sources, _ in _asked(file):
            for source in sources:
                number.setdefault(source, str(len(number)))
    corpus = (CorpusItem(key, title, text) for (title, text), key in number.items())
    return RetrievalSet(tuple(corpus), tuple(cases))


def _asked(path: Path) -> Iterator[_Asked]:
    if "positive" not in next(read_jsonl(path), {}):
        for case in read_reading(path):
            yield case.id, case.question, case.sources, case.gold_sources
        return
    positives_of: dict[str, list[tuple[str, str]]] = {}
    for row in _rows(path, "query", "positive"):
        positives_of.setdefault(row["query"], []).append(("", row["positive"]))
    for index, (query, positives) in enumerate(positives_of.items()):
        yield str(index), query, positives, range(len(positives))


def _read_reqa(path: Path, corpus: Path) -> RetrievalSet:
    items = _rows(corpus, "id", "text")
    return RetrievalSet(
        tuple(CorpusItem(str(row["id"]), row.get("title", ""), row["text"]) for row in items),
        tuple(
            RetrievalCase(str(index), row["query"], {str(key): 1 for key in row["positive_ids"]})
            for index, row in enumerate(_rows(path, "query", "positive_ids"))
            if row["positive_ids"]
        ),
    )


def read_pdfqa(folder: Path) -> list[PdfCase]:
    """The questions of a folder whose PDFs lie in pdfs/."""
    cases: list[PdfCase] = []
    for row in _rows(_plain_or_packed(folder, "questions.jsonl"), "pdf", "question"):
        if not (folder / "pdfs" / row["pdf"]).is_file():
            raise InputError(f"there is no {folder / 'pdfs' / row['pdf']}, which a question is on")
        answerable = row.get("answerable", True)
        cases.append(
            PdfCase(
                str(row.get("id", len(cases))),
                row["pdf"],
                row["question"],
                pdf_golds(row.get("answer", "")) if answerable else (),
                tuple(row.get("pages") or ()),
                row.get("tier") or ("core" if answerable else "unanswerable"),
            )
        )
    return cases


def pdf_golds(answer: str | list[str]) -> tuple[str, ...]:
    """The answer as golds; a list, or one written as Python writes it, is one gold in a row."""
    if isinstance(answer, str) and answer.startswith("["):
        try:
            answer = [str(part) for part in ast.literal_eval(answer)]
        except (ValueError, SyntaxError):
            return (str(answer),)
    joined = answer if isinstance(answer, str) else ", ".join(answer)
    return (joined,) if joined else ()


def _plain_or_packed(folder: Path, name: str) -> Path:
    packed = folder / f"{name}.xz"
    return packed if packed.is_file() else folder / name


def _rows(path: Path, *needed: str) -> Iterator[dict[str, Any]]:
    for row in read_jsonl(path):
        missing = [key for key in needed if key not in row]
        if missing:
            raise InputError(f"{path} has a row without {' and '.join(missing)}; has it this form?")
        for key in needed:
            _require(row[key], _KINDS.get(key, str), f"{path} has a row whose {key}")
        yield row


_KINDS: dict[str, type] = {"answers": list, "positive_ids": list, "_id": object, "id": object}
"""Of fields that are no text."""
_NAMES: dict[type, str] = {list: "a list", dict: "an object with a text", str: "text"}


def _require(value: object, kind: type, whose: str) -> None:
    if not isinstance(value, kind) or (isinstance(value, dict) and "text" not in value):
        raise InputError(f"{whose} is {str(value)[:40]!r}, not {_NAMES[kind]}")
