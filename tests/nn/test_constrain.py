"""Whatever a model prefers, a quote stands in its passage and its mark is that passage's."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragformer.nn.constrain import CitedQuote, PassageWalk, Range, Vocabulary

# Few different characters of 1 to 4 bytes, so that beginnings are shared and paths meet.
texts = st.text("ab é日😀", min_size=1, max_size=12)
BYTES = {i: bytes([i]) for i in range(256)}
FIRST_PIECE, FIRST_MARK = 1000, 5000


@st.composite
def situations(draw):
    """Passages with their marks, a vocabulary, allowed ranges; all drawn."""
    passages = [text.encode() for text in draw(st.lists(texts, min_size=1, max_size=3))]
    # Pieces may be any bytes of a passage: tokens need not end where characters do.
    pieces = []
    for _ in range(draw(st.integers(0, 8))):
        data = draw(st.sampled_from(passages))
        start = draw(st.integers(0, len(data) - 1))
        pieces.append(data[start : start + draw(st.integers(1, 5))])
    foreign = draw(st.lists(st.binary(max_size=3), max_size=3))
    tokens = dict(enumerate(pieces + foreign, FIRST_PIECE))
    if draw(st.booleans()) or not tokens:
        tokens |= BYTES
    ranges = []
    for _ in range(draw(st.integers(1, 4))):
        passage = draw(st.integers(0, len(passages) - 1))
        text = passages[passage].decode()
        start = draw(st.integers(0, len(text) - 1))
        end = draw(st.integers(start + 1, len(text)))
        ranges.append(Range(passage, *(len(text[:offset].encode()) for offset in (start, end))))
    return passages, Vocabulary(tokens), ranges


def stands(passages, written: bytes, ranges) -> bool:
    """Whether `written` stands at the beginning of an allowed range."""
    return any(passages[r.passage][r.start : r.end].startswith(written) for r in ranges)


@settings(max_examples=60)
@given(situations(), st.data())
def test_every_path_writes_what_stands_in_an_allowed_range(situation, data):
    passages, vocabulary, ranges = situation
    walk = PassageWalk(passages, vocabulary, ranges)
    while allowed := walk.allowed():
        before = walk.written
        following = walk.advance(data.draw(st.sampled_from(sorted(allowed))))
        assert walk.written == before, "a state never changes"
        walk = following
        assert stands(passages, walk.written, ranges)
        for place in walk.places():
            assert passages[place.passage][place.start : place.end] == walk.written
            walk.written.decode()
    assert walk.complete() or not vocabulary.bytes_of.items() >= BYTES.items()


@settings(max_examples=60)
@given(situations(), st.data())
def test_allowed_are_exactly_the_tokens_that_go_on_somewhere(situation, data):
    passages, vocabulary, ranges = situation
    walk = PassageWalk(passages, vocabulary, ranges)
    for _ in range(data.draw(st.integers(0, 3))):
        if walk.allowed():
            walk = walk.advance(data.draw(st.sampled_from(sorted(walk.allowed()))))
    fitting = {
        token
        for token, piece in vocabulary.bytes_of.items()
        if piece and stands(passages, walk.written + piece, ranges)
    }
    certain = len(walk.live) == 1 and len(next(iter(walk.live.values()))) == 1
    if certain and fitting:  # one way to go on: only a longest token of it is offered
        (offered,) = walk.allowed()
        assert offered in fitting
        longest = max(len(vocabulary.bytes_of[token]) for token in fitting)
        assert len(vocabulary.bytes_of[offered]) == longest
    else:
        assert walk.allowed() == fitting
    for token in set(vocabulary.bytes_of) - fitting:
        with pytest.raises(ValueError, match="leaves the passages"):
            walk.advance(token)


@settings(max_examples=60)
@given(situations(), st.data())
def test_a_mark_comes_after_a_whole_range_of_its_own_passage(situation, data):
    passages, vocabulary, ranges = situation
    marks = [FIRST_MARK + i for i in range(len(passages))]
    quote = CitedQuote(PassageWalk(passages, vocabulary, ranges), marks)
    while not quote.done and (allowed := quote.allowed()):
        whole = {
            FIRST_MARK + r.passage
            for r in ranges
            if passages[r.passage][r.start : r.end] == quote.walk.written
        }
        assert {token for token in allowed if token >= FIRST_MARK} == whole
        for mark in set(marks) - whole:
            with pytest.raises(ValueError, match="no part of a citation"):
                quote.advance(mark)
        quote = quote.advance(data.draw(st.sampled_from(sorted(allowed))))
    if quote.done:
        assert quote.walk.complete()


def test_a_quote_may_start_in_the_middle_of_a_token():
    vocabulary = Vocabulary({1: b"kilo", 2: b"gram", 3: b"kilogram", 4: b"g", 5: b"ra", 6: b"m"})
    walk = PassageWalk([b"a kilogram"], vocabulary, [Range(0, 6, 10)])
    assert walk.allowed() == {2}
    assert walk.advance(4).allowed() == {5}
    assert walk.advance(4).advance(5).advance(6).places() == [Range(0, 6, 10)]


def test_half_a_character_is_no_place_yet():
    text = "é!".encode()
    walk = PassageWalk([text], Vocabulary(BYTES), [Range(0, 0, 2), Range(0, 0, 3)])
    half = walk.advance(text[0])
    assert half.places() == []
    assert half.advance(text[1]).places() == half.advance(text[1]).complete() == [Range(0, 0, 2)]


def test_the_same_words_in_two_passages_may_take_either_mark():
    vocabulary = Vocabulary({1: b"yes", 2: b" sir"})
    ranges = [Range(0, 0, 3), Range(1, 0, 3), Range(2, 0, 7)]
    quote = CitedQuote(PassageWalk([b"yes", b"yes", b"yes sir"], vocabulary, ranges), [7, 8, 9])
    assert quote.allowed() == {1}
    assert quote.advance(1).allowed() == {2, 7, 8}
    assert quote.advance(1).advance(2).allowed() == {9}
    assert quote.advance(1).advance(8).done


def test_a_vocabulary_finds_every_token_that_begins_some_bytes():
    vocabulary = Vocabulary({1: b"a", 2: b"ab", 3: b"b", 4: b"", 5: b"a", 6: b"abc"})
    assert sorted(vocabulary.starting(b"abx")) == [1, 2, 5]
    assert vocabulary.starting(b"") == []
