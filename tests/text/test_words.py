"""Words and stop words."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ragformer.text.words import STOP_WORDS, question_words, says_something, words


def test_what_a_word_is():
    text = "What's the well-known 2.5mm plug, at 10,000 Ft? Cafe\u0301 हिन्दी foo_bar -x-"
    assert words(text) == [
        *("what", "s", "the", "well-known", "2.5mm", "plug", "at", "10,000", "ft"),
        *("cafe\u0301", "हिन्दी", "foo", "bar", "x"),
    ]


@given(st.text())
def test_words_are_lower_case_pieces_of_the_text_in_order(text):
    lowered, at = "".join(character.lower() for character in text), 0
    for word in words(text):
        at = lowered.index(word, at) + len(word)


@given(st.text(), st.text())
def test_words_of_two_texts_are_the_words_of_both(a, b):
    assert words(f"{a} ; {b}") == words(a) + words(b)


def test_a_question_of_stop_words_and_greetings_says_nothing():
    for nothing in ("Why?", "what can you do", "Hello, who are you?", "THANKS!", "Thank You", "?!"):
        assert not says_something(nothing), nothing
    for something in (
        "Why not?",
        "1 + 1",
        "What does WHO do?",
        "Is it in the IT?",
        "कौन",
        "thanksgiving",
    ):
        assert says_something(something), something


def test_stop_words_are_dropped_unless_nothing_is_left():
    assert question_words("What is the plug for?") == ["plug"]
    assert question_words("To be or not to be") == ["not"]
    assert question_words("Who is it?") == ["who", "is", "it"]
    assert question_words("?!") == []
    assert {word for word in STOP_WORDS if words(word) != [word]} == set()
