"""Laws of reading, on random weights: answers are copied, scores exact, quotes whole."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ragformer.answer.edges import whole_words
from ragformer.answer.reader import (
    MAX_PROMPT_TOKENS,
    OpenPrompt,
    Reader,
    load_decoder,
)
from ragformer.answer.reading import SEGMENT_ANSWER, block_mask
from ragformer.errors import WeightsError
from ragformer.nn.constrain import Range
from ragformer.text.tokenizer import MAX_MARKS, NO_ANSWER, QUOTE

TEXTS = st.lists(
    st.one_of(
        st.sampled_from(
            ["The notice period ", "is 30 days.\n", "日本語", "😀", "\u3000", "  ", "\0", "[2]"]
        ),
        st.text(max_size=6),
    ),
    max_size=6,
).map("".join)
QUESTION = "How long is the notice period?"


@settings(max_examples=60)
@given(TEXTS, st.lists(TEXTS, max_size=3), st.integers(0, 2))
def test_an_answer_is_a_run_of_one_passage(
    readers: tuple[Reader, ...], question: str, texts: list[str], which: int
) -> None:
    read = readers[which].read(question, [("Title", text) for text in texts])
    assert bool(read.candidates) == any(text.strip() for text in texts)
    for candidate in read.candidates:
        text = texts[candidate.passage]
        run = text[candidate.start : candidate.end]
        assert 0 <= candidate.start < candidate.end <= len(text)
        assert run == run.strip()
        assert (candidate.start, candidate.end) == whole_words(text, candidate.start, candidate.end)
        assert -math.inf < candidate.log_likelihood <= 1e-6
    scores = [candidate.log_likelihood for candidate in read.candidates]
    assert scores == sorted(scores, reverse=True)
    assert len({(c.passage, c.start) for c in read.candidates}) == len(scores)
    assert read.no_answer <= 1e-6
    assert read.margin == (scores[0] - read.no_answer if scores else -math.inf)


@pytest.mark.parametrize(
    ("text", "chosen", "whole"),
    [
        ("for 15 months", "5 mon", "15 months"),
        ("EUR 3,029.64.", "9.6", "3,029.64"),
        ("EUR 3,029.64.", "64", "3,029.64"),
        ("error E4 means", "4 ", "E4"),
        ("in the 1990s.", "990", "1990"),
        ("a well-known fact", "nown", "known"),
        ("在中国有限公司", "中国", "中国"),
        ("Çeşme", "e", "Çeşme"),
        ("It is 4. Then 5", " 4. ", "4."),
        ("תקופת ההודעה היא", "הודע", "ההודעה"),
        ("مدة الإشعار شهران", "إشع", "الإشعار"),
        ("सूचना अवधि दो", "वध", "अवधि"),
        ("हिन्दी भाषा", "ह", "हिन्दी"),
        ("می\u200cخواهم آب", "خواهم", "می\u200cخواهم"),
        ("Rene\u0301e said", "e\u0301", "Rene\u0301e"),
        ("ระยะเวลาที่", "ที", "ที่"),
        ("iPhone手机", "Phone", "iPhone"),
    ],
)
def test_an_answer_cuts_no_word_and_no_number(text: str, chosen: str, whole: str) -> None:
    start = text.rindex(chosen) if chosen in text else text.index(chosen.strip())
    start, end = whole_words(text, start, start + len(chosen))
    assert text[start:end] == whole


@given(TEXTS, st.data())
def test_whole_words_hold_what_was_chosen_and_stay_as_they_are(
    text: str, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    low, high = whole_words(text, start, end)
    if text[start:end].strip():
        assert text[start:end].strip() in text[low:high]
        assert whole_words(text, low, high) == (low, high)
        assert set(text[low:start] + text[end:high]).isdisjoint(" \n\u3000")


@pytest.mark.parametrize("text", ["", " ", "\n\n\n", "\u3000", "\t\u00a0 "])
def test_where_nothing_is_visible_there_is_no_answer(reader: Reader, text: str) -> None:
    read = reader.read(QUESTION, [("", text)])
    assert (read.candidates, read.n_passages, read.margin) == ((), 1, -math.inf)


def test_a_list_of_contents_answers_nothing(reader: Reader) -> None:
    line = "9.1 Notice periods . . . . . . . . . 14"
    assert reader.read("What is the notice period?", [("", line)]).candidates == ()
    beside = f"{line}\nThe period is three months."
    (passage,) = {
        beside[c.start : c.end] for c in reader.read(QUESTION, [("", beside)]).candidates[:1]
    }
    assert passage in "The period is three months."


def test_without_passages_there_is_no_answer(reader: Reader) -> None:
    assert reader.read(QUESTION, []).candidates == ()


def teacher_forced(reader: Reader, prompt: OpenPrompt, first: int, last: int) -> float:
    """The log-likelihood of copying tokens first..last, by one full forward and no cache."""
    reading, model = prompt.reading, reader.model
    n, copied = len(reading.ids), list(range(first, last + 1))
    answer = reading.blocks[-1]
    ids = torch.tensor([reading.ids + [reading.ids[at] for at in copied]])
    later = [reading.answer_position + 1 + i for i in range(len(copied))]
    blocks = torch.tensor([reading.blocks + [answer] * len(copied)])
    hidden = model.transformer(
        ids,
        positions_BT=torch.tensor([reading.positions + later]),
        segments_BT=torch.tensor([reading.segments + [SEGMENT_ANSWER] * len(copied)]),
        mask_BTS=block_mask(blocks, torch.tensor([answer])),
    )
    previous = torch.tensor([[-1, *copied]])
    places = model.place_logits(hidden[:, n - 1 :], hidden[:, :n], previous)[0]
    words = model.token_logits(hidden[:, n - 1 :])[0]
    visible = [
        at for at, place in enumerate(reading.places) if place and _text(prompt, place).strip()
    ]
    start = torch.log_softmax(torch.cat([places[0, visible], words[0, NO_ANSWER, None]]), -1)
    total = float(start[visible.index(first)])
    for step, at in enumerate(copied, start=1):
        on = places[step, at + 1] if reading.places[at + 1] else torch.tensor(-torch.inf)
        going, ending = torch.log_softmax(torch.stack([on, words[step, QUOTE]]), -1).tolist()
        total += ending if at == last else going
    return total


def _text(prompt: OpenPrompt, place: tuple[int, int, int]) -> str:
    return prompt.texts[place[0]][place[1] : place[2]]


@torch.inference_mode()
@pytest.mark.parametrize("texts", [("It is two months.",), ("Two months", "In May"), ("日 x", "a")])
def test_the_best_answer_is_the_best_of_all(
    readers: tuple[Reader, ...], texts: tuple[str, ...]
) -> None:
    for reader in readers:
        prompt = reader.open(QUESTION, [("", text) for text in texts])
        places = prompt.reading.places
        visible = [at for at, place in enumerate(places) if place and _text(prompt, place).strip()]
        assert len(visible) <= 6  # as many as there are beams, so that the search is over all
        scores: dict[tuple[int, int, int], float] = {}
        likelihood = dict.fromkeys(range(len(texts)), 0.0)
        for first in visible:
            passage, start, _ = places[first] or (0, 0, 0)
            for last in range(first, len(places)):
                place = places[last]
                if place is None or place[0] != passage:
                    break
                score = teacher_forced(reader, prompt, first, last)
                likelihood[passage] += math.exp(score)
                key = (passage, *whole_words(texts[passage], start, place[2]))
                scores[key] = max(score, scores.get(key, -math.inf))
        read = reader.find(prompt)
        best = read.candidates[0]
        # Each text is one sentence: the answer is the best of the likeliest sentence.
        likeliest = max(likelihood, key=likelihood.__getitem__)
        inside = {key: score for key, score in scores.items() if key[0] == likeliest}
        assert (best.passage, best.start, best.end) == max(inside, key=inside.__getitem__)
        for found in read.candidates:
            key = (found.passage, found.start, found.end)
            assert found.log_likelihood == pytest.approx(scores[key], abs=1e-3)
        any_answer = sum(likelihood.values())
        assert read.share == pytest.approx(likelihood[likeliest] / any_answer, abs=1e-3)
        # All answers and none are everything that can be said.
        assert any_answer + math.exp(read.no_answer) == pytest.approx(1.0, abs=1e-3)


PASSAGES = [("", f"The notice period is {n} months.") for n in ("two", "six", "nine")]


def test_a_prior_moves_the_answer_to_another_passage_and_nothing_else(
    readers: tuple[Reader, ...],
) -> None:
    for reader in readers:
        prompt = reader.open(QUESTION, PASSAGES)
        plain = reader.find(prompt)
        even = reader.find(prompt, [3.0] * 3)
        assert [(c.passage, c.start, c.end) for c in even.candidates] == [
            (c.passage, c.start, c.end) for c in plain.candidates
        ]
        assert even.candidates[0].log_likelihood == pytest.approx(
            plain.candidates[0].log_likelihood, abs=1e-4
        )
        for passage in range(3):
            moved = reader.find(prompt, [50.0 * (i == passage) for i in range(3)])
            assert {c.passage for c in moved.candidates} == {passage}
            assert moved.no_answer == pytest.approx(plain.no_answer, abs=1e-4)
            if passage == plain.candidates[0].passage:  # the order in it stays as well
                assert moved.candidates[0].start == plain.candidates[0].start
                assert moved.candidates[0].end == plain.candidates[0].end


def test_a_prior_counts_in_nats(reader: Reader) -> None:
    def odds(prior: list[float]) -> float:
        """How much likelier the answer starts in the first passage than in the second."""
        first, second = (
            reader.find(prompt, [p + 30.0 * (i == only) for i, p in enumerate(prior)])
            for only in range(2)
        )
        both = reader.find(prompt, prior)
        found = {c.passage: c.log_likelihood for c in reversed(both.candidates)}
        (known,) = found  # one sentence is chosen, and it is the whole passage
        whole = (first, second)[known].candidates[0].log_likelihood
        share = math.exp(found[known] - whole)
        return math.log(share / (1 - share)) * (1 if known == 0 else -1)

    prompt = reader.open(QUESTION, PASSAGES[:2])
    assert odds([2.0, 0.0]) - odds([0.0, 0.0]) == pytest.approx(2.0, abs=0.02)


def test_where_nothing_can_be_copied_a_prior_changes_nothing(reader: Reader) -> None:
    prompt = reader.open(QUESTION, [("", " ")])
    assert reader.find(prompt, [2.0]) == reader.find(prompt)


def test_the_same_question_has_one_answer(reader: Reader) -> None:
    passages = [("Handbook", "The notice period is two months."), ("", "Tea at 80 degrees.")]
    assert len({reader.read(QUESTION, passages) for _ in range(20)}) == 1


def test_an_open_prompt_is_read_and_quoted_any_number_of_times(reader: Reader) -> None:
    text = "The notice period is two months."
    prompt = reader.open(QUESTION, [("", text)])
    once = reader.find(prompt)
    quote = list(reader.write_quote(prompt, text, Range(0, 4, 17)))
    assert reader.find(prompt) == once
    assert list(reader.write_quote(prompt, text, Range(0, 4, 17))) == quote


@settings(max_examples=40)
@given(TEXTS.filter(lambda text: text != ""), st.data(), st.integers(0, 2), st.integers(0, 3))
def test_a_quote_is_the_characters_asked_for_and_their_mark(
    readers: tuple[Reader, ...], text: str, data: st.DataObject, which: int, passage: int
) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    prompt = readers[which].open(QUESTION, [("", text)] * (passage + 1))
    *pieces, mark = readers[which].write_quote(prompt, text, Range(passage, start, end))
    assert "".join(map(str, pieces)) == text[start:end]
    assert mark == passage + 1


def test_a_prompt_too_long_holds_fewer_whole_passages(reader: Reader) -> None:
    texts = [f"{n}. " + "The ferry leaves Holmvik at noon. " * 30 for n in range(MAX_MARKS + 8)]
    prompt = reader.open(QUESTION, [("Ferries", text) for text in texts])
    assert len(prompt.reading.ids) <= MAX_PROMPT_TOKENS
    assert [source.index for source in prompt.sources] == list(range(len(prompt.sources)))
    assert 5 < len(prompt.sources) < MAX_MARKS
    for source in prompt.sources:
        ends = [place[2] for place in prompt.reading.places if place and place[0] == source.index]
        assert max(ends) == len(texts[source.index])
    assert reader.find(prompt).n_passages == len(prompt.sources)


def test_a_passage_longer_than_the_decoder_is_left_out_alone(reader: Reader) -> None:
    passages = [("", "Noon. " * 1000), ("", "The ferry leaves at noon.")]
    read = reader.read("When does the ferry leave?", passages)
    assert read.n_passages == 1
    assert {candidate.passage for candidate in read.candidates} == {1}


def test_no_more_passages_are_read_than_can_be_marked(reader: Reader) -> None:
    assert reader.read(QUESTION, [("", "At noon.")] * (MAX_MARKS + 3)).n_passages == MAX_MARKS


def test_a_saved_decoder_is_loaded_or_named_as_damaged(tiny_models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "decoder"
    shutil.copytree(tiny_models / "decoder", folder)
    reader = load_decoder(folder)
    assert reader.confidence is not None
    (folder / "confidence.json").unlink()
    again = load_decoder(folder)
    assert (again.confidence, again.id) == (None, reader.id)
    passages = [("", "The ferry leaves at noon.")]
    assert again.read(QUESTION, passages) == reader.read(QUESTION, passages)
    config = json.loads((folder / "config.json").read_text())
    for values, said in [
        ({"kind": "encoder"}, "of kind encoder, not decoder"),
        ({"kind": "decoder"}, "describes no transformer"),
        (config | {"transformer": config["transformer"] | {"n_layers": 2}}, "lack .*blocks.1"),
        (config | {"transformer": config["transformer"] | {"d_pointer": 8}}, "pointer_k"),
    ]:
        (folder / "config.json").write_text(json.dumps(values))
        with pytest.raises(WeightsError, match=said):
            load_decoder(folder)
