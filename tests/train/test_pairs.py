"""Mined and given pairs: the query asks for the passage it comes with."""

from __future__ import annotations

import json
import math
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ragformer.errors import InputError
from ragformer.text.tokenizer import PAD
from ragformer.train.data import jsonl_files
from ragformer.train.encoder import contrastive_loss
from ragformer.train.pairs import load_pairs, mine_definition, mine_heading, mine_sentence, pad

WORDS = ["some", "words", "of", "a", "sentence", "about", "notice"]
SENTENCES = st.lists(
    st.lists(st.sampled_from(WORDS), min_size=6).map(lambda words: " ".join(words) + "."),
    max_size=12,
).map(" ".join)


@given(st.lists(SENTENCES, max_size=3).map("\n\n".join), st.integers(0, 99))
def test_a_mined_sentence_asks_for_its_paragraph(text, seed):
    pairs = list(mine_sentence("Title", "Heading", text, random.Random(seed)))
    assert pairs == list(mine_sentence("Title", "Heading", text, random.Random(seed)))
    for query, passage in pairs:
        body = passage.removeprefix("Title. ")
        homes = [part for part in text.split("\n\n") if set(query.split()) <= set(part.split())]
        assert any(set(body.split()) <= set(home.split()) for home in homes)
        assert len(query.split()) >= 4


def test_the_sentence_stays_in_six_of_ten_paragraphs():
    text = " ".join(f"word{i}a word{i}b word{i}c word{i}d word{i}e word{i}f." for i in range(8))
    rng = random.Random(0)
    kept = drawn = 0
    for _ in range(400):
        for query, passage in mine_sentence("", "", text, rng):
            drawn += 1
            kept += query.split()[0] in passage
    assert 0.5 < kept / drawn < 0.7


@pytest.mark.parametrize(
    ("start", "question"),
    [
        ("A passport is a travel document", "What is a passport?"),
        ("Immigration stamps are a useful reminder", "What are Immigration stamps?"),
        ("The lower river basin is the largest", "What is the lower river basin?"),
        ("This is a test", None),
        ("It is the largest", None),
        ("Nobody knows what is a passport", None),
        ("A passport may be a travel document", None),
    ],
)
def test_a_definition_answers_what_its_term_is(start, question):
    text = f"{start} of its kind. " + "More is said about it here. " * 6
    found = list(mine_definition("T", "H", f"Short is a word.\n\n{text}", random.Random(0)))
    assert found == ([(question, text)] if question else [])


def test_a_heading_that_asks_needs_no_title():
    rng = random.Random(0)
    assert list(mine_heading("T", "How do otters swim?", "x" * 200, rng)) == [
        ("How do otters swim?", "x" * 200)
    ]


def test_a_heading_asks_for_a_section_that_is_long_enough():
    rng = random.Random(0)
    assert list(mine_heading("T", "H", "x" * 199, rng)) == []
    assert list(mine_heading("T", "H", "x" * 1000, rng)) == [("T H", "x" * 900)]
    for heading in ("T", "Abstract", ""):
        assert list(mine_heading("T", heading, "x" * 200, rng)) == [("T", "x" * 200)]


def test_every_source_is_loaded_the_same_each_time(data, tokenizer):
    sources, again = (load_pairs(data, tokenizer, 64, 1000, seed=0) for _ in range(2))
    assert [(source.name, len(source.queries)) for source in sources] == [
        ("pairs/medquad", 24),
        ("qa/squad-train-part", 29),  # of 30 answerable ones, one is held out
        ("mined-sentence", len(sources[2].queries)),
        ("mined-heading", 46),  # of 24 documents with two sections, one is held out
    ]
    for a, b in zip(sources, again, strict=True):
        assert [row.tolist() for row in a.queries] == [row.tolist() for row in b.queries]
        assert len(a.queries) == len(a.passages) == len(a.keys) > 0
        assert max(map(len, a.passages)) <= 64
    assert tokenizer.decode(sources[0].queries[3].tolist()) == " animals of Lake Vener 3"
    few = load_pairs(data, tokenizer, 64, 4, seed=0)
    assert len(few[3].queries) < 46


def test_equal_passages_have_equal_keys(data, tokenizer):
    source = load_pairs(data, tokenizer, 64, 1000, seed=0)[1]
    rows = [row.tobytes() for row in source.passages]
    assert len(set(zip(rows, source.keys, strict=True))) == len(set(source.keys))


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(*shape, generator=generator), dim=-1)


def test_aligned_pairs_have_the_lower_loss():
    vectors_BD, scale, same_BB = unit(6, 8), torch.tensor(2.0), torch.eye(6, dtype=torch.bool)
    aligned = contrastive_loss(vectors_BD, vectors_BD, same_BB, scale)
    assert aligned < contrastive_loss(vectors_BD, unit(6, 8, seed=1), same_BB, scale)
    assert aligned < contrastive_loss(vectors_BD, vectors_BD.roll(1, 0), same_BB, scale)


def test_the_same_passage_twice_is_not_punished():
    vectors_BD, scale = unit(1, 8).expand(2, -1), torch.tensor(2.0)
    together, apart = torch.ones(2, 2, dtype=torch.bool), torch.eye(2, dtype=torch.bool)
    assert contrastive_loss(vectors_BD, vectors_BD, together, scale) == 0
    punished = contrastive_loss(vectors_BD, vectors_BD, apart, scale)
    assert float(punished) == pytest.approx(math.log(2), abs=1e-5)


@given(st.lists(st.lists(st.integers(1, 9), max_size=6), min_size=1, max_size=5))
def test_padding_keeps_every_row(rows):
    ids_BT, keep_BT = pad(rows, torch.device("cpu"))
    for row, ids_T, keep_T in zip(rows, ids_BT, keep_BT, strict=True):
        # An empty row keeps one PAD, so that its mean is a number.
        assert ids_T[keep_T].tolist() == (row or [PAD])
        assert set(ids_T[~keep_T].tolist()) <= {PAD}


def test_a_folder_without_data_or_with_foreign_rows_is_one_sentence(data, tokenizer, tmp_path):
    with pytest.raises(InputError, match=r"pairs holds no \.jsonl"):
        load_pairs(tmp_path, tokenizer, 64, 10, seed=0)
    for name in ("pairs", "qa", "text"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jsonl").write_text("")
    assert len(jsonl_files(tmp_path / "qa")) == 1
    with pytest.raises(InputError, match="holds no pair to train on"):
        load_pairs(tmp_path, tokenizer, 64, 10, seed=0)
    wrong = {
        "pairs": "no query and no positive",
        "qa": "no title and no",
        "text": "no title and no",
    }
    for name, message in wrong.items():
        path = tmp_path / name / "a.jsonl"
        path.write_text(json.dumps({"question": "?"}))
        with pytest.raises(InputError, match=rf"a\.jsonl row 1 has {message}"):
            load_pairs(tmp_path, tokenizer, 64, 10, seed=0)
        path.write_text("")
