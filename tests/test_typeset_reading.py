"""A reading file typeset: every answer's sentence stands on the pages the question names."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pypdfium2 as pdfium
import pytest

from ragformer.eval.cases import read_pdfqa

SCRIPT = Path(__file__).parent / "samples" / "typeset_reading.py"
Row = dict[str, Any]


def long_paragraph(n: int) -> str:
    """n sentences of several lines: some break over pages, some "-" stand at the end of a line."""
    return " ".join(
        f"On day {day} the keeper of the lighthouse at Brennock counted {day + 1000} terns, noted"
        " the four- or five-o'clock wind & the tide in her grey book, trimmed the lamp, went down"
        " to the boathouse and went to sleep behind the stove until the evening watch."
        for day in range(n)
    )


def row(key: str, title: str, context: str, question: str, answer: str) -> Row:
    answers = [{"text": answer, "start": context.index(answer)}] if answer else []
    return {"id": key, "title": title, "context": context, "question": question,
            "answers": answers, "answerable": bool(answer)}  # fmt: skip


DAYS = 90
TERNS = long_paragraph(DAYS)
OTTERS = "Otters swim. They <sleep> in holts *and* dens, said Mr. Ash. They eat fish."
ROWS = [
    *(row(f"t{d}", "Terns", TERNS, f"How many on day {d}?", str(d + 1000)) for d in range(DAYS)),
    row("o1", "Otters / and  others", OTTERS, "Where do they sleep?", "holts *and* dens"),
    row("o2", "Otters / and  others", OTTERS, "Who feeds them?", ""),
    row("o3", "Otters / and  others", "Ōtsu has none. Greek: λ.", "Where are none?", "Ōtsu"),
    row("o4", "Otters / and  others", OTTERS, "What is said?", "fish")
    | {"answers": [{"text": "They like fish"}]},
]


def typeset(folder: Path, *options: str, rows: list[Row] = ROWS) -> str:
    reading = folder.with_suffix(".jsonl")
    reading.write_text("\n".join(map(json.dumps, rows)))
    command = [sys.executable, SCRIPT, reading, folder, *options]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def questions(folder: Path) -> list[Row]:
    lines = (folder / "questions.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def bare(text: str) -> str:
    return "".join(text.split()).replace("\ufffe", "-")  # pdfium's hyphen at a line end


@pytest.fixture(scope="module")
def typeset_all(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("typeset") / "all"
    return folder, typeset(folder)


def test_the_sentence_of_every_answer_is_read_back_from_its_pages(typeset_all) -> None:
    folder, _ = typeset_all
    texts: dict[tuple[str, int], str] = {}
    for path in (folder / "pdfs").iterdir():
        with pdfium.PdfDocument(path) as document:
            for number, page in enumerate(document, 1):
                texts[path.name, number] = bare(page.get_textpage().get_text_range())
    broken = 0
    for asked in filter(lambda asked: asked["answerable"], questions(folder)):
        evidence = bare(asked["evidence"])
        assert bare(asked["answer"]) in evidence
        holding = [
            n for (pdf, n), text in texts.items() if pdf == asked["pdf"] and evidence in text
        ]
        if holding:
            assert asked["pages"] == holding
            continue
        broken += 1
        first, second = asked["pages"]
        assert second == first + 1
        on_first, on_second = texts[asked["pdf"], first], texts[asked["pdf"], second]
        assert any(
            evidence[:k] in on_first and evidence[k:] in on_second for k in range(1, len(evidence))
        )
    assert broken, "no sentence breaks over a page, so that case is not tried"
    assert len(texts) > 4


def test_what_cannot_be_set_or_found_is_left_out_and_counted(typeset_all) -> None:
    folder, said = typeset_all
    assert [asked["id"] for asked in questions(folder)][-2:] == ["o1", "o2"]
    assert len(questions(folder)) == DAYS + 2
    assert f"{DAYS + 2} questions, sampled from {DAYS + 2} on 2 articles of 2 paragraphs" in said
    assert "1 paragraphs with characters the fonts do not have, with their 1 questions" in said
    assert "1 questions whose answer is not in their paragraph" in said
    names = [path.name for path in sorted((folder / "pdfs").iterdir())]
    assert names == ["001-Terns.pdf", "002-Otters-and-others.pdf"]
    assert {case.tier for case in read_pdfqa(folder)} == {"core", "unanswerable"}


def test_a_seed_picks_the_same_questions_and_makes_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        typeset(tmp_path / name, "--questions", "9", "--articles", "1", "--seed", seed)
    (a,) = (tmp_path / "a" / "pdfs").iterdir()
    assert a.read_bytes() == (tmp_path / "b" / "pdfs" / a.name).read_bytes()
    assert questions(tmp_path / "a") == questions(tmp_path / "b") != questions(tmp_path / "c")


def test_a_folder_in_use_or_rows_of_another_form_are_said_plainly(typeset_all, tmp_path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as used:
        typeset(typeset_all[0])
    assert "is not empty; name a new folder" in used.value.stderr
    with pytest.raises(subprocess.CalledProcessError) as wrong:
        typeset(tmp_path / "new", rows=[{"id": "1", "question": "?"}])
    assert "has a row without id or context or question or answers" in wrong.value.stderr
