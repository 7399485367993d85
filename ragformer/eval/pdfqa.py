"""The whole path on real PDFs: index a folder, then find, answer, refuse and cite.

    PDFs -> a library of its own, thrown away -> search and ask every question -> metrics

Every question is put twice: to the whole folder ("all/") and with its file given ("given/").
Questions of the tier "core" are scored; "unanswerable" and "vision" ones should be refused.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ragformer.answer.rerank import rerank
from ragformer.errors import InputError, PdfError
from ragformer.eval.cases import PdfCase, read_pdfqa, sample
from ragformer.eval.metrics import Metric, hit_at, mean_metric, token_f1
from ragformer.eval.result import make_result
from ragformer.library import Library, open_library
from ragformer.pdf.read import read_pdfs
from ragformer.retrieve.embed import Vectors
from ragformer.retrieve.retrieve import CANDIDATES, fuse_rankings, rank
from ragformer.store.vectors import VectorIndex
from ragformer.types import Answer, Report

HITS_AT = (1, 5, 10)
_MARK = re.compile(r"\s*\[\d+\]\s*$")

Place = tuple[str, int]
"""A document's id and a page of it."""

PageTexts = dict[tuple[str, Path, int], str]
"""By document id, path and page, the text of the page in the file as it lies there."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A question, what it brought, and where the right pages are.

    places: by each way of searching, the pages of the passages found, best first. verbatim: see
    `reread`.
    """

    case: PdfCase
    document_id: str
    places: dict[str, list[Place]]
    answer: Answer
    verbatim: tuple[bool, ...]

    @property
    def gold(self) -> set[Place]:
        return {(self.document_id, page) for page in self.case.pages}


def run(folder: Path, limit: int | None = None, seed: int = 0) -> dict[str, Any]:
    """Measure on a folder with pdfs/ and questions.jsonl; all PDFs are indexed whatever the limit.

    The models and the threshold are those the configuration names.
    """
    cases = sample(read_pdfqa(folder), limit, seed)
    if not cases:
        raise InputError(f"{folder} holds no question; check questions.jsonl")
    with TemporaryDirectory(prefix="ragformer-eval-") as home, open_library(home=home) as library:
        document_of = index_pdfs(library, folder / "pdfs")
        texts = read_again(library)
        metrics: dict[str, Metric] = {}
        for scope in ("all", "given"):
            outcomes = ask_cases(library, cases, document_of, texts, scope == "given")
            measured = {**search_metrics(outcomes, seed), **answer_metrics(outcomes, seed)}
            metrics |= {f"{scope}/{name}": metric for name, metric in measured.items()}
        models = {"encoder": library.encoder.id, "decoder": library.reader.id}
    return make_result("pdfqa", len(cases), metrics, models)


def index_pdfs(library: Library, folder: Path) -> dict[str, str]:
    """Index the PDFs; returns each file's document id. One that cannot be read is an InputError:
    questions on it would measure nothing."""
    *_, report = library.index([folder])
    assert isinstance(report, Report)
    for outcome in report.files:
        if outcome.document_id is None:
            raise InputError(f"{outcome.path} could not be read: {outcome.reason}")
    return {outcome.path.name: str(outcome.document_id) for outcome in report.files}


def read_again(library: Library) -> PageTexts:
    """Read and hash every indexed file anew, so that citations are not held against the store."""
    paths = [path for document in library.store.documents() for path in document.paths]
    texts: PageTexts = {}
    for path, read in read_pdfs(paths, workers=1):
        if isinstance(read, PdfError):
            raise read
        document_id = hashlib.sha256(path.read_bytes()).hexdigest()
        texts |= {(document_id, path, page.number): page.text for page in read.pages}
    return texts


def ask_cases(
    library: Library,
    cases: Sequence[PdfCase],
    document_of: dict[str, str],
    texts: PageTexts,
    given: bool,
) -> list[Outcome]:
    """Search and ask each question over the whole library, or with its file `given`."""
    index = VectorIndex.build(*library.store.vectors(library.encoder.id))
    questions_QD = library.encoder.encode_queries([case.question for case in cases])
    outcomes = []
    for case, vector_D in zip(cases, questions_QD, strict=True):
        document_id = document_of[case.pdf]
        only = [document_id] if given else None
        document = library.store.find(document_id)
        assert document is not None
        answer = library.ask(case.question, within=[document.path] if given else None)
        outcomes.append(
            Outcome(
                case,
                document_id,
                find_places(library, index, vector_D, case.question, only),
                answer,
                reread(answer, texts),
            )
        )
    return outcomes


def find_places(
    library: Library,
    index: VectorIndex,
    vector_D: Vectors,
    question: str,
    documents: list[str] | None,
) -> dict[str, list[Place]]:
    """The pages of the passages that words, vectors, both fused and reranking find, best first."""
    by_way = rank(library.store, index, vector_D, question, documents)
    rankings = {**by_way, "fused": fuse_rankings(by_way, CANDIDATES)}
    passages = {way: library.store.passages(hits) for way, hits in rankings.items()}
    passages["reranked"] = rerank(library.reader, question, passages["fused"])
    return {
        way: [(passage.document.id, span.page) for passage in found for span in passage.spans]
        for way, found in passages.items()
    }


def reread(answer: Answer, texts: PageTexts) -> tuple[bool, ...]:
    """Of each citation, whether its quote is verbatim; an answer without one counts as one not,
    unless it is about the documents themselves and quotes nothing.

    Verbatim: the file at its path has the bytes of its document, the span of its page holds the
    quote, and the answer shows it, on one line, in front of its mark.
    """
    if not (answer.citations or answer.abstained or answer.about):
        return (False,)
    return tuple(
        texts.get((c.document_id, c.path, c.page), "")[c.span.start : c.span.end] == c.quote
        and c.page == c.span.page
        and f"“{c.quote.replace(chr(10), ' ')}” [{c.mark}]" in answer.text
        for c in answer.citations
    )


def short_answer(answer: Answer) -> str:
    """What to compare with a gold: the first line without its mark; "" when refused."""
    first_line = answer.text.split("\n", 1)[0]
    return "" if answer.abstained else _MARK.sub("", first_line)


def search_metrics(outcomes: Sequence[Outcome], seed: int) -> dict[str, Metric]:
    """page@k and file@k of the core questions; without a way's name: reranked, as the product."""
    core = [one for one in outcomes if one.case.tier == "core"]
    metrics: dict[str, Metric] = {}
    for way in ("words", "vectors", "fused", "reranked") if core else ():
        files = [[document for document, _ in one.places[way]] for one in core]
        values = {
            f"page@{k}": [hit_at(one.places[way], one.gold, k) for one in core] for k in HITS_AT
        }
        values |= {
            f"file@{k}": [
                hit_at(found, {one.document_id}, k) for found, one in zip(files, core, strict=True)
            ]
            for k in HITS_AT
        }
        prefix = "" if way == "reranked" else f"{way}/"
        metrics |= {f"{prefix}{name}": mean_metric(row, seed) for name, row in values.items()}
    return metrics


def answer_metrics(outcomes: Sequence[Outcome], seed: int) -> dict[str, Metric]:
    """How the questions were answered; a metric without a question it is about is left out.

    f1, coverage: of core questions, a refused one scoring 0. cited_page: of the core questions
    answered, those whose first citation stands on a right page. refused, vision_refused: of the
    unanswerable, and of those on pictures. quotes_verbatim: of all citations (see `reread`).
    """
    by_tier: dict[str, list[Outcome]] = {"core": [], "unanswerable": [], "vision": []}
    for one in outcomes:
        by_tier.setdefault(one.case.tier, []).append(one)
    core = by_tier["core"]
    values = {
        "f1": [token_f1(short_answer(one.answer), one.case.golds) for one in core],
        "coverage": [float(not one.answer.abstained) for one in core],
        "cited_page": [float(_cites_gold(one)) for one in core if not one.answer.abstained],
        "refused": [float(one.answer.abstained) for one in by_tier["unanswerable"]],
        "vision_refused": [float(one.answer.abstained) for one in by_tier["vision"]],
        "quotes_verbatim": [float(same) for one in outcomes for same in one.verbatim],
    }
    return {name: mean_metric(row, seed) for name, row in values.items() if row}


def _cites_gold(one: Outcome) -> bool:
    places = [(citation.document_id, citation.page) for citation in one.answer.citations[:1]]
    return not one.gold.isdisjoint(places)
