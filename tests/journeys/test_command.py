"""Index a folder and ask it, offline: every quote of every answer stands where it says."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pypdfium2 as pdfium
import pytest

SAMPLES = Path(__file__).parents[1] / "samples"
PDFS = SAMPLES / "pdfs"
QUESTIONS: list[dict[str, Any]] = [
    json.loads(line) for line in (SAMPLES / "questions.jsonl").read_text("utf-8").splitlines()
]


@pytest.fixture(scope="module")
def answers(command: Any) -> list[dict[str, Any]]:
    """Every sample question asked of all files in one batch."""
    lines = [json.dumps({"id": q["id"], "question": q["question"]}) for q in QUESTIONS]
    ran = command.run("ask", "--batch", "-", "--json", stdin="\n".join(lines))
    assert (ran.returncode, ran.stderr) == (0, "")
    found = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [answer["id"] for answer in found] == [question["id"] for question in QUESTIONS]
    return found


@cache
def page_size(path: str, number: int) -> tuple[float, float]:
    with pdfium.PdfDocument(path) as document:
        width, height = document[number - 1].get_size()
        return width, height


def test_sockets_are_indeed_blocked(command: Any) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", "import socket; socket.socket()"],
        env=command.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert "no sockets here" in ran.stderr


def test_every_quote_re_reads_from_its_page(command: Any, answers: list[dict[str, Any]]) -> None:
    pages: dict[tuple[str, int], Any] = {}
    citations = [citation for answer in answers for citation in answer["citations"]]
    assert citations
    for citation in citations:
        where = (citation["path"], citation["page"])
        if where not in pages:
            pages[where] = command.json("show", "{}:{}".format(*where))
        page = pages[where]
        assert page["text"][citation["start"] : citation["end"]] == citation["quote"] != ""
        assert (citation["verified"], citation["page_label"]) == (True, page["page_label"])
        width, height = page_size(*where)
        assert citation["boxes"]
        for box in citation["boxes"]:
            x0, y0, x1, y1 = box["box"]
            assert box["page"] == citation["page"]
            assert -1 <= x0 < x1 <= width + 1
            assert -1 <= y0 < y1 <= height + 1


def test_an_answer_is_in_its_quote_and_its_quote_in_a_passage(
    answers: list[dict[str, Any]],
) -> None:
    for answer in answers:
        assert answer["abstained"] == (not answer["citations"])
        assert 0 <= answer["confidence"] <= 1
        for citation in answer["citations"]:
            passage = answer["passages"][citation["mark"] - 1]
            assert passage["path"] == citation["path"]
            assert citation["quote"] in passage["text"]
            *short, quote, place = answer["answer"].split("\n")
            assert "".join(short) in " ".join(citation["quote"].split())
            assert quote == f"“{citation['quote']}” [{citation['mark']}]".replace("\n", " ")
            assert place.startswith(f"{Path(citation['path']).name}, page {citation['page']}")


def test_indexing_again_changes_nothing(command: Any) -> None:
    again = command.json("index", PDFS)
    assert {file["status"] for file in again["files"]} == {"unchanged"}
    assert {Path(file["path"]).name for file in again["files"]} == {p.name for p in PDFS.iterdir()}


def test_the_printed_answer_is_the_one_in_json(command: Any, answers: list[dict[str, Any]]) -> None:
    answer = next(answer for answer in answers if answer["citations"])
    printed = command.run("ask", answer["question"])
    assert (printed.returncode, printed.stdout) == (0, answer["answer"] + "\n")


def test_what_no_file_says_is_declined_or_quoted_word_for_word(command: Any) -> None:
    ran = command.run("ask", "Which planet has the most moons?", "--json")
    answer = json.loads(ran.stdout)
    assert ran.returncode == (3 if answer["abstained"] else 0)
    assert all(citation["verified"] for citation in answer["citations"])
    assert answer["abstained"] or answer["citations"]


def test_a_scan_is_declined_and_its_unread_pages_are_named(command: Any) -> None:
    ran = command.run("ask", "Who wrote the letter?", "--in", "letter.pdf", "--json")
    answer = json.loads(ran.stdout)
    assert (ran.returncode, answer["reason"], answer["citations"]) == (3, "unread_pages", [])
    assert "2 of 2 pages of letter.pdf have no text" in answer["answer"]


@pytest.mark.usefixtures("shipped")
def test_the_demo_answers_two_questions_and_declines_the_third() -> None:
    ran = subprocess.run(
        [sys.executable, SAMPLES / "demo.py"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "27 days of annual leave" in ran.stdout
    assert "handbook.pdf, page 5" in ran.stdout
    assert "after 20 minutes without use" in ran.stdout
    assert "manual.pdf, page 5" in ran.stdout
