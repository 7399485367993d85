"""ask, chat and doctor with a server that speaks the OpenAI protocol."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from protocol_server import KEY, Server, chunk, events, status, stream

from ragformer.library import open_library
from ragformer.store.chats import Chats
from ragformer.types import Answer, RemoteModel

WritePdf = Callable[..., Path]
Ragformer = Callable[..., Any]
CATS = "The cat sleeps eighteen hours a day. It hunts at night near the river."
QUESTION = "How long does the cat sleep?"
QUOTE = '"The cat sleeps eighteen hours a day." [1]'
SHOWN = "Eighteen: “The cat sleeps eighteen hours a day.” [1]\n\n[1] cats.pdf, page 1\n"


@pytest.fixture(autouse=True)
def _indexed(
    server: Server,
    ragformer: Ragformer,
    write_pdf: WritePdf,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One file, and the variables that lead to the server."""
    assert ragformer("index", write_pdf("cats.pdf", CATS)).code == 0
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server.replies = [stream("Eighteen: ", QUOTE)]


def everything(home: Path, *ran: Any) -> str:
    """All that commands printed and left on disk."""
    files = [file for file in home.rglob("*") if file.is_file()]
    said = "".join(one.out + one.err for one in ran)
    return said + b"".join(file.read_bytes() for file in files).decode("latin-1")


def test_the_same_answer_as_text_json_and_a_line_of_a_batch(
    ragformer: Ragformer, server: Server, home: Path
) -> None:
    asked = ("ask", QUESTION, "--backend", "openai")
    text, whole = ragformer(*asked), ragformer(*asked, "--no-stream", "--model", "large")
    assert (text.code, text.out, text.err) == (whole.code, whole.out, whole.err) == (0, SHOWN, "")
    assert [body["model"] for body in server.asked] == ["small", "large"]
    alone = ragformer(*asked, "--json")
    lines = ragformer(
        "ask", "--batch", "-", "--json", "--backend", "openai", stdin=QUESTION.encode()
    )
    for form in (alone.json, lines.json):
        assert form["answer"] == SHOWN.rstrip()
        assert (form["backend"], form["model"], form["confidence"]) == ("openai", "small-v2", None)
        assert form["dropped"] == {"marks": 0, "quotes": 0}
        assert form["usage"]["total_tokens"] == 127
        (citation,) = form["citations"]
        page = ragformer("show", f"{citation['path']}:1", "--json").json
        assert page["text"][citation["start"] : citation["end"]] == citation["quote"]
    doctor = ragformer("doctor")
    assert KEY not in everything(home, text, whole, alone, lines, doctor)


def test_what_was_dropped_is_counted_and_said(ragformer: Ragformer, server: Server) -> None:
    server.replies = [stream(f'{QUOTE}. "It never sleeps." [1] As said [9].')]
    ran = ragformer("ask", QUESTION, "--backend", "openai", "--json")
    assert (ran.code, ran.json["dropped"]) == (0, {"marks": 1, "quotes": 1})
    ran = ragformer("ask", QUESTION, "--backend", "openai")
    assert ran.err == "A quotation that does not stand in the passages was left out.\n"
    server.replies = [stream('"It never sleeps." [1]')]
    ran = ragformer("ask", QUESTION, "--backend", "openai", "--json")
    assert (ran.code, ran.json["abstained"], ran.json["citations"]) == (3, True, [])
    assert (ran.json["reason"], ran.json["dropped"]["quotes"]) == ("low_confidence", 1)


def test_a_setting_chooses_the_backend_and_a_flag_beats_it(
    ragformer: Ragformer, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("ragformer.toml").write_text('backend = "openai"\nopenai_model = "mid"\n')
    assert ragformer("ask", QUESTION, "--json").json["backend"] == "openai"
    assert server.asked[0]["model"] == "mid"
    monkeypatch.setenv("RAGFORMER_THRESHOLD", "0")
    form = ragformer("ask", QUESTION, "--json", "--backend", "local").json
    assert (form["backend"], form["dropped"]) == ("local", {"marks": 0, "quotes": 0})
    assert len(server.asked) == 1
    note = f"questions and the passages found for them go to {server.url}"
    assert note in ragformer("doctor", "--json").json["notes"]
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.delenv("OPENAI_BASE_URL")
    (said,) = ragformer("doctor", "--json").json["notes"]
    assert "OPENAI_API_KEY is not set" in said


def test_a_chat_goes_on_after_a_failure_and_keeps_what_was_answered(
    ragformer: Ragformer, server: Server, home: Path
) -> None:
    last = stream("By night: ", '"It hunts at night near the river." [1]')
    server.replies = [stream("Eighteen: ", QUOTE), events(chunk("a"), cut=True), last]
    ran = ragformer(
        "chat", "--backend", "openai", stdin=f"{QUESTION}\nWhat?\nand when does it hunt?\n".encode()
    )
    assert (ran.code, "lost in the middle of an answer" in ran.err) == (0, True)
    turns = Chats(home / "collections" / "default").turns(1)
    assert [(turn.answer[:8], turn.backend, turn.model) for turn in turns] == [
        ("Eighteen", "openai", "small-v2"),
        ("By night", "openai", "small-v2"),
    ]
    prompt = server.asked[2]["messages"][1]["content"]
    assert f"Asked before: {QUESTION}\nAnswered: Eighteen: “The cat sleeps" in prompt
    assert prompt.endswith("Question: and when does it hunt?")
    assert KEY not in everything(home, ran)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"OPENAI_API_KEY": "", "OPENAI_BASE_URL": ""}, "OPENAI_API_KEY is not set"),
        ({"OPENAI_BASE_URL": "localhost:1234"}, "begins with http:// or https://"),
        ({"OPENAI_API_KEY": f"{KEY}\u00e9"}, "holds a character that no key has"),
        ({"RAGFORMER_OPENAI_MODEL": "huge"}, "has no model huge; it has small"),
        ({"RAGFORMER_OPENAI_CONTEXT": "9"}, "it must be from 1024"),
    ],
)
@pytest.mark.parametrize("batch", [False, True])
def test_what_cannot_work_is_one_sentence(
    ragformer: Ragformer,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    said: str,
    batch: bool,
) -> None:
    monkeypatch.setenv("RAGFORMER_DEBUG", "1")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    server.replies = [status(404, f"no such model for {KEY}")]
    what = ("--batch", "-") if batch else (QUESTION,)
    ran = ragformer("ask", *what, "--backend", "openai", stdin=b"one?\ntwo?\n")
    assert (ran.code, ran.out, KEY in ran.err) == (1, "", False)
    assert said in ran.err.splitlines()[-1]


def test_a_batch_goes_on_after_a_line_that_failed(ragformer: Ragformer, server: Server) -> None:
    server.replies = [events(chunk("a"), cut=True), stream("Eighteen: ", QUOTE)]
    ran = ragformer("ask", "--batch", "-", "--backend", "openai", stdin=f"x?\n{QUESTION}".encode())
    failed, answered = ran.lines
    assert (ran.code, "lost in the middle" in failed["error"]) == (1, True)
    assert answered["answer"] == SHOWN.rstrip()


def test_without_a_server_a_model_is_an_imported_one(ragformer: Ragformer) -> None:
    ran = ragformer("ask", QUESTION, "--model", "large")
    assert (ran.code, "no imported model is called large; there are: none yet" in ran.err) == (
        1,
        True,
    )


def test_a_terminal_gets_no_control_characters_of_the_model(
    ragformer: Ragformer, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ragformer_cli.terminal.is_terminal", lambda stream: True)
    server.replies = [stream(f"\x1b[31mRed\x07\u202e: {QUOTE} \x9b2J")]
    ran = ragformer("ask", QUESTION, "--backend", "openai")
    assert ran.out.startswith("[31mRed: “The cat sleeps eighteen hours a day.” [1] 2J\n")


def test_from_python_a_question_may_name_its_own_model(server: Server, home: Path) -> None:
    model = RemoteModel("mine", server.url, KEY)
    with open_library(backend=model) as library:
        assert library.ask(QUESTION).backend == "openai"
        assert library.ask(QUESTION, backend="local").backend == "local"
        assert library.ask("How many pages are there?").backend == "local"
    with open_library() as library:
        *pieces, answer = library.stream(QUESTION, backend=model)
        assert isinstance(answer, Answer)
        assert ("".join(map(str, pieces)), answer.question) == (SHOWN.rstrip(), QUESTION)
        assert library.ask(QUESTION).backend == "local"
    assert [body["model"] for body in server.asked] == ["mine", "mine"]


def test_a_summary_is_written_around_quotations_of_the_same_passages(
    ragformer: Ragformer, server: Server
) -> None:
    ran = ragformer("summarize", "cats.pdf", "--backend", "openai")
    assert (ran.code, ran.out, ran.err) == (0, f"cats (1 page)\n\n{SHOWN}", "")
    prompt = server.asked[0]["messages"][1]["content"]
    assert CATS in prompt.replace("\n", " ")
    assert "What does the document “cats” say?" in prompt
    form = ragformer("summarize", "cats.pdf", "--backend", "openai", "--json").json
    assert (form["written"]["answer"], form["written"]["model"]) == (SHOWN.rstrip(), "small-v2")
    assert len(form["sentences"]) == 2
    server.replies = [stream('"Cats are nice." [1]')]
    ran = ragformer("summarize", "cats.pdf", "--backend", "openai")
    assert "“It hunts at night near the river.” page 1" in ran.out
    assert "its answer is withheld" in ran.err
