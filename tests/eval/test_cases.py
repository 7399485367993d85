"""Every form of evaluation data reads into the same few values, plain or packed."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import pytest

from ragformer.errors import InputError
from ragformer.eval.cases import (
    CorpusItem,
    PdfCase,
    ReadingCase,
    RetrievalCase,
    RetrievalSet,
    held_out_cases,
    held_out_part,
    pdf_golds,
    read_pdfqa,
    read_reading,
    read_retrieval,
    sample,
)
from ragformer.text.heldout import is_held_out

READING = [
    {
        "id": "1",
        "title": "Bees",
        "context": "A hive has one queen.",
        "question": "How many queens?",
        "answers": [{"text": "one", "start": 11}],
        "answerable": True,
    },
    {
        "id": "2",
        "title": "Bees",
        "context": "A hive has one queen.",
        "question": "How many kings?",
        "answers": [],
        "answerable": False,
    },
    {
        "id": "3",
        "question": "What do wasps eat?",
        "passages": [
            {"title": "Bees", "text": "A hive has one queen.", "gold": False},
            {"title": "Wasps", "text": "Wasps eat flies.", "gold": True},
        ],
        "answers": [{"text": "flies", "start": 10}],
        "answerable": True,
    },
]


@pytest.fixture(params=["", ".xz"])
def ending(request) -> str:
    return request.param


def write(path: Path, lines: list[object], ending: str) -> Path:
    text = "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)
    path = path.with_name(path.name + ending)
    path.write_bytes(lzma.compress(text.encode()) if ending else text.encode())
    return path


def test_a_reading_file(tmp_path, ending):
    cases = read_reading(write(tmp_path / "r.jsonl", READING, ending))
    hive = ("Bees", "A hive has one queen.")
    assert cases == [
        ReadingCase("1", "How many queens?", (hive,), ("one",), (0,)),
        ReadingCase("2", "How many kings?", (hive,), (), ()),
        ReadingCase(
            "3", "What do wasps eat?", (hive, ("Wasps", "Wasps eat flies.")), ("flies",), (1,)
        ),
    ]
    assert [case.answerable for case in cases] == [True, False, True]


def test_a_reading_file_as_retrieval_has_each_context_once(tmp_path, ending):
    found = read_retrieval(write(tmp_path / "r.jsonl", READING, ending))
    assert found.corpus == (
        CorpusItem("0", "Bees", "A hive has one queen."),
        CorpusItem("1", "Wasps", "Wasps eat flies."),
    )
    assert found.cases == (
        RetrievalCase("1", "How many queens?", {"0": 1}),
        RetrievalCase("3", "What do wasps eat?", {"1": 1}),
    )


def test_a_retrieval_folder(tmp_path, ending):
    write(tmp_path / "corpus.jsonl", [{"_id": "a", "title": "T", "text": "x"}], ending)
    queries = [{"_id": "q", "text": "which?"}, {"_id": "unjudged", "text": "what?"}]
    write(tmp_path / "queries.jsonl", queries, ending)
    lines = ["query-id\tcorpus-id\tscore", "q\ta\t2", "q\tb\t0", "q\tc\t1"]
    write(tmp_path / "qrels.tsv", lines, ending)
    found = read_retrieval(tmp_path)
    assert found.corpus == (CorpusItem("a", "T", "x"),)
    assert found.cases == (RetrievalCase("q", "which?", {"a": 2, "c": 1}),)


def test_a_reqa_file_and_its_corpus(tmp_path, ending):
    corpus = write(tmp_path / "c.jsonl", [{"id": 0, "text": "x"}, {"id": 7, "text": "y"}], ending)
    rows = [{"query": "which?", "positive": "y", "positive_ids": [7]}]
    path = write(tmp_path / "q.jsonl", rows, ending)
    found = read_retrieval(path, [corpus])
    assert found.corpus == (CorpusItem("0", "", "x"), CorpusItem("7", "", "y"))
    assert found.cases == (RetrievalCase("0", "which?", {"7": 1}),)
    with pytest.raises(InputError, match="is of one corpus, not 2"):
        read_retrieval(path, [corpus, corpus])


def test_a_pairs_file_has_each_passage_and_each_query_once(tmp_path, ending):
    rows = [
        {"query": "which?", "positive": "x", "negatives": ["no"]},
        {"query": "what?", "positive": "y"},
        {"query": "which?", "positive": "y"},
    ]
    found = read_retrieval(write(tmp_path / "p.jsonl", rows, ending))
    assert found.corpus == (CorpusItem("0", "", "x"), CorpusItem("1", "", "y"))
    assert found.cases == (
        RetrievalCase("0", "which?", {"0": 1, "1": 1}),
        RetrievalCase("1", "what?", {"1": 1}),
    )


def test_passages_of_further_files_are_searched_too(tmp_path, ending):
    asked = write(tmp_path / "r.jsonl", READING[2:], ending)
    more = write(tmp_path / "more.jsonl", READING[:2], ending)
    pairs = write(tmp_path / "p.jsonl", [{"query": "?", "positive": "A pair."}], ending)
    alone = read_retrieval(asked)
    found = read_retrieval(asked, [more, pairs])
    assert found.cases == alone.cases
    assert found.corpus == (*alone.corpus, CorpusItem("2", "", "A pair."))  # the hive is known
    assert read_retrieval(more, [asked]).corpus[1].title == "Wasps"
    with pytest.raises(InputError, match="brings its own corpus; leave out"):
        read_retrieval(tmp_path, [more])


def test_held_out_questions_are_those_all_of_whose_passages_training_skips():
    titles = [f"title {number}" for number in range(300)]
    out = next(title for title in titles if is_held_out(title))
    untitled = next(text for text in titles if is_held_out(text) and text != out)
    inside = next(title for title in titles if not is_held_out(title))
    corpus = (
        CorpusItem("a", out, "first"),
        CorpusItem("b", "", untitled),
        CorpusItem("c", inside, untitled),  # the title decides where there is one
        *(CorpusItem(f"d{number}", inside, f"text {number}") for number in range(50)),
    )
    asked = [{"a": 1}, {"b": 2}, {"c": 1}, {"a": 1, "c": 1}, {"a": 1, "b": 1}]
    cases = tuple(RetrievalCase(str(n), "?", grades) for n, grades in enumerate(asked))
    found = RetrievalSet(corpus, cases)
    part = held_out_part(found)
    assert [case.id for case in part.cases] == ["0", "1", "4"]
    assert part.corpus == corpus
    few = held_out_part(found, most=10)
    assert few == held_out_part(found, most=10)
    assert (few.cases, len(few.corpus)) == (part.cases, 10)
    assert {"a", "b"} <= {item.id for item in few.corpus}
    assert [item for item in corpus if item in few.corpus] == list(few.corpus)
    with pytest.raises(InputError, match="none of the 1 questions is held out"):
        held_out_part(RetrievalSet(corpus, cases[2:3]))


def test_a_pdf_question_folder(tmp_path, ending):
    (tmp_path / "pdfs").mkdir()
    (tmp_path / "pdfs" / "a.pdf").touch()
    base = {"pdf": "a.pdf", "question": "?", "pages": [3], "answer": "x"}
    rows = [{**base, "id": "1"}, {**base, "answerable": False}, {**base, "tier": "vision"}]
    write(tmp_path / "questions.jsonl", rows, ending)
    assert read_pdfqa(tmp_path) == [
        PdfCase("1", "a.pdf", "?", ("x",), (3,), "core"),
        PdfCase("1", "a.pdf", "?", (), (3,), "unanswerable"),
        PdfCase("2", "a.pdf", "?", ("x",), (3,), "vision"),
    ]


def test_an_answer_may_be_a_list_or_a_list_in_writing():
    assert pdf_golds("['a b', 'c']") == pdf_golds(["a b", "c"]) == ("a b, c",)
    assert pdf_golds("[sic] as it is") == ("[sic] as it is",)
    assert pdf_golds("") == ()


def test_a_sample_is_the_same_for_the_same_seed_and_keeps_the_order():
    cases = list(range(100))
    assert sample(cases, 10, 1) == sample(cases, 10, 1) == sorted(sample(cases, 10, 1))
    assert sample(cases, 10, 1) != sample(cases, 10, 2)
    assert sample(cases, None, 1) == sample(cases, 100, 1) == cases
    with pytest.raises(InputError, match="limit of 0"):
        sample(cases, 0, 1)


def test_what_is_wrong_with_a_file_is_said_in_one_sentence(tmp_path):
    with pytest.raises(InputError, match="there is no file"):
        read_reading(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="without answers"):
        read_reading(write(tmp_path / "a.jsonl", [{"question": "?"}], ""))
    with pytest.raises(InputError, match="neither a context nor passages"):
        read_reading(write(tmp_path / "b.jsonl", [{"question": "?", "answers": []}], ""))
    with pytest.raises(InputError, match="no question with something to find"):
        read_retrieval(write(tmp_path / "c.jsonl", [READING[1]], ""))
    write(tmp_path / "qrels.tsv", ["q\ta\tgood", "q\ta\tgood"], "")
    with pytest.raises(InputError, match="line 2 has the grade good"):
        read_retrieval(tmp_path)
    write(tmp_path / "qrels.tsv", ["q"], "")
    with pytest.raises(InputError, match="line 1 has 1 columns"):
        read_retrieval(tmp_path)
    write(tmp_path / "questions.jsonl", [{"pdf": "b.pdf", "question": "?"}], "")
    with pytest.raises(InputError, match=r"b\.pdf, which a question is on"):
        read_pdfqa(tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"question": None}, "whose question is 'None', not text"),
        ({"context": 5}, "whose context is '5', not text"),
        ({"answers": "x"}, "whose answers is 'x', not a list"),
        ({"answers": ["x"]}, "an answer is 'x', not an object with a text"),
        ({"answers": [{"start": 1}]}, "of which an answer is"),
        ({"passages": {"text": "x"}}, "whose passages is .* not a list"),
        ({"passages": ["x"]}, "a passage is 'x', not an object with a text"),
        ({"passages": [{"title": "", "text": 5}]}, "a passage's text is '5', not text"),
    ],
)
def test_a_value_of_another_kind_is_said(tmp_path, changes, said):
    row = {"question": "?", "context": "Two months.", "answers": [{"text": "Two"}]}
    with pytest.raises(InputError, match=said):
        read_reading(write(tmp_path / "a.jsonl", [row | changes], ""))


def test_reading_cases_are_held_out_by_their_title_or_passage():
    held = next(name for name in map(str, range(1000)) if is_held_out(name))
    cases = [
        ReadingCase("by title", "?", ((held, "a"),), ("a",)),
        ReadingCase("by passage", "?", (("", held),), ("a",)),
        ReadingCase("neither", "?", (("", "a"),), ("a",)),
    ]
    assert not is_held_out("a")
    assert [case.id for case in held_out_cases(cases)] == ["by title", "by passage"]
    with pytest.raises(InputError, match="none of the 1 questions is held out"):
        held_out_cases(cases[2:])
