"""Rows point at the answer's own tokens, and padding is neither input nor target."""

from __future__ import annotations

import random

import pytest
import torch

from ragformer.answer.reading import SEGMENT_ANSWER
from ragformer.text.tokenizer import ANSWER, EOS, NO_ANSWER, QUOTE
from ragformer.train.examples import Example
from ragformer.train.reading_batch import IGNORE, MAX_ANSWER_TOKENS, Collator
from ragformer.train.reading_data import load_sources

PASSAGES = (("Handbook", "The notice period is three months."), ("", "Pay is due on day 25."))


@pytest.fixture
def collator(tokenizer):
    return Collator(tokenizer)


def answered(text: str, passage: int, question: str = "When is pay due?") -> Example:
    start = PASSAGES[passage][1].index(text)
    return Example(question, PASSAGES, (passage, start, start + len(text)))


@pytest.mark.parametrize(("text", "passage"), [("day 25", 1), ("three months", 0), ("The", 0)])
def test_targets_point_at_the_answer_and_end_it(collator, tokenizer, text, passage):
    row = collator.row(answered(text, passage))
    reading = row.reading
    assert reading.ids[row.first] == ANSWER
    assert row.targets[-1] == QUOTE
    places = [target - tokenizer.vocab_size for target in row.targets[:-1]]
    assert places == list(range(places[0], places[0] + len(places)))
    assert all(reading.places[at][0] == passage for at in places)
    copied = tokenizer.decode([reading.ids[at] for at in places])
    assert text in copied
    assert len(copied) <= len(text) + 12
    assert row.previous == [-1, *places]
    # What was copied is read again as the answer's own tokens, one input for each target.
    assert reading.ids[row.first + 1 :] == [reading.ids[at] for at in places]
    assert len(row.previous) == len(row.targets) == len(reading.ids) - row.first


def test_no_answer_is_one_target(collator):
    row = collator.row(Example("Who?", PASSAGES))
    assert (row.previous, row.targets) == ([-1], [NO_ANSWER])
    assert row.first == len(row.reading.ids) - 1


def test_a_response_is_written_not_copied(collator, tokenizer):
    row = collator.row(Example("Sum up.", PASSAGES, response="Pay comes late."))
    assert row.targets[-1] == EOS
    assert tokenizer.decode(row.targets) == " Pay comes late."
    assert row.previous == [-1] * len(row.targets)
    assert row.reading.segments[row.first + 1 :] == [SEGMENT_ANSWER] * (len(row.targets) - 1)


def test_a_long_answer_or_response_is_cut(collator):
    text = "number 7 " * 60
    example = Example("What?", (("", text),), (0, 0, len(text)))
    assert len(collator.row(example).targets) == MAX_ANSWER_TOKENS + 1
    assert (
        len(collator.row(Example("What?", PASSAGES, response=text)).targets)
        == MAX_ANSWER_TOKENS + 1
    )


def test_an_answer_that_falls_on_no_token_makes_no_row(collator):
    assert collator.row(Example("What?", PASSAGES, (0, 900, 905))) is None


def test_a_batch_is_its_rows_and_padding(collator, tokenizer, data):
    rng, rows = random.Random(0), []
    sources = load_sources(data, 400)
    while len(rows) < 6:
        rows.append(collator.row(rng.choice(sources).example(rng)))
    batch = collator.batch(rows, torch.device("cpu"))
    assert batch.n_tokens == sum(len(row.reading.ids) for row in rows)
    for n, row in enumerate(rows):
        reading, count, inputs = row.reading, len(row.reading.ids), len(row.targets)
        assert batch.ids_BT[n, :count].tolist() == reading.ids
        assert batch.positions_BT[n, :count].tolist() == reading.positions
        assert batch.segments_BT[n, :count].tolist() == reading.segments
        assert batch.blocks_BT[n, :count].tolist() == reading.blocks
        assert set(batch.blocks_BT[n, count:].tolist()) <= {-1}
        assert batch.answer_block_B[n] == reading.blocks[-1]
        assert not batch.copyable_BT[n, count:].any()
        assert batch.answer_BA[n, :inputs].tolist() == list(range(row.first, count))
        assert batch.previous_BA[n, :inputs].tolist() == row.previous
        assert batch.targets_BA[n, :inputs].tolist() == row.targets
        assert set(batch.targets_BA[n, inputs:].tolist()) <= {IGNORE}
        for target in row.targets:
            if target >= tokenizer.vocab_size:
                assert batch.copyable_BT[n, target - tokenizer.vocab_size]
