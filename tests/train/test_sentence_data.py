"""The right sentence stands where the example says, among others, and nowhere else."""

from __future__ import annotations

import random

from ragformer.train.sentence_data import PairSource

KEEPERS = ["Ada Brown", "Carl Voss", "Eva Lind", "Ben Hale", "Ida Moor", "Max Reed"]


def rows_of(filler: str) -> list[dict[str, str]]:
    return [
        {
            "query": f"Who counted otters in {1900 + n}?",
            "positive": f"In {1900 + n} {keeper} counted otters here. {filler}".strip(),
        }
        for n, keeper in enumerate(KEEPERS * 3)
    ]


def test_a_sentence_stands_among_others_in_paragraphs():
    rows = rows_of("")
    positive_of = {row["query"]: row["positive"] for row in rows}
    source = PairSource("pairs/sentences", rows, 300)
    counts, places = set(), set()
    for seed in range(60):
        example = source.example(random.Random(seed))
        assert example == source.example(random.Random(seed))
        assert example.somewhere
        passage, start, end = example.answer
        texts = [text for _, text in example.passages]
        assert texts[passage][start:end] == positive_of[example.question]
        assert sum(text.count(positive_of[example.question]) for text in texts) == 1
        assert all(len(text) <= 300 for text in texts)
        counts.add(len(texts))
        places.add(start > 0)
    assert len(counts) > 1
    assert places == {True, False}


def test_a_passage_stands_beside_others_that_do_not_answer():
    rows = rows_of("They swim all night. " * 30)
    rows.append({"query": rows[0]["query"], "positive": "Another right one. " * 30})
    source = PairSource("pairs/passages", rows, 200)
    for seed in range(60):
        example = source.example(random.Random(seed))
        passage, start, end = example.answer
        right = [row["positive"] for row in rows if row["query"] == example.question]
        for n, (_, text) in enumerate(example.passages):
            assert any(one.startswith(text) for one in right) == (n == passage)
        assert (start, end) == (0, len(example.passages[passage][1]))
        assert end <= 200
