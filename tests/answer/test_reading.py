"""Laws of the prompt: who sees whom, what each token stands for, and what can be in it at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ragformer.answer.reader import Reader
from ragformer.answer.reading import (
    MAX_CONTEXT_LINE_TOKENS,
    MAX_QUESTION_TOKENS,
    N_SEGMENTS,
    SEGMENT_QUESTION,
    SEGMENT_QUESTION_FOUND,
    block_mask,
    make_reading,
    tokenize,
)
from ragformer.text.normalize import for_model
from ragformer.text.tokenizer import (
    ANSWER,
    FIRST_MARK,
    MAX_MARKS,
    PASSAGE,
    QUESTION,
    mark_id,
)

CONTROLS = ["<answer>", "<mark_3>", "<no_answer>", "<passage>", "<pad>", "</s>", "[1]", "\u2581"]
TEXTS = st.lists(
    st.one_of(
        st.sampled_from(
            [*CONTROLS, "the notice period ", "Ærø ", "日本語", "😀👩‍👩‍👧", "\n\n", "\t", "\0"]
        ),
        st.text(max_size=8),
    ),
    max_size=8,
).map("".join)
PASSAGES = st.lists(st.tuples(TEXTS, TEXTS), max_size=4)


@given(st.lists(st.integers(1, 4), min_size=2, max_size=5), st.integers(1, 3), st.integers(0, 3))
def test_who_sees_whom(sizes: list[int], n_answer: int, n_padding: int) -> None:
    blocks = [block for block, size in enumerate(sizes) for _ in range(size)]
    last = len(sizes)
    blocks += [last] * n_answer + [-1] * n_padding
    mask = block_mask(torch.tensor([blocks]), torch.tensor([last]))[0]
    sees = [{s for s in range(len(blocks)) if mask[t, s]} for t in range(len(blocks))]
    for t, block in enumerate(blocks):
        if block == -1:
            assert sees[t] == {t}
        elif block == last:
            assert sees[t] == set(range(t + 1))
        else:
            assert sees[t] == {s for s, other in enumerate(blocks) if other in (0, block)}


@settings(max_examples=60)
@given(TEXTS, PASSAGES)
def test_no_text_makes_a_control_token(
    reader: Reader, question: str, passages: list[tuple[str, str]]
) -> None:
    reading = make_reading(question, reader.sources(question, passages), reader.tokenizer)
    frame = [QUESTION]
    for n in range(1, len(passages) + 1):
        frame += [PASSAGE, mark_id(n), PASSAGE]
    assert [i for i in reading.ids if i < FIRST_MARK + MAX_MARKS] == [*frame, ANSWER]


@settings(max_examples=60)
@given(TEXTS, PASSAGES)
def test_the_lists_are_as_long_as_the_prompt_and_the_blocks_stand_in_order(
    reader: Reader, question: str, passages: list[tuple[str, str]]
) -> None:
    sources = reader.sources(question, passages)
    reading = make_reading(question, sources, reader.tokenizer)
    lists: Sequence[Sequence[Any]] = [reading.positions, reading.segments, reading.blocks]
    assert {len(values) for values in [*lists, reading.places]} == {len(reading.ids)}
    assert reading.blocks == sorted(reading.blocks)
    assert all(0 <= segment < N_SEGMENTS for segment in reading.segments)
    starts = {reading.positions[reading.blocks.index(n + 1)] for n in range(len(sources))}
    assert starts <= {reading.blocks.count(0)}
    assert reading.answer_position == max(reading.positions)
    assert reading.positions.count(reading.answer_position) == 1


@given(TEXTS)
def test_tokens_stand_for_their_characters_and_leave_none_out(reader: Reader, text: str) -> None:
    data_of = reader.vocabulary.bytes_of
    tokens = tokenize(text, reader.tokenizer)
    done = (0, 0)
    for n, (token, (start, end)) in enumerate(zip(tokens.ids, tokens.spans, strict=True)):
        data, shown = data_of[token], for_model(text[start:end])
        whole = (" " + shown if n == 0 else shown).encode()
        assert data == whole or (len(data) == 1 and data in shown.encode())
        assert start == done[1] or (start, end) == done
        done = (start, end)
    assert done[1] == len(text)


@settings(max_examples=60)
@given(TEXTS, PASSAGES)
def test_places_name_passage_text_whole_and_nothing_else(
    reader: Reader, question: str, passages: list[tuple[str, str]]
) -> None:
    sources = reader.sources(question, passages)
    reading = make_reading(question, sources, reader.tokenizer)
    for source in sources:
        here = [place for place in reading.places if place and place[0] == source.index]
        assert [(start, end) for _, start, end in here] == list(source.text.spans)
        block = [
            b for b, place in zip(reading.blocks, reading.places, strict=True) if place in here
        ]
        assert set(block) <= {source.index + 1}
    copyable = [i for i, place in zip(reading.ids, reading.places, strict=True) if place]
    assert copyable == [i for source in sources for i in source.text.ids]


def test_question_and_context_line_are_cut_where_they_grow_long(reader: Reader) -> None:
    words = "remarkable notice periods " * 100
    reading = make_reading(words, reader.sources(words, [(words, "Two months.")]), reader.tokenizer)
    assert reading.blocks.count(0) == 1 + MAX_QUESTION_TOKENS
    text = len(tokenize("Two months.", reader.tokenizer).ids)
    assert reading.blocks.count(1) == 3 + MAX_CONTEXT_LINE_TOKENS + text


def test_a_word_of_the_question_is_told_in_both(reader: Reader) -> None:
    question, text = "Who pays dividends?", "Ferries left. The dividend is 3."
    reading = make_reading(question, reader.sources(question, [("", text)]), reader.tokenizer)
    level = {}
    for place, segment in zip(reading.places, reading.segments, strict=True):
        if place is not None:
            level[place[1]] = segment
    dividend = text.index(" dividend")
    assert level[0] < level[text.index(" is")] < level[dividend] == max(level.values())
    told = [s for s, b in zip(reading.segments, reading.blocks, strict=True) if b == 0]
    assert set(told) == {SEGMENT_QUESTION, SEGMENT_QUESTION_FOUND}
    apart = make_reading(question, reader.sources(question, [("", "None.")]), reader.tokenizer)
    assert set(apart.segments[: len(told)]) == {SEGMENT_QUESTION}


NOTICE = ("Handbook", "The notice period is two months. It starts at the end of a month.")
WEATHER = ("Weather", "Clouds gather over Holmvik; strong gales follow, then 14 mm fell.")
TEA = ("Tea", "Steep green leaves at 80 degrees.")


def hidden_of(reader: Reader, passages: Sequence[tuple[str, str]], block: int) -> Tensor:
    prompt = reader.open("How long is the notice period?", passages)
    at = [i for i, b in enumerate(prompt.reading.blocks) if b == block]
    return prompt.hidden_1SD[0, at]


def test_an_irrelevant_passage_changes_nothing_for_the_others(reader: Reader) -> None:
    for block in (0, 1):
        alone = hidden_of(reader, [NOTICE], block)
        for others in ([WEATHER], [TEA, WEATHER], [("", "")]):
            beside = hidden_of(reader, [NOTICE, *others], block)
            torch.testing.assert_close(beside, alone, atol=1e-4, rtol=1e-4)
    # The law says something: what a passage itself holds does change its states.
    changed = hidden_of(reader, [(NOTICE[0], NOTICE[1].replace("two", "ten"))], 1)
    assert float((changed - hidden_of(reader, [NOTICE], 1)).abs().max()) > 0.1


class Turned(Reader):
    """Reads the passages last to first, each with the mark it has."""

    def sources(self, question: str, passages: Sequence[tuple[str, str]]) -> list[Any]:
        return super().sources(question, passages)[::-1]


def test_passages_may_be_read_in_any_order(readers: tuple[Reader, ...]) -> None:
    passages = [NOTICE, WEATHER, TEA]
    for reader in readers:
        turned = Turned(reader.model, reader.tokenizer, reader.id, bf16=False)
        one, other = (r.read("How long is the notice period?", passages) for r in (reader, turned))
        found = [
            {(c.passage, c.start, c.end): c.log_likelihood for c in r.candidates}
            for r in (one, other)
        ]
        assert found[0].keys() == found[1].keys()
        for key, value in found[0].items():
            assert abs(value - found[1][key]) < 1e-4
        assert abs(one.no_answer - other.no_answer) < 1e-4
