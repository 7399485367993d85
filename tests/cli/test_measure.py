"""eval and bench, each run for real on a handful of questions."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ragformer_cli.measure import _blocks, _say_table

from ragformer.text.heldout import is_held_out

WritePdf = Callable[..., Path]
Ragformer = Callable[..., Any]
COLUMNS = [*(f"{kind}@{k}" for kind in ("page", "recall") for k in (1, 10)), "f1", "coverage"]
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
    ways = {line.split()[0] for line in ran.out.splitlines() if line}
    assert {"words", "fused", "peer", "peer-fused", "fused-better", "fused-peer-fused"} <= ways
    ran = ragformer("eval", "reading", reading_file, "--json")
    assert (ran.code, ran.err) == (0, "")
    check_form(ran.json, "reading", {"em", "f1", "sentence_hit", "coverage"})
    said = ragformer("eval", "reading", reading_file, "--limit", "2").out
    assert said.startswith("reading: 2 questions, ")
    assert "the quoted sentence holds a gold answer" in said
    text = reading_file.read_text().replace("sleep?", "sleep, unlike bees?")  # finds both
    reading_file.write_text(text)
    among = ragformer("eval", "reading", reading_file, "--passages", "2", "--json").json
    assert "citation_recall" in among["metrics"]
    none = ragformer("eval", "reading", reading_file, "--passages", "2", "--no-gold", "--json").json
    assert list(none["metrics"]) == ["refused", "tokens_per_second"]
    assert ragformer("eval", "reading", reading_file, "--no-gold").code == 2
    free = ragformer("eval", "reading", reading_file, "--decoding", "free", "--json").json
    assert free["metrics"]["coverage"] == ran.json["metrics"]["coverage"]
    other = reading_file.with_name("other.v2.jsonl")
    other.write_text(text)
    table = ["eval", "reading", reading_file, other, "--passages", "1", "--passages", "2", "--json"]
    several = ragformer(*table).json
    assert several["n"] == 12
    ways = {name.rpartition("/")[0] for name in several["metrics"]}
    assert ways == {"reading/1", "reading/2", "other/1", "other/2"}
    trained_on = ragformer("eval", "reading", reading_file, "--held-out")
    assert trained_on.code == 1
    assert "questions is held out of training" in trained_on.err


def test_a_table_has_the_ways_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    metric = {"value": 0.5, "low": 0.25, "high": 0.6}
    table = {"a/recall@1": metric, "a/recall@5": metric, "a/f1": metric}
    less = {"a/b/recall@5": {"value": -0.0625, "low": -0.07, "high": -0.05}}
    _say_table({**table, **less})
    assert capsys.readouterr().out.splitlines() == [
        "",
        "     recall@1      @5      f1",
        "a       0.500   0.500   0.500",
        "       ±0.175  ±0.175  ±0.175",
        "a/b            -0.062",
        "               ±0.010",
    ]


@given(st.lists(st.sampled_from(COLUMNS), unique=True, min_size=1), st.integers(0, 60))
def test_columns_fit_the_terminal_in_their_order(columns: list[str], room: int) -> None:
    blocks = _blocks(columns, room)
    assert [column for block in blocks for column in block] == columns
    for block in blocks:
        heads = list(block.values())
        assert heads[0].strip() == next(iter(block))  # told in full where a table starts
        assert len(heads) == 1 or sum(map(len, heads)) <= room


def test_any_form_of_retrieval_data_is_measured(
    ragformer: Ragformer, reading_file: Path, tmp_path: Path
) -> None:
    names = [f"passage {n}" for n in range(200)]
    kept = [name for name in names if is_held_out(name)]
    rows = [{"query": name, "positive": name} for name in names]
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text("\n".join(map(json.dumps, rows)))
    ran = ragformer("eval", "retrieval", pairs, "--held-out", "--dims", "8", "--json").json
    assert ran["n"] == len(kept) > 0
    assert {"vectors-8/ndcg@10", "fused-8/ndcg@10"} <= set(ran["metrics"])
    among = ["--corpus", pairs, "--corpus", reading_file]
    assert ragformer("eval", "retrieval", reading_file, *among, "--json").json["n"] == 3
    (tmp_path / "reqa.jsonl").write_text('{"query": "passage 1", "positive_ids": [1]}')
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("\n".join(json.dumps({"id": n, "text": t}) for n, t in enumerate(names)))
    reqa = ragformer("eval", "retrieval", "--reqa", tmp_path / "reqa.jsonl", "--corpus", corpus)
    assert (reqa.code, reqa.out[:23]) == (0, "retrieval: 1 questions,")
    assert ragformer("eval", "retrieval", "--reqa", tmp_path / "reqa.jsonl").code == 2
    assert ragformer("eval", "retrieval", pairs, "--dims", "1000").code == 1


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
    embed = ragformer("bench", "embed", reading_file, "--repeats", "1", "--json").json
    assert (embed["suite"], embed["paragraphs"], embed["repeats"]) == ("embed", 3, 1)
    query = ragformer("bench", "query", reading_file, "--chunks", "50", "--limit", "2").out
    assert query.startswith("suite: query\n")
    assert "\nsizes 50 index: flat\n" in query
    lone = ragformer("bench", "query", reading_file, "--text", reading_file)
    assert (lone.code, "--text and --saved go together" in lone.err) == (2, True)
    decode = ragformer(
        *("bench", "decode", reading_file, "--limit", "2", "--answers", "1", "--json"),
        *("--dtype", "int8", "--new", "4", "--repeats", "1", "--batch", "1"),
    ).json
    assert (decode["suite"], decode["n"]) == ("decode", 2)
    side = decode["runtime"]["sides"]["int8"]
    assert (side["lookup"]["n"], side["decode_1"]["median"] > 0) == (1, True)
    table = ragformer("bench", "decode", "--dtype", "int8", "--new", "4", "--repeats", "1").out
    assert "\ndecode_8 " in table
    assert "int8\n" in table
    asked = ragformer("bench", "ask", reading_file, "--limit", "1", "--json").json
    assert (asked["suite"], asked["n"], asked["distinct_answers"]) == ("ask", 1, 1)
    assert not home.exists()


def test_reading_pdfs_is_measured(ragformer: Ragformer, write_pdf: WritePdf) -> None:
    folder = write_pdf("a.pdf", "The otter swims.").parent
    (folder / "a.txt").write_text("The otter swims.")
    told = ragformer("eval", "extract", folder)
    assert "a.pdf" in told.out
    assert "least-ahead: +0.0000" in told.out
    result = json.loads(ragformer("eval", "extract", folder, "--json").out)
    assert result["files"]["a.pdf"]["ours"]["similarity"] == 1
    figures = json.loads(ragformer("bench", "read", folder, "--repeats", "1", "--json").out)
    assert (figures["suite"], figures["pages"]) == ("read", 1)


def test_a_file_that_is_not_there_is_named(ragformer: Ragformer, tmp_path: Path) -> None:
    for command in (("eval", "retrieval"), ("eval", "reading"), ("bench", "query")):
        ran = ragformer(*command, tmp_path / "none.jsonl")
        assert (ran.code, "none.jsonl" in ran.err) == (1, True), command
