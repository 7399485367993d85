"""Examples hold what they must: the answer at its offset, and no other passage that has it."""

from __future__ import annotations

import json
import random
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragformer.errors import InputError
from ragformer.text.jsonl import read_jsonl
from ragformer.train.reading_data import (
    LONGEST_ANSWER,
    Source,
    cloze_example,
    first_span,
    load_sources,
    text_passages,
    window,
)


@pytest.fixture
def rows(data):
    return list(read_jsonl(data / "qa" / "squad-train-part.jsonl"))


@given(
    st.text("ab  é"), st.integers(0, 40), st.integers(1, 20), st.integers(1, 60), st.integers(0, 9)
)
def test_a_window_keeps_the_answer_and_knows_where_it_stands(text, start, length, size, seed):
    text += "x" * (start + length - len(text))
    end = start + length
    part, shift = window(text, start, end, size, random.Random(seed))
    assert (part, shift) == window(text, start, end, size, random.Random(seed))
    assert text[shift : shift + len(part)] == part
    assert shift <= start
    assert part[start - shift : end - shift] == text[start:end]


def test_a_window_is_about_as_long_as_asked_even_without_spaces():
    prose, solid = "some words " * 200, "x" * 2000
    for seed in range(20):
        for text in (prose, solid):
            part, _ = window(text, 100, 110, 300, random.Random(seed))
            assert 200 <= len(part) <= 460
        part, _ = window(prose, 1000, 1004, 300, random.Random(seed))
        assert set(part.split()) <= {"some", "words"}


def test_a_window_moves_around_a_late_answer():
    text = "some words " * 200
    assert len({window(text, 1100, 1105, 300, random.Random(seed))[1] for seed in range(20)}) > 10


def test_the_first_short_literal_answer_counts():
    def row(*answers):
        pairs = [{"text": text, "start": start} for text, start in answers]
        return {"answerable": True, "answers": pairs}

    assert first_span(row(("none", -1), ("x" * (LONGEST_ANSWER + 1), 0), ("", 3), ("ab", 4))) == (
        4,
        6,
    )
    assert first_span(row(("none", -1))) is None
    assert first_span({"answerable": False, "answers": [{"text": "a", "start": 0}]}) is None


@pytest.mark.parametrize("characters", [120, 900])
def test_an_example_of_a_row_holds_its_answer_and_no_distractor_does(rows, characters):
    source = Source("qa", rows, characters)
    kinds = {"answered": 0, "unanswerable": 0, "answer taken out": 0, "several": 0, "altered": 0}
    answers = {row["question"]: [a["text"] for a in row["answers"]] for row in rows}
    for seed in range(300):
        example = source.example(random.Random(seed))
        assert example == source.example(random.Random(seed))
        if example.question not in answers:
            kinds["altered"] += 1
            assert example.answer is None
            continue
        wanted = answers[example.question]
        texts = [text for _, text in example.passages]
        kinds["several"] += len(texts) > 1
        if example.answer is None:
            kinds["answer taken out" if wanted else "unanswerable"] += 1
            assert not any(answer in text for answer in wanted for text in texts)
            continue
        kinds["answered"] += 1
        gold, start, end = example.answer
        assert texts[gold][start:end] == wanted[0]
        assert not any(wanted[0] in text for n, text in enumerate(texts) if n != gold)
    assert min(kinds.values()) > 0


def test_only_its_words_tell_the_gold_passage_from_the_others():
    words = ["river", "hill", "stone", "wood", "field", "lake", "tower", "bridge"]
    rows = []
    for n, word in enumerate(words):
        context = f"Every {word} here is old. " * 40 + f"The keeper is number {n}7. " + "So. " * 200
        answer = {"text": f"{n}7", "start": context.index(f"{n}7")}
        question = f"Which keeper is at the {word}?"
        rows.append({"question": question, "context": context, "answers": [answer]})
    source = Source("qa", [{**row, "answerable": True, "title": ""} for row in rows], 300)
    longest_is_gold = []
    for seed in range(400):
        example = source.example(random.Random(seed))
        if example.answer and len(example.passages) == 2:
            sizes = [len(text) for _, text in example.passages]
            longest_is_gold.append(sizes.index(max(sizes)) == example.answer[0])
            assert max(sizes) - min(sizes) < 60
    assert 0.25 < sum(longest_is_gold) / len(longest_is_gold) < 0.75


def test_an_instruction_has_a_response_to_write(data):
    (source,) = [s for s in load_sources(data, 100) if s.name == "instruct/scitldr"]
    example = source.example(random.Random(1))
    assert (example.question, example.answer) == ("Sum up.", None)
    assert example.response.startswith("Animal ")
    assert len(example.passages[0][1]) == 100


def test_rows_that_teach_nothing_are_left_out(data, tmp_path, rows):
    shutil.copytree(data, tmp_path, dirs_exist_ok=True)
    long = {**rows[0], "answers": [{"text": "x" * 500, "start": 0}]}
    path = tmp_path / "qa" / "squad-train-part.jsonl"
    path.write_text("\n".join(map(json.dumps, [long, *rows[:3]])))
    sources = {source.name: source for source in load_sources(tmp_path, 900)}
    assert sources["qa/squad-train-part"].rows == rows[:3]
    path.write_text(json.dumps({"question": "?", "context": "", "answers": []}))
    with pytest.raises(InputError, match="row 1 has no answerable"):
        load_sources(tmp_path, 900)
    path.write_text("")
    (tmp_path / "pairs" / "medquad.jsonl").write_text("")
    (tmp_path / "instruct" / "scitldr.jsonl").write_text("")
    with pytest.raises(InputError, match="holds no row to train on"):
        load_sources(tmp_path, 900)


def test_a_cloze_answer_is_left_out_of_the_question_and_stands_in_the_passage(data):
    passages = text_passages(data / "text", 900, random.Random(0))
    found = moved = refused = 0
    for seed in range(400):
        title, text = next(passages)
        example = cloze_example(title, text, random.Random(seed))
        assert example == cloze_example(title, text, random.Random(seed))
        if example is None:
            continue
        ((_, shown),) = example.passages
        assert example.question.endswith("?")
        if example.answer is None:
            refused += 1
            continue
        _, start, end = example.answer
        found += 1
        moved += shown != text
        assert shown[start:end][0].isupper() or shown[start:end][0].isdigit()
        assert start == 0 or not shown[start - 1].isalnum()
    assert min(found, moved, refused) > 0


def test_a_cloze_needs_three_sentences_and_something_to_ask_for():
    rng = random.Random(0)
    for text in ("", "Only one sentence with 5 words here.", "nothing to ask for here. " * 8):
        assert all(cloze_example("", text, rng) is None for _ in range(20))


def test_a_cloze_whose_sentence_stays_is_answered_there():
    text = " ".join(f"There in the town number {n} they sold a great many apples." for n in "345")
    for seed in range(30):
        example = cloze_example("t", text, random.Random(seed), keep_sentence=1.0)
        if example is not None:
            _, start, end = example.answer
            assert example.passages == (("t", text),)
            assert text[start:end] in set("345")
            assert text[start:end] not in example.question


def test_passages_of_plain_text_are_of_the_size_asked_for(data):
    documents = list(read_jsonl(data / "text" / "notes.jsonl.xz"))
    whole = {d["title"]: "\n".join(s["text"] for s in d["sections"]) for d in documents}
    passages = text_passages(data / "text", 400, random.Random(0))
    for _ in range(120):
        title, text = next(passages)
        assert 300 <= len(text) <= 400
        assert text.replace("\n", "") in whole[title].replace("\n", "")


def test_a_file_without_a_passage_says_so_instead_of_searching_for_ever(tmp_path):
    row = {"title": "T", "sections": [{"heading": "", "text": "too short"}]}
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    with pytest.raises(InputError, match=r"a\.jsonl holds no passage of 300 characters"):
        next(text_passages(tmp_path, 900, random.Random(0)))
    with pytest.raises(InputError, match=r"holds no \.jsonl"):
        next(text_passages(tmp_path / "none", 900, random.Random(0)))
