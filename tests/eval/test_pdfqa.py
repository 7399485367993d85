"""The whole path over made PDFs: found on the right page, cited verbatim, refused when unsure."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ragformer.answer.confidence import FEATURES, Confidence
from ragformer.errors import InputError
from ragformer.eval import pdfqa
from ragformer.eval.cases import PdfCase, read_pdfqa
from ragformer.library import open_library
from ragformer.types import Answer, Citation, Span

PAGES = {
    "animals.pdf": ["The otter swims at night.", "The falcon dives at dawn.", "Bees dance."],
    "plants.pdf": ["The oak grows slowly.", "The nettle stings the gardener."],
}
QUESTIONS = [
    {"id": "a", "pdf": "animals.pdf", "question": "When does the falcon dive?", "answer": "dawn",
     "pages": [2], "tier": "core", "answerable": True},
    {"id": "b", "pdf": "plants.pdf", "question": "Whom does the nettle sting?",
     "answer": "the gardener", "pages": [2], "tier": "core", "answerable": True},
    {"id": "c", "pdf": "plants.pdf", "question": "Who sells the oak?", "answer": "", "pages": [],
     "tier": "unanswerable", "answerable": False},
    {"id": "d", "pdf": "animals.pdf", "question": "What colour is the bee in the picture?",
     "answer": "red", "pages": [3], "tier": "vision", "answerable": True},
]  # fmt: skip


@pytest.fixture
def use_models(
    home: Path, tiny_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[float], None]:
    """use_models(threshold): the tiny models, sure of everything by half."""

    def use(threshold: float) -> None:
        folder = tmp_path / f"models-{threshold}"
        shutil.copytree(tiny_models, folder)
        json_text = Confidence(0.0, (0.0,) * len(FEATURES), threshold).to_json()
        (folder / "decoder" / "confidence.json").write_text(json_text)
        monkeypatch.setenv("RAGFORMER_MODELS", str(folder))

    return use


@pytest.fixture
def folder(write_pdf: Callable[..., Path], tmp_path: Path) -> Path:
    for name, texts in PAGES.items():
        write_pdf(name, *texts)
    (tmp_path / "docs").rename(tmp_path / "pdfs")
    (tmp_path / "questions.jsonl").write_text("\n".join(map(json.dumps, QUESTIONS)))
    return tmp_path


SEARCH = {f"{way}{name}" for way in ("", "words/", "vectors/", "fused/")
          for name in (f"{kind}@{k}" for kind in ("page", "file") for k in (1, 5, 10))}  # fmt: skip
ANSWERS = {"f1", "coverage", "cited_page", "refused", "vision_refused", "quotes_verbatim"}


def test_every_question_is_put_to_all_files_and_to_its_own(folder, use_models):
    use_models(0.4)  # answers everything
    result = pdfqa.run(folder)
    values = {name: metric["value"] for name, metric in result["metrics"].items()}
    assert set(values) == {f"{scope}/{n}" for scope in ("all", "given") for n in SEARCH | ANSWERS}
    assert result["n"] == 4
    assert set(result["models"]) == {"encoder", "decoder"}
    for scope in ("all", "given"):
        assert values[f"{scope}/quotes_verbatim"] == 1
        assert values[f"{scope}/coverage"] == 1
        assert values[f"{scope}/refused"] == values[f"{scope}/vision_refused"] == 0
        assert values[f"{scope}/page@1"] == values[f"{scope}/words/page@1"] == 1
        pages = [values[f"{scope}/vectors/page@{k}"] for k in (1, 5, 10)]
        assert pages == sorted(pages)
    assert values["all/file@1"] == values["given/vectors/file@1"] == 1
    assert values["given/vectors/page@5"] == 1  # no file has more pages than that


def test_a_threshold_above_every_confidence_refuses_all(folder, use_models):
    use_models(0.6)
    values = {name: m["value"] for name, m in pdfqa.run(folder)["metrics"].items()}
    assert values["all/coverage"] == values["all/f1"] == 0
    assert values["all/refused"] == values["all/vision_refused"] == 1
    assert "all/quotes_verbatim" not in values  # there is nothing to re-read
    assert "all/cited_page" not in values


def test_a_citation_that_does_not_reread_is_found_out(folder, use_models, tmp_path):
    use_models(0.4)
    with open_library(home=tmp_path / "other") as library:
        document_of = pdfqa.index_pdfs(library, folder / "pdfs")
        assert set(document_of) == set(PAGES)
        texts = pdfqa.read_again(library)
        cases = read_pdfqa(folder)[:1]
        outcome = pdfqa.ask_cases(library, cases, document_of, texts, given=True)[0]
        assert outcome.verbatim == (True,)
        good = outcome.answer.citations[0]
        other = next(page for page in (1, 2, 3) if page != good.page)
        shifted = Span(good.page, good.span.start + 1, good.span.end + 1)
        bad = [
            dataclasses.replace(good, quote=good.quote + "?"),
            dataclasses.replace(good, span=shifted),
            dataclasses.replace(good, page=other),
            dataclasses.replace(good, span=Span(other, good.span.start, good.span.end)),
            dataclasses.replace(good, path=folder / "pdfs" / "plants.pdf"),
            dataclasses.replace(good, document_id=document_of["plants.pdf"]),
            dataclasses.replace(good, mark=good.mark + 1),  # not the mark that is shown
        ]
        answer = dataclasses.replace(outcome.answer, citations=(good, *bad))
        assert pdfqa.reread(answer, texts) == (True, *[False] * len(bad))
        wrong = dataclasses.replace(outcome.answer, text=outcome.answer.text.replace("“", "“So "))
        assert pdfqa.reread(wrong, texts) == (False,)
        uncited = dataclasses.replace(outcome.answer, citations=())
        assert pdfqa.reread(uncited, texts) == (False,)
        assert pdfqa.reread(dataclasses.replace(uncited, abstained=True), texts) == ()
        about = tuple(library.store.documents())
        assert pdfqa.reread(dataclasses.replace(uncited, about=about), texts) == ()


def test_a_file_that_is_no_longer_the_one_cited_does_not_reread(folder, use_models, tmp_path):
    use_models(0.4)
    with open_library(home=tmp_path / "other") as library:
        document_of = pdfqa.index_pdfs(library, folder / "pdfs")
        with (folder / "pdfs" / "animals.pdf").open("ab") as file:
            file.write(b"\n")  # the same pages, other bytes
        texts = pdfqa.read_again(library)
        cases = read_pdfqa(folder)[:2]
        outcomes = pdfqa.ask_cases(library, cases, document_of, texts, given=True)
    assert [one.verbatim for one in outcomes] == [(False,), (True,)]


def test_a_file_that_cannot_be_read_stops_the_measuring(folder, use_models):
    use_models(0.4)
    (folder / "pdfs" / "broken.pdf").write_bytes(b"not a PDF")
    with pytest.raises(InputError, match=r"broken\.pdf could not be read"):
        pdfqa.run(folder)
    (folder / "questions.jsonl").write_text("")
    with pytest.raises(InputError, match="holds no question"):
        pdfqa.run(folder)


def answer(text: str, pages: list[int] = [], abstained: bool = False) -> Answer:  # noqa: B006
    cited = tuple(
        Citation(n, "doc", Path("a.pdf"), page, "", Span(page, 0, 1), "x", (), True)
        for n, page in enumerate(pages, start=1)
    )
    reason = "low_confidence" if abstained else None
    return Answer("?", text, cited, (), 0.5, abstained, reason, "local", "m")


def outcome(
    tier: str, given_answer: Answer, places: list[int], document: str = "doc"
) -> pdfqa.Outcome:
    golds = ("thirty days",) if tier != "unanswerable" else ()
    case = PdfCase("1", "a.pdf", "?", golds, (3, 4), tier)
    ways = ("words", "vectors", "fused", "reranked")
    by_way = {way: [(document, page) for page in places] for way in ways}
    return pdfqa.Outcome(case, "doc", by_way, given_answer, (True,) * len(given_answer.citations))


def test_metrics_by_hand():
    outcomes = [
        outcome("core", answer("thirty days [2]\n\n“In thirty days.”\na.pdf", [3, 9]), [9, 9, 4]),
        outcome("core", answer("thirty [1]\n\n“Thirty.”\na.pdf", [9, 3]), [1, 2]),
        outcome("core", answer("That is not in your documents.", abstained=True), [3]),
        outcome("unanswerable", answer("No.", abstained=True), []),
        outcome("unanswerable", answer("x [1]\n", [1]), []),
        outcome("vision", answer("No.", abstained=True), []),
    ]
    found = {n: metric.value for n, metric in pdfqa.answer_metrics(outcomes, 0).items()}
    assert found == {
        "f1": pytest.approx((1 + 2 / 3) / 3),
        "coverage": pytest.approx(2 / 3),
        "cited_page": 0.5,
        "refused": 0.5,
        "vision_refused": 1,
        "quotes_verbatim": 1,
    }
    search = {name: metric.value for name, metric in pdfqa.search_metrics(outcomes, 0).items()}
    assert search["page@1"] == search["words/page@1"] == pytest.approx(1 / 3)
    assert search["page@5"] == pytest.approx(2 / 3)  # page 9 counts once
    assert search["file@1"] == 1
    elsewhere = outcome("core", answer("x"), [3], "other")
    elsewhere.places["words"] += [("doc", 1)]
    files = pdfqa.search_metrics([elsewhere, *outcomes], 0)
    assert files["words/file@1"].value == files["file@10"].value == pytest.approx(3 / 4)
    assert files["words/file@5"].value == 1
    assert pdfqa.search_metrics(outcomes[3:], 0) == {}
