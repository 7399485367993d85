"""The decoder is timed on prompts as the product makes them."""

from __future__ import annotations

import json

import pytest

from ragformer.answer.reader import load_decoder
from ragformer.bench import decode
from ragformer.errors import InputError
from ragformer.eval.cases import ReadingCase


def test_prefill_decode_and_the_whole_answer_are_told(reading_file, tiny_models):
    result = decode.run(reading_file, limit=2, decoder=tiny_models / "decoder")
    assert result["n"] == 2
    assert result["parameters"] > 0
    names = (
        "prompt_tokens",
        "prefill_tokens_per_second",
        "decode_tokens_per_second",
        "answer_seconds",
    )
    for name in names:
        assert 0 < result[name]["low"] <= result[name]["median"] <= result[name]["high"]
    assert json.loads(json.dumps(result)) == result
    reading_file.write_text("")
    with pytest.raises(InputError, match="holds no question"):
        decode.run(reading_file, decoder=tiny_models / "decoder")


def test_every_question_gets_eight_passages_its_own_first():
    cases = [ReadingCase(str(n), "?", ((f"T{n}", "x" * 1000),), ("x",)) for n in range(10)]
    for at in range(10):
        passages = decode.eight_passages(cases, at)
        assert [title for title, _ in passages] == [f"T{(at + n) % 10}" for n in range(8)]
        assert all(len(text) == decode.PASSAGE_CHARACTERS for _, text in passages)
    assert len(decode.eight_passages(cases[:1], 0)) == 8


def test_what_is_timed_is_a_real_answer_and_a_cached_decode(tiny_models):
    reader = load_decoder(tiny_models / "decoder")
    passages = [("Otters", "The otter swims at night."), ("Bees", "A hive has one queen.")]
    prompt = reader.open("When?", passages)
    read = reader.find(prompt)
    best = read.candidates[0]
    answer = passages[best.passage][1][best.start : best.end]
    assert decode.write_best(reader, prompt, read, passages) == f"{answer}[{best.passage + 1}]"
    length = prompt.cache.length
    assert len(decode.write_freely(reader, prompt)) == decode.DECODE_STEPS
    assert prompt.cache.length == length  # each timing starts from the same prompt
    empty = reader.open("When?", [])
    assert decode.write_best(reader, empty, reader.find(empty), []) == ""
