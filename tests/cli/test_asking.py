"""ask, search, chat: the JSON forms, the exit codes, and that every quote re-reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ragformer.library import Library
from ragformer.store.chats import Chats

WritePdf = Callable[..., Path]
Ragformer = Callable[..., Any]
CATS = "The cat sleeps eighteen hours a day. It hunts at night near the river."
TAX = "Annual tax returns are due on 31 October. They go to the district office."
QUESTION = "How long does the cat sleep?"
HIT = [
    "rank",
    "score",
    "path",
    "document_id",
    "title",
    "page",
    "page_label",
    "text",
    "spans",
    "boxes",
]
ANSWER = [
    "id",
    "question",
    "answer",
    "abstained",
    "reason",
    "confidence",
    "citations",
    "passages",
    "backend",
    "model",
    "usage",
    "searched_as",
    "note",
    "dropped",
]
CITATION = [
    "mark",
    "path",
    "document_id",
    "page",
    "page_label",
    "start",
    "end",
    "quote",
    "boxes",
    "verified",
]
REASONS = {"empty_collection", "no_passage", "low_confidence", "unread_pages"}


@pytest.fixture
def docs(ragformer: Ragformer, write_pdf: WritePdf, tmp_path: Path) -> Path:
    """Two files, indexed."""
    write_pdf("cats.pdf", CATS)
    write_pdf("2024/tax.pdf", TAX)
    assert ragformer("index", tmp_path / "docs").code == 0
    return tmp_path / "docs"


@pytest.fixture
def sure(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer is withheld: untrained weights are never sure of one."""
    monkeypatch.setenv("RAGFORMER_THRESHOLD", "0")


@pytest.fixture
def unsure(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every answer is withheld."""
    monkeypatch.setenv("RAGFORMER_THRESHOLD", "1")


def test_search_gives_ranked_hits_with_places(ragformer: Ragformer, docs: Path) -> None:
    hits = ragformer("search", "cat", "sleeps", "--json").json
    assert all(list(hit) == HIT for hit in hits)
    assert [hit["rank"] for hit in hits] == [1, 2]
    assert hits[0]["score"] >= hits[1]["score"]
    best = hits[0]
    assert (best["path"], best["page"], best["page_label"]) == (str(docs / "cats.pdf"), 1, "1")
    assert all(list(span) == ["page", "start", "end"] for span in best["spans"])
    (box,) = best["boxes"]
    x0, y0, x1, y1 = box["box"]
    assert (box["page"], 59 < x0 < 61, y0 < 800 - 700 < y1, x1 > 300) == (1, True, True, True)
    assert ragformer("search", "cat", "--in", "2024/*.pdf", "--json").json[0]["title"] == "tax"
    assert len(ragformer("search", "cat tax", "-k", "1", "--json").json) == 1


def test_search_without_a_hit_is_an_empty_list(ragformer: Ragformer) -> None:
    ran = ragformer("search", "anything", "--json")
    assert (ran.code, ran.json) == (0, [])
    said = ragformer("search", "anything")
    assert (said.code, said.out, said.err) == (0, "", "nothing found\n")


def test_search_in_words_names_file_and_page(ragformer: Ragformer, docs: Path) -> None:
    assert ragformer("search", "cat", "-k", "1").out.startswith("1. docs/cats.pdf, page 1\n   The")


@pytest.mark.usefixtures("sure")
def test_an_answer_has_the_form_and_every_quote_re_reads(ragformer: Ragformer, docs: Path) -> None:
    ran = ragformer("ask", QUESTION, "--json")
    assert ran.code == 0
    form = ran.json
    assert list(form) == ANSWER
    assert (form["question"], form["abstained"], form["reason"]) == (QUESTION, False, None)
    assert (form["backend"], 0 <= form["confidence"] <= 1) == ("local", True)
    assert all(list(hit) == HIT for hit in form["passages"])
    assert form["citations"]
    for citation in form["citations"]:
        assert list(citation) == CITATION
        shown = ragformer("show", f"{citation['path']}:{citation['page']}", "--json").json
        assert shown["text"][citation["start"] : citation["end"]] == citation["quote"]
        assert citation["verified"] is True
        assert [box["page"] for box in citation["boxes"]] == [citation["page"]] * len(
            citation["boxes"]
        )


@pytest.mark.usefixtures("unsure")
def test_a_refusal_has_exit_code_3_and_no_citation(ragformer: Ragformer, docs: Path) -> None:
    ran = ragformer("ask", QUESTION, "--json")
    assert ran.code == 3
    assert list(ran.json) == ANSWER
    assert (ran.json["abstained"], ran.json["citations"]) == (True, [])
    assert ran.json["reason"] in REASONS
    assert ran.json["answer"]
    assert ragformer("ask", QUESTION).code == 3


def test_nothing_indexed_is_a_refusal_that_says_so(ragformer: Ragformer, home: Path) -> None:
    ran = ragformer("ask", QUESTION, "--json")
    assert (ran.code, ran.json["reason"]) == (3, "empty_collection")
    assert not home.exists()


@pytest.mark.usefixtures("sure")
def test_streamed_or_whole_the_text_is_the_same(ragformer: Ragformer, docs: Path) -> None:
    streamed = ragformer("ask", QUESTION)
    whole = ragformer("ask", QUESTION, "--no-stream")
    assert (streamed.code, streamed.err) == (0, "")
    assert streamed.out == whole.out == ragformer("ask", QUESTION, "--json").json["answer"] + "\n"


@pytest.mark.usefixtures("sure")
def test_paths_are_indexed_first_and_limit_the_question(
    ragformer: Ragformer, docs: Path, write_pdf: WritePdf
) -> None:
    new = write_pdf("new/bees.pdf", "Bees dance to tell each other where the flowers are.")
    form = ragformer("ask", QUESTION, new, "--json").json
    assert {hit["path"] for hit in form["passages"]} == {str(new)}
    form = ragformer("ask", QUESTION, new.parent, docs / "2024", "--json").json
    assert {Path(hit["path"]).name for hit in form["passages"]} == {"bees.pdf", "tax.pdf"}
    assert len(ragformer("list", "--json").json) == 3
    assert ragformer("ask", QUESTION, new, "--in", "x").code == 2


def test_files_that_cannot_be_read_cannot_be_asked(ragformer: Ragformer, tmp_path: Path) -> None:
    bad = tmp_path / "bad.pdf"
    bad.write_bytes(b"\x89PNG")
    ran = ragformer("ask", QUESTION, bad)
    assert ran.code == 1
    assert "failed: bad.pdf: " in ran.err
    assert "none of the files given could be read: bad.pdf" in ran.err


@pytest.mark.usefixtures("sure")
def test_a_question_may_come_from_stdin(ragformer: Ragformer, docs: Path) -> None:
    form = ragformer("ask", "-", "--json", stdin=f"{QUESTION}\n".encode()).json
    assert form["question"] == QUESTION


@pytest.mark.usefixtures("sure")
def test_a_batch_answers_line_by_line_in_order(ragformer: Ragformer, docs: Path) -> None:
    lines = [
        QUESTION,
        "",
        json.dumps({"id": 7, "question": "When are tax returns due?", "in": "tax.pdf"}),
        json.dumps({"id": "x", "question": "Who?", "in": ["cats.pdf", "tax.pdf"], "more": 1}),
    ]
    stdin = "\n".join(lines).encode()
    ran = ragformer("ask", "--batch", "-", "--json", stdin=stdin)
    assert (ran.code, [form["id"] for form in ran.lines]) == (0, [None, 7, "x"])
    assert all(list(form) == ANSWER for form in ran.lines)
    assert {hit["path"] for hit in ran.lines[1]["passages"]} == {str(docs / "2024" / "tax.pdf")}
    (docs / "questions.txt").write_bytes(stdin)
    from_file = ragformer("ask", "--batch", docs / "questions.txt", "--json").lines
    assert [form["answer"] for form in from_file] == [form["answer"] for form in ran.lines]
    found = ragformer("search", "--batch", "-", "--json", stdin=stdin)
    assert [list(form) for form in found.lines] == [["id", "question", "hits"]] * 3
    assert [form["id"] for form in found.lines] == [None, 7, "x"]
    assert list(found.lines[0]["hits"][0]) == HIT


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"question": 3}', 'has no "question"'),
        ('{"question": "x", "in": 3}', "neither a text nor a list"),
        ('{"question": "x", "in": []}', "neither a text nor a list of one or more"),
        ('{"question": "x", "in": ["a", 3]}', "neither a text nor a list"),
        ('{"question": "x", "in": ""}', "no document in collection"),
        ('{"id": NaN, "question": "x"}', "line 2 is not JSON"),
        ('{"id": 1e999, "question": "x"}', "line 2 is not JSON"),
        ('{"id": ' + "[" * 100_000, "line 2 is not JSON"),
        ("{nonsense", "line 2 is not JSON"),
        ('{"id": 5, "question": " "}', "the question is empty"),
        ('{"id": 5, "question": "x", "in": "none.pdf"}', "no document in collection"),
        ("x" * 3000, "3,000 characters"),
    ],
)
def test_a_bad_line_costs_itself_and_the_exit_code(
    ragformer: Ragformer, docs: Path, line: str, said: str
) -> None:
    stdin = f"cat\n{line}\ntax".encode()
    ran = ragformer("search", "--batch", "-", stdin=stdin)
    assert ran.code == 1
    assert ["error" in form for form in ran.lines] == [False, True, False]
    assert said in ran.lines[1]["error"]
    assert ran.err == 'ragformer: 1 of 3 lines could not be used; see their "error"\n'


@pytest.mark.usefixtures("sure")
def test_chat_answers_until_it_is_told_to_stop(
    ragformer: Ragformer, docs: Path, home: Path
) -> None:
    asked = ["/sources", QUESTION, "/sources", " ", "x" * 3000, "/help", "When is tax due?"]
    stdin = "\n".join([*asked, "/quit", "more\n"])
    ran = ragformer("chat", "-k", "1", stdin=stdin.encode())
    assert ran.code == 0
    assert "docs/cats.pdf, page 1" in ran.out
    assert "3,000 characters" in ran.err
    assert "/help is no command; /sources shows passages, /quit leaves\n" in ran.err
    turns = Chats(home / "collections" / "default").turns(1)
    assert [turn.question for turn in turns] == [QUESTION, "When is tax due?"]
    assert all(turn.answer for turn in turns)
    assert ragformer("chat", stdin=b"").code == 0
    gone = ragformer("chat", "-c", "nosuch", stdin=b"")
    assert (gone.code, gone.out) == (1, "")
    assert "nosuch" in gone.err


@pytest.mark.usefixtures("sure")
def test_a_limit_in_the_question_limits_the_passages(
    ragformer: Ragformer, write_pdf: WritePdf, tmp_path: Path
) -> None:
    write_pdf("both.pdf", CATS, TAX)
    ragformer("index", tmp_path / "docs")
    form = ragformer("ask", f"{QUESTION[:-1]} on page 2?", "--json").json
    assert [hit["page"] for hit in form["passages"]] == [2]
    assert (form["question"], form["searched_as"]) == (f"{QUESTION[:-1]} on page 2?", QUESTION)
    nowhere = ragformer("ask", f"{QUESTION[:-1]} on page 9?")
    assert nowhere.err.startswith("There is nothing to search “on page 9”")
    assert nowhere.out == ragformer("ask", QUESTION).out


@pytest.mark.usefixtures("unsure")
def test_a_question_about_the_documents_is_answered_from_the_store(
    ragformer: Ragformer, docs: Path, home: Path
) -> None:
    ran = ragformer("ask", "How many pages does cats.pdf have?", "--json")
    assert (ran.code, list(ran.json)) == (0, ANSWER)
    assert ran.json["answer"] == "cats.pdf has 1 page."
    assert (ran.json["citations"], ran.json["passages"], ran.json["model"]) == ([], [], "")
    assert ragformer("ask", "How many pages are there?", "--in", "tax.pdf").out == (
        "tax.pdf has 1 page.\n"
    )
    assert ragformer("rm", "cats.pdf", "--yes").code == 0
    assert Chats(home / "collections" / "default").turns(1) == []


@pytest.mark.usefixtures("sure")
def test_chat_carries_terms_and_sources_to_a_follow_up(
    library: Library, write_pdf: WritePdf, index: Callable[..., object]
) -> None:
    index(library, write_pdf("cats.pdf", CATS), write_pdf("tax.pdf", TAX, TAX))
    first = library.ask(QUESTION, within=["cats.pdf"])
    *_, second = library.stream("and why?", last=first)
    assert second.question == "and why?"
    assert second.searched_as.startswith("and why? long cat sleep")
    assert second.passages[0].document.title == "cats"
    *_, third = library.stream("How many pages does it have?", last=first)
    assert third.text == "cats.pdf has 1 page."
    *_, alone = library.stream("When are annual tax returns due?", last=first)
    assert alone.searched_as == ""


@pytest.mark.usefixtures("sure")
def test_the_chat_command_remembers_the_last_turn(ragformer: Ragformer, docs: Path) -> None:
    stdin = f"{QUESTION}\nhow many pages does it have?\n".encode()
    said = ragformer("chat", "--in", "cats.pdf", "--in", "tax.pdf", stdin=stdin).out
    cited = "cats.pdf" if "cats.pdf, page" in said else "tax.pdf"
    assert said.rstrip().endswith(f"{cited} has 1 page.")


@pytest.mark.parametrize("flag", [(), ("--chats",)])
@pytest.mark.usefixtures("sure")
def test_removing_a_document_removes_the_chats_drawn_from_it(
    ragformer: Ragformer, docs: Path, home: Path, flag: tuple[str, ...]
) -> None:
    ragformer("ask", QUESTION, "--in", "cats.pdf")
    ragformer("ask", "When is tax due?", "--in", "tax.pdf")
    assert ragformer("rm", "cats.pdf", "--yes", *flag).code == 0
    chats = Chats(home / "collections" / "default")
    assert (chats.turns(1), len(chats.turns(2))) == ([], 1)
    assert b"eighteen" not in b"".join(
        file.read_bytes() for file in home.rglob("*") if file.is_file()
    )


def test_what_cannot_be_asked_is_a_usage_error(ragformer: Ragformer) -> None:
    for arguments in (
        ("ask",),
        ("search",),
        ("index",),
        ("ask", "x", "-k", "0"),
        ("ask", "x", "--backend", "cloud"),
        ("ask", "x", "--decoding", "beam"),
        ("eval", "retrieval"),
        ("nonsense",),
        ("list", "--nonsense"),
    ):
        ran = ragformer(*arguments)
        assert (ran.code, ran.out) == (2, ""), arguments
        assert "Error: " in ran.err
