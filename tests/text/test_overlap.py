"""Matches are the words whose stem the question has, no more and no fewer."""

from __future__ import annotations

import re
import sys
import threading

import pytest
import snowballstemmer
from hypothesis import given, settings
from hypothesis import strategies as st

from ragformer.text.overlap import Rarity, overlap, question_stems, stem, words_found
from ragformer.text.sentences import sentence_spans

WORDS = ["notice", "Notices", "period", "periods", "paid", "PAYS", "the", "of", "3", "é", "x_y"]
texts = st.lists(st.sampled_from([*WORDS, ".", "\n", "-", "No."])).map(" ".join)
stems = st.dictionaries(
    st.sampled_from([stem(word.lower()) for word in WORDS]), st.floats(0, 20), max_size=6
)


@given(texts, stems)
def test_matches_are_exactly_the_words_with_a_stem_of_the_question(text, wanted):
    found = overlap(wanted, text)
    words = [(m.span(), stem(m.group().lower())) for m in re.finditer(r"\w+", text)]
    assert list(found.matches) == [(*span, wanted[root]) for span, root in words if root in wanted]
    assert found.found == {root for _, root in words} & set(wanted)
    assert words_found(text, frozenset(wanted)) == [match[:2] for match in found.matches]


@given(texts, stems)
def test_a_sentence_scores_each_stem_it_holds_once(text, wanted):
    found = overlap(wanted, text)
    assert [(start, end) for start, end, _ in found.sentences] == sentence_spans(text)
    for start, end, score in found.sentences:
        held = {stem(word.lower()) for word in re.findall(r"\w+", text[start:end])} & set(wanted)
        assert score == pytest.approx(sum(wanted[root] for root in held))


@given(texts, stems, stems)
def test_more_words_in_the_question_never_match_less(text, few, more):
    less, whole = overlap(few, text), overlap(more | few, text)
    assert less.found <= whole.found
    assert set(less.matches) <= set(whole.matches)
    for a, b in zip(less.sentences, whole.sentences, strict=True):
        assert a[2] <= b[2] + 1e-9


def test_stop_words_count_only_when_nothing_else_is_left(tokenizer):
    rarity = Rarity(tokenizer)
    assert set(question_stems("What is the notice period?", rarity)) == {"notic", "period"}
    assert set(question_stems("Who is it?", rarity)) == {"who", "is", "it"}
    assert question_stems("?!", rarity) == {}


@settings(max_examples=50)
@given(st.text(min_size=1))
def test_every_word_has_some_rarity_and_always_the_same(tokenizer, word):
    rarity = Rarity(tokenizer)
    assert rarity(word) == rarity(word) == Rarity(tokenizer)(word) > 0


def test_a_rare_word_says_more_than_a_common_one(tokenizer):
    rarity = Rarity(tokenizer)
    assert rarity("the") < rarity("notice") < rarity("xylophone")
    assert rarity("a" * 40) == rarity("a" * 4000)


def test_threads_do_not_stem_one_another_s_words():
    """The stemmer keeps its word in itself; without a lock about one in 200 went wrong."""
    words = [f"{n}{root}{end}" for n in range(60) for root in ("nation", "hop") for end in ENDINGS]
    alone = snowballstemmer.stemmer("english")
    wanted = {word: alone.stemWord(word) for word in words}
    stem.cache_clear()
    wrong: list[str] = []

    def work() -> None:
        wrong.extend(word for word in words if stem.__wrapped__(word) != wanted[word])

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(interval)
    assert wrong == []


ENDINGS = ("ational", "ization", "ing", "fulness", "ously", "ed")
