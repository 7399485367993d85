"""Reading: what is scored is a run of the source's characters, and its sentence is the quote."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragformer.answer import rerank
from ragformer.answer.confidence import FEATURES
from ragformer.answer.reader import Reader, load_decoder
from ragformer.errors import InputError
from ragformer.eval import reading, reading_metrics
from ragformer.eval.cases import ReadingCase
from ragformer.text.sentences import sentence_spans

TEXT = "The otter swims at night. By day it sleeps under roots. Its fur is dense."
CASES = [
    ReadingCase("1", "When does the otter swim?", (("Otters", TEXT),), ("at night", "night")),
    ReadingCase("2", "Where does it sleep?", (("Otters", TEXT),), ("under roots",)),
    ReadingCase("3", "Who painted the otter?", (("Otters", TEXT),), (), ()),
]


@pytest.fixture(scope="module")
def reader(tiny_models: Path) -> Reader:
    return load_decoder(tiny_models / "decoder")


def row(case: ReadingCase, text: str, sentence: str, confidence: float) -> reading_metrics.Row:
    features = (0.0, 0.0, 0.0)
    yardstick = "The otter swims at night."
    return reading_metrics.Row(case, text, sentence, 0, yardstick, features, confidence)


def test_an_answer_stands_in_its_sentence_and_that_in_the_source(reader):
    for found in reading.read_cases(CASES, reader):
        assert found.text
        assert found.text in found.sentence
        assert found.sentence in TEXT
        assert 0 <= found.confidence <= 1
        assert found.overlap_sentence in TEXT
        assert found.source == 0
        assert found.right == found.hit  # there is one source
        assert len(found.features) == len(FEATURES)


def test_an_answer_is_told_from_the_passage_it_stands_in_though_one_before_had_no_room(reader):
    noise = ("Noise", "ab " * 3000)  # one sentence, longer than the decoder
    case = dataclasses.replace(CASES[0], sources=(noise, ("Otters", TEXT)), gold_sources=(1,))
    (alone, found) = reading.read_cases([CASES[0], case], reader)
    assert (found.source, found.text, found.sentence) == (1, alone.text, alone.sentence)
    assert found.features == pytest.approx(alone.features, abs=1e-4)


def test_a_free_answer_differs_in_nothing_but_its_words(reader, tiny_models):
    free = load_decoder(tiny_models / "decoder", free=True)
    copied, written = reading.read_cases(CASES, reader), reading.read_cases(CASES, free)
    assert [row.text for row in copied] != [row.text for row in written]
    for one, other in zip(copied, written, strict=True):
        assert other.text
        same = dataclasses.replace(other, text=one.text, seconds=one.seconds)
        assert same == one


def test_the_source_search_likes_most_is_answered_from_where_it_counts_for_everything(
    reader, monkeypatch
):
    monkeypatch.setattr(rerank, "PRIOR_NATS", 100.0)
    sources = tuple(("Otters", f"The otter swims at {n}.") for n in ("noon", "dawn"))
    cases = [
        dataclasses.replace(CASES[0], sources=sources, scores=scores)
        for scores in ((1.0, 0.0), (0.0, 1.0))
    ]
    assert [row.source for row in reading.read_cases(cases, reader)] == [0, 1]


def test_the_yardstick_takes_the_sentence_with_the_rarest_shared_words(reader):
    source = [("", TEXT)]
    assert reading.overlap_sentence("When is dense fur?", source, reader) == "Its fur is dense."
    assert reading.overlap_sentence("Who sleeps?", source, reader).startswith("By day")
    assert reading.overlap_sentence("?", [], reader) == ""


@given(st.data())
def test_the_quote_is_the_whole_sentences_that_the_answer_touches(data):
    start = data.draw(st.integers(0, len(TEXT) - 1))
    end = data.draw(st.integers(start + 1, len(TEXT)))
    sentence = reading.sentence_around(TEXT, start, end)
    at = TEXT.index(sentence)
    assert TEXT[start:end].strip() in sentence
    spans = sentence_spans(TEXT)
    assert at in {a for a, _ in spans} or sentence == TEXT[start:end]
    assert at + len(sentence) in {b for _, b in spans} or sentence == TEXT[start:end]


def test_a_gold_counts_where_it_is_not_inside_a_longer_word():
    assert reading_metrics.holds_gold("It was 24–10 in (1970).", ["10"])
    assert reading_metrics.holds_gold("It was in (1970).", ["x", "1970"])
    assert not reading_metrics.holds_gold("It was in 1970.", ["97"])
    assert reading_metrics.holds_gold("Dr. No (film)", ["Dr. No (film)"])
    assert not reading_metrics.holds_gold("Nothing.", [])


def test_a_gold_in_a_source_that_does_not_answer_is_a_hit_but_not_right():
    found = row(CASES[0], "night", "The otter swims at night.", 1.0)
    assert (found.hit, found.right) == (True, True)
    elsewhere = dataclasses.replace(found, source=1)
    assert (elsewhere.hit, elsewhere.right) == (True, False)
    unanswerable = row(CASES[2], "night", "The otter swims at night.", 1.0)
    assert (unanswerable.hit, unanswerable.right) == (False, False)


def test_a_long_source_is_read_in_pieces_that_leave_nothing_out(reader):
    text = " ".join(f"Sentence number {n} says little about otters." for n in range(200))
    parts = reading.pieces("T", text, reader)
    assert len(parts) > 1
    assert " ".join(part for _, part in parts) == text
    assert all(reader.tokenizer.count(part) <= reading.LONGEST_SOURCE for _, part in parts)
    assert reading.pieces("T", TEXT, reader) == [("T", TEXT)]
    case = dataclasses.replace(CASES[0], sources=(("T", text),))
    assert reading.read_cases([case], reader)[0].text in text


def test_metrics_by_hand():
    rows = [
        row(CASES[0], "night", "The otter swims at night.", 0.9),
        row(CASES[1], "roots", "Its fur is dense.", 0.2),
        row(CASES[2], "swims", "The otter swims at night.", 0.4),
    ]
    metrics = reading_metrics.reading_metrics(rows, 0.3, seed=0)
    values = {name: metric.value for name, metric in metrics.items()}
    assert values["em"] == 0.5
    assert values["f1"] == pytest.approx((1 + 2 / 3) / 2)
    assert values["sentence_hit"] == 0.5
    assert values["overlap_sentence_hit"] == 0.5
    assert values["coverage"] == 0.5
    assert values["refused"] == 0
    assert values["ece"] == pytest.approx((0.1 + 0.2 + 0.4) / 3)
    assert values["refusal@80"] == 0  # to answer both, 0.2 must do
    assert values["no_answer_f1"] == pytest.approx(1 / 3)
    assert values["no_answer_f1_best"] == pytest.approx(2 / 3)  # from 0.9 on
    assert values["always_declining_f1"] == pytest.approx(1 / 3)
    assert (values["risk@20"], values["risk@40"], values["risk@100"]) == (0, 0.5, 2 / 3)
    assert set(reading_metrics.reading_metrics(rows[:2], 0.3, 0)) == {
        "em",
        "f1",
        "sentence_hit",
        "overlap_sentence_hit",
        "coverage",
        "ece",
        *(f"risk@{share}" for share in reading_metrics.RISK_AT),
    }


def test_a_quote_from_another_passage_costs_precision_and_a_refusal_recall():
    two = [dataclasses.replace(case, sources=(("", TEXT), ("", "No."))) for case in CASES]
    rows = [
        row(two[0], "night", "The otter swims at night.", 0.9),
        dataclasses.replace(row(two[1], "No", "No.", 0.8), source=1),
        row(two[1], "roots", "By day it sleeps under roots.", 0.1),
        row(two[2], "night", "The otter swims at night.", 0.7),
    ]
    metrics = reading_metrics.reading_metrics(rows, 0.5, seed=0)
    assert metrics["citation_precision"].value == pytest.approx(1 / 3)
    assert metrics["citation_recall"].value == pytest.approx(1 / 3)


def test_an_answer_written_freely_is_compared_with_the_quote_and_judges_no_confidence():
    case = dataclasses.replace(CASES[0], golds=("It swims when it is night.",))
    free = row(case, "night", "The otter swims at night.", 0.9)
    assert (free.judged, row(CASES[2], "", "", 0.0).judged) == (False, True)
    metrics = reading_metrics.reading_metrics([free], 0.5, seed=0)
    assert metrics["sentence_f1"].value == pytest.approx(2 * 2 / (4 + 6))
    assert set(metrics) == {"em", "f1", "sentence_f1", "coverage"}


def test_every_metric_is_explained_and_speed_is_told_where_it_was_taken():
    rows = [
        dataclasses.replace(row(case, "night", TEXT, 0.5), n_tokens=100, seconds=0.5)
        for case in CASES
    ]
    rows.append(dataclasses.replace(rows[0], source=1))
    free = dataclasses.replace(CASES[0], golds=("freely",), sources=CASES[0].sources * 2)
    rows.append(dataclasses.replace(rows[0], case=free))  # fewer than the others
    metrics = reading_metrics.reading_metrics(rows, 0.3, seed=0)
    assert set(metrics) == set(reading_metrics.MEANINGS)
    assert metrics["tokens_per_second"].value == 200


@settings(max_examples=20)  # each draws every bootstrap
@given(
    st.lists(
        st.tuples(st.sampled_from(CASES), st.sampled_from(["night", ""]), st.floats(0, 1)),
        min_size=1,
        max_size=8,
    ),
    st.floats(0, 1),
)
def test_metrics_lie_in_bounds_and_no_threshold_beats_the_best(found, threshold):
    rows = [row(case, text, TEXT, confidence) for case, text, confidence in found]
    metrics = reading_metrics.reading_metrics(rows, threshold, seed=0)
    assert all(0 <= metric.value <= 1 for metric in metrics.values())
    risks = [metrics[f"risk@{share}"].value for share in (20, 100) if "risk@20" in metrics]
    assert not risks or risks[1] == pytest.approx(1 - sum(row.right for row in rows) / len(rows))
    if "no_answer_f1" in metrics:
        assert metrics["no_answer_f1"].value <= metrics["no_answer_f1_best"].value + 1e-12


def test_a_file_is_measured_at_either_end_of_the_threshold(tmp_path, tiny_models):
    lines = [
        {
            "id": case.id,
            "title": "Otters",
            "context": TEXT,
            "question": case.question,
            "answers": [{"text": gold, "start": TEXT.index(gold)} for gold in case.golds],
            "answerable": case.answerable,
        }
        for case in CASES
    ]
    path = tmp_path / "reading.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    decoder = tiny_models / "decoder"
    every = reading.run([path], decoder=decoder, threshold=0.0)
    none = reading.run([path], decoder=decoder, threshold=1.1)
    assert every["n"] == none["n"] == 3
    assert every["models"] == {"decoder": load_decoder(decoder).id}
    assert every["metrics"]["coverage"]["value"] == 1
    assert none["metrics"]["coverage"]["value"] == 0
    assert none["metrics"]["refused"]["value"] == 1
    assert none["metrics"]["no_answer_f1"]["value"] == pytest.approx(1 / 3)
    assert every["metrics"]["f1"] == none["metrics"]["f1"]
    assert reading.run([path], limit=2, seed=1, decoder=decoder)["n"] == 2
    path.write_text("")
    with pytest.raises(InputError, match="holds no question"):
        reading.run([path], decoder=decoder)
