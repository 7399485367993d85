"""The lessons on the decoder in the box, at toy size: it learns, and says why it answers."""

from __future__ import annotations

import math

import pytest
import torch

from ragformer.answer.reader import load_decoder
from ragformer.lessons.preference import preference_loss
from ragformer.lessons.replies import Citing, Reply
from ragformer.text.tokenizer import QUOTE, mark_id
from ragformer.train.examples import Example


def test_adapters_learn_in_a_fiftieth_of_the_numbers(toy) -> None:
    lesson = toy("lora")
    assert lesson.fell("full") < 0.7
    assert lesson.fell("lora") < 0.85
    assert any("82,944 numbers learn, 1.11%" in line for line in lesson.lines)


def test_what_is_liked_grows_likelier(toy) -> None:
    lesson = toy("preference")
    values = [loss.value for loss in lesson.losses]
    assert sum(values[-3:]) < 0.8 * sum(values[:3])
    assert any(" and its mark" in line for line in lesson.lines), "what it never wrote before"


def test_a_mark_is_copied_from_the_head_of_its_passage() -> None:
    citing = Citing(load_decoder(confidence=False))
    asked = Example("Who rang?", (("", "Ann rang."), ("Log", "Bob slept.")), (0, 0, 3))
    for passage in range(2):
        row = citing.row(asked, passage)
        *copied, end, mark = row.targets
        assert row.reading.ids[mark - citing.model.config.vocab_size] == mark_id(passage + 1)
        assert end == QUOTE
        places = [row.reading.places[at - citing.model.config.vocab_size] for at in copied]
        assert [place[0] for place in places] == [0] * len(places), "the answer is the first one's"
        assert places[-1][2] == 3
    assert citing.ending(row) != mark, "left alone it does not cite"


def test_the_loss_of_a_pair_is_least_where_the_liked_reply_gained() -> None:
    start_B, n_B = torch.tensor([-4.0, -6.0]), torch.tensor([2, 3])
    rose, same, fell = (
        float(preference_loss(start_B + torch.tensor(by), start_B, n_B))
        for by in ([1.0, -1.0], [0.0, 0.0], [-1.0, -3.0])
    )
    assert same == pytest.approx(math.log(2) + 4 / 2)
    assert rose < same < fell, "the second term: both fell, the disliked one by more"


def test_right_comes_before_cited_and_cited_before_short() -> None:
    ordered = [
        Reply("of 30 days", True),
        Reply("30 days", False),
        Reply("a few of 30 days", False),
        Reply("ten", True),
        Reply("ten", False),
    ]
    ranks = [reply.liked(["30 days"]) for reply in ordered]
    assert ranks == sorted(ranks, reverse=True)
    assert len(set(ranks)) == len(ranks)


def test_the_same_facts_in_other_prompts(toy) -> None:
    lesson = toy("prompt")
    rows = [line.split() for line in lesson.lines if "-shot" in line[:9]]
    assert [row[0] for row in rows] == ["zero-shot", "few-shot"]
    assert {len(row) for row in rows} == {1 + 1 + 3}
    first, middle, last = rows[0][-3:]
    assert first == middle == last, "our decoder reads every passage from one position"
    assert lesson.result.outcome.reached


def test_an_answer_hangs_on_the_passage_it_quotes(toy) -> None:
    lesson = toy("explain")
    assert '"27 days"' in lesson.lines[0]
    assert 'it says "27 days"' not in lesson.lines[1]
    assert any(
        line.startswith('lens, block 4: the likeliest start is "2"') for line in lesson.lines
    )
    assert lesson.result.outcome.value == 1
