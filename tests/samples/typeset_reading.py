"""Typeset a reading file as PDFs with questions, the folder that `ragformer eval pdfqa` measures.

    python tests/samples/typeset_reading.py READING FOLDER [--articles N] [--questions N] [--seed S]

    rows -> N articles -> pdfs/*.pdf -> read back: the pages of each answer -> N questions

An article is all distinct contexts of one title, one after the other. Its pages are read back and
must hold, white space aside, exactly what was set; the right pages of a question are those where
the sentence of its answer stands. Left out and counted: paragraphs with characters that the fonts
built into PDF do not have, with their questions, and questions whose answer is not in their
paragraph. An unanswerable question stays one, though it was asked of a single paragraph.
The same arguments give the same bytes.
"""

from __future__ import annotations

import argparse
import json
import re
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pypdfium2 as pdfium
from markup import Look
from pages import COLUMN, Book, footer, template
from reportlab.platypus import Paragraph

from ragformer.errors import InputError
from ragformer.eval.cases import sample
from ragformer.text.jsonl import read_jsonl
from ragformer.text.sentences import sentence_spans

Row = dict[str, Any]


def bare(text: str) -> str:
    """`text` without white space, which line and page breaks change."""
    return "".join(text.split())


def drawable(text: str) -> bool:
    """Whether the fonts built into PDF have all of its characters."""
    try:
        text.encode("cp1252")
    except UnicodeEncodeError:
        return False
    return all(character.isprintable() or character.isspace() for character in text)


def title_of(row: Row) -> str:
    return row.get("title") or "Untitled"


def evidence_of(row: Row) -> tuple[str, int, int] | None:
    """The answer most given (ties: the first), and start and end of the sentences it touches.

    None if it does not stand in the context.
    """
    (text, _), *_ = Counter(answer["text"] for answer in row["answers"]).most_common(1)
    given = next(answer for answer in row["answers"] if answer["text"] == text)
    start = given.get("start", row["context"].find(text))
    end = start + len(text)
    if start < 0 or not text.strip() or row["context"][start:end] != text:
        return None
    touched = [(a, b) for a, b in sentence_spans(row["context"]) if a < end and b > start]
    return text, touched[0][0], touched[-1][1]


def typeset(rows: Sequence[Row], path: Path) -> list[Row]:
    """Set the article that the rows are about; returns them as questions on it."""
    title, look = title_of(rows[0]), Look(COLUMN)
    texts = list(dict.fromkeys(row["context"] for row in rows))
    book = Book(path, title)
    book.addPageTemplates([template("page", footer(title))])
    body = [Paragraph(escape(text), look.body()) for text in texts]
    book.build([Paragraph(escape(title), look.heading(1)), *body])
    pages = read_back(path, title)
    if "".join(pages) != bare("".join((title, *texts))):
        raise InputError(f"{path.name} does not read back as it was set; leave {title} out")
    page_ends = list(accumulate(map(len, pages)))
    starts = dict(zip(texts, accumulate(map(len, map(bare, (title, *texts)))), strict=False))
    asked = (question(row, page_ends, starts[row["context"]]) for row in rows)
    return [{**row, "pdf": path.name} for row in asked if row]


def read_back(path: Path, title: str) -> list[str]:
    """The bare text of every page as a reader gets it, without the foot."""
    with pdfium.PdfDocument(path) as document:
        raw = [page.get_textpage().get_text_range() for page in document]
    texts = [bare(text.replace("\ufffe", "-")) for text in raw]  # pdfium's hyphen at a line end
    return [text.removeprefix(f"{bare(title)}{number}") for number, text in enumerate(texts, 1)]


def question(row: Row, page_ends: Sequence[int], before: int) -> Row | None:
    """The row as a question on its article, None if its answer is not in its paragraph.

    page_ends: bare characters up to the end of each page. before: up to the row's paragraph.
    """
    asked = {"id": row["id"], "question": row["question"]}
    if not row.get("answerable", bool(row["answers"])):
        return {**asked, "answer": "", "pages": [], "evidence": "", "answerable": False}
    if not row["answers"] or (found := evidence_of(row)) is None:
        return None
    answer, start, end = found
    evidence = row["context"][start:end]
    first = before + len(bare(row["context"][:start]))
    last = first + len(bare(evidence)) - 1
    pages = range(bisect_right(page_ends, first) + 1, bisect_right(page_ends, last) + 2)
    found_on = {"answer": answer, "pages": list(pages), "evidence": evidence}
    return {**asked, **found_on, "answerable": True}


def read_rows(path: Path) -> list[Row]:
    needed = ("id", "context", "question", "answers")
    rows = list(read_jsonl(path))
    if any(key not in row for row in rows for key in needed):
        raise InputError(f"{path} has a row without {' or '.join(needed)}; has it this form?")
    return rows


def make(reading: Path, folder: Path, n_articles: int, n_questions: int, seed: int) -> str:
    """Write pdfs/ and questions.jsonl into `folder`; returns what was made and what left out."""
    rows = read_rows(reading)
    titles = set(sample(list(dict.fromkeys(map(title_of, rows))), n_articles, seed))
    rows = [row for row in rows if title_of(row) in titles]
    by_title: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if drawable(title_of(row) + row["context"]):
            by_title[title_of(row)].append(row)
    (folder / "pdfs").mkdir(parents=True)
    asked: list[Row] = []
    for number, (title, about) in enumerate(by_title.items(), 1):
        slug = re.sub(r"[^A-Za-z0-9]+", "-", title)[:60].strip("-")
        asked += typeset(about, folder / "pdfs" / f"{number:03}-{slug}.pdf")
    chosen = sample(asked, n_questions, seed)
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in chosen]
    (folder / "questions.jsonl").write_text("".join(lines), encoding="utf-8")
    contexts = {(title_of(row), row["context"]) for row in rows}
    kept = {(title, row["context"]) for title, about in by_title.items() for row in about}
    n_kept = sum(map(len, by_title.values()))
    return (
        f"{len(chosen)} questions, sampled from {len(asked)} on {len(by_title)} articles of "
        f"{len(kept)} paragraphs\nleft out: {len(contexts - kept)} paragraphs with characters the "
        f"fonts do not have, with their {len(rows) - n_kept} questions; {n_kept - len(asked)} "
        "questions whose answer is not in their paragraph"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reading", type=Path, help="a reading file, .jsonl or .jsonl.xz")
    parser.add_argument("folder", type=Path, help="where to write; a new folder")
    parser.add_argument("--articles", type=int, default=20, metavar="N")
    parser.add_argument("--questions", type=int, default=500, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="S")
    given = parser.parse_args()
    if given.folder.exists() and any(given.folder.iterdir()):
        parser.error(f"{given.folder} is not empty; name a new folder, all PDFs in it are measured")
    try:
        print(make(given.reading, given.folder, given.articles, given.questions, given.seed))
    except InputError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
