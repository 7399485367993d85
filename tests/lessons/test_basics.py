"""The lessons from attention to BERT, at toy size: each learns."""

from __future__ import annotations


def test_attention_by_hand_is_attention_in_nn(toy) -> None:
    lesson = toy("attention")
    assert lesson.result.outcome.value < 1e-6
    assert any('"it" looks at "cat" with 0.9' in line for line in lesson.lines)


def test_positions_are_learned_and_rotary_ones_go_on(toy) -> None:
    lesson = toy("positions")
    assert lesson.fell("rotary") < 0.2
    assert lesson.fell("learned") < 0.2
    assert lesson.result.outcome.value > 0.2


def test_embeddings_learn_which_words_are_near(toy) -> None:
    assert toy("embeddings").fell() < 0.8


def test_all_three_learn_to_sort(toy) -> None:
    lesson = toy("rnn")
    for name in ("LSTM", "LSTM that looks back", "transformer"):
        assert lesson.fell(name) < 0.8
    assert sum("weights" in line for line in lesson.lines) == 3


def test_translation_learns(toy) -> None:
    lesson = toy("translate")
    assert lesson.fell() < 0.7
    assert sum(" -> " in line for line in lesson.lines) >= 6


def test_adding_is_learned(toy) -> None:
    lesson = toy("arithmetic")
    assert lesson.fell("backwards") < 0.5
    assert lesson.result.outcome.value > 0.3  # of 199 sums one would be right by chance


def test_language_is_learned(toy) -> None:
    lesson = toy("language")
    assert lesson.fell() < 0.6


def test_gaps_are_filled(toy) -> None:
    lesson = toy("bert")
    assert lesson.fell("gaps") < 0.8
    assert lesson.fell("pretrained") < 0.95
