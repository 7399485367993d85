"""eval and bench, each run for real on a handful of questions."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

WritePdf = Callable[..., Path]
Ragformer = Callable[..., Any]
CONTEXTS = {
    "cats": "The cat sleeps eighteen hours a day. It hunts at night near the river.",
    "tax": "Annual tax returns are due on 31 October. They go to the district office.",
    "bees": "Bees dance to tell each other where the flowers are.",
}
QUESTIONS = {
    "cats": ("How long does the cat sleep?", "eighteen hours"),
    "tax": ("When are tax returns due?", "31 October"),
    "bees": ("Why do bees dance?", "tell each other"),
}


@pytest.fixture
def reading_file(tmp_path: Path) -> Path:
    path = tmp_path / "reading.jsonl"
    lines = [
        {
            "id": name,
            "source": "test",
            "title": name,
            "context": context,
            "question": QUESTIONS[name][0],
            "answers": [{"text": QUESTIONS[name][1], "start": context.index(QUESTIONS[name][1])}],
            "answerable": True,
        }
        for name, context in CONTEXTS.items()
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


@pytest.fixture
def pdfqa_folder(write_pdf: WritePdf, tmp_path: Path) -> Path:
    folder = tmp_path / "pdfqa"
    folder.mkdir()
    for name, context in CONTEXTS.items():
        write_pdf(f"{name}.pdf", context)
    shutil.copytree(tmp_path / "docs", folder / "pdfs")
    lines = [
        {
            "id": name,
            "pdf": f"{name}.pdf",
            "question": question,
            "answer": answer,
            "pages": [1],
            "answerable": True,
        }
        for name, (question, answer) in QUESTIONS.items()
    ]
    (folder / "questions.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


def check_form(result: Any, suite: str, names: set[str]) -> None:
    assert list(result) == ["suite", "n", "metrics", "commit", "models"]
    assert (result["suite"], result["n"]) == (suite, 3)
    assert names <= set(result["metrics"])
    for metric in result["metrics"].values():
        assert list(metric) == ["value", "low", "high"]


def test_retrieval_and_reading_are_measured(
    ragformer: Ragformer, reading_file: Path, write_bert: Callable[..., Path]
) -> None:
    ran = ragformer("eval", "retrieval", reading_file, "--json")
    assert (ran.code, ran.err) == (0, "")
    ways = {f"{way}/recall@5" for way in ("words", "vectors", "fused")}
    check_form(ran.json, "retrieval", ways)
    ran = ragformer("eval", "retrieval", reading_file, "--peer", write_bert("bert"))
    assert (ran.code, ran.err) == (0, "")
    assert all(f"\n{name}/recall@5 " in ran.out for name in ("fused", "peer", "peer-fused"))
    ran = ragformer("eval", "reading", reading_file, "--json")
    assert (ran.code, ran.err) == (0, "")
    check_form(ran.json, "reading", {"em", "f1", "sentence_hit", "coverage"})
    said = ragformer("eval", "reading", reading_file, "--limit", "2").out
    assert said.startswith("reading: 2 questions, ")
    assert "sentence_hit" in said


def test_pdf_questions_are_measured(ragformer: Ragformer, pdfqa_folder: Path, home: Path) -> None:
    ran = ragformer("eval", "pdfqa", pdfqa_folder, "--json")
    assert ran.code == 0
    check_form(ran.json, "pdfqa", {"all/page@1", "given/f1", "all/quotes_verbatim"})
    assert ran.json["metrics"]["all/quotes_verbatim"]["value"] in (1.0, None)
    assert not home.exists()


def test_speed_is_measured(
    ragformer: Ragformer, reading_file: Path, pdfqa_folder: Path, home: Path
) -> None:
    index = ragformer("bench", "index", pdfqa_folder / "pdfs", "--repeats", "1", "--json").json
    assert (index["suite"], index["files"], index["pages"]) == ("index", 3, 3)
    query = ragformer("bench", "query", reading_file, "--chunks", "50", "--limit", "2").out
    assert query.startswith("suite: query\n")
    assert "\nchunks: 50\n" in query
    decode = ragformer("bench", "decode", reading_file, "--limit", "2", "--json").json
    assert (decode["suite"], decode["n"]) == ("decode", 2)
    assert not home.exists()


def test_a_file_that_is_not_there_is_named(ragformer: Ragformer, tmp_path: Path) -> None:
    for command in (("eval", "retrieval"), ("eval", "reading"), ("bench", "query")):
        ran = ragformer(*command, tmp_path / "none.jsonl")
        assert (ran.code, "none.jsonl" in ran.err) == (1, True), command
