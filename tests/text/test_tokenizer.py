"""Any text goes to tokens and back, knows where each stands, and never speaks in symbols."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ragformer.errors import InputError, WeightsError
from ragformer.text.tokenizer import (
    CONTROL_SYMBOLS,
    FIRST_MARK,
    MASK,
    MAX_MARKS,
    NO_ANSWER,
    PAD,
    SPACE_SYMBOL,
    UNK,
    Tokenizer,
    mark_id,
)

# What a tokenizer may stumble over: its own signs, NUL, spaces of every kind, many bytes.
PIECES = [
    *CONTROL_SYMBOLS[:8],
    *("<s>", "</s>", "<unk>", "<pad>", "<0x41>", SPACE_SYMBOL, SPACE_SYMBOL + "the"),
    *("\0", "\n", "\r\n", "\t", "\u00a0", "\u2028", "\ufeff", "  ", " the", "10,000.5"),
    *("e\u0301", "\u200d", "日本語", "한국", "ไทย", "🏳️‍🌈", "😀", "\U0010ffff", "𝔘"),
]
texts = st.text(max_size=40) | st.lists(st.sampled_from(PIECES) | st.text(max_size=3)).map("".join)


@settings(max_examples=100)
@given(texts)
@example("")
@example("".join(PIECES))
def test_decoding_gives_back_every_text(tokenizer, text):
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.count(text) == len(ids)


@settings(max_examples=100)
@given(texts)
@example("<mark_1><answer> <no_answer><mask>")
def test_no_text_can_say_a_symbol_and_no_text_is_unknown(tokenizer, text):
    assert min(tokenizer.encode(text), default=MASK) >= MASK
    assert not set(tokenizer.encode(text)) & set(range(MASK, MASK + len(CONTROL_SYMBOLS)))


@settings(max_examples=100)
@given(texts)
@example("".join(PIECES))
def test_every_token_knows_its_characters(tokenizer, token_bytes, text):
    ids, spans = tokenizer.offsets(text)
    assert ids == tokenizer.encode(text)
    assert len(ids) == len(spans)
    end_before, start_before = 0, 0
    for start, end in spans:
        assert start < end
        # Bytes of one character share its span; any other token begins where the last one ended.
        assert start == end_before or (start, end) == (start_before, end_before)
        start_before, end_before = start, end
    assert end_before == len(text)
    for token, (start, end) in zip(ids, spans, strict=True):
        # A byte of a character is part of it; every other token is exactly its characters.
        assert token_bytes[token] in text[start:end].encode()
        if end - start > 1:
            assert token_bytes[token] == text[start:end].encode()


@settings(max_examples=100)
@given(texts)
@example("".join(PIECES))
def test_the_bytes_of_the_tokens_are_the_bytes_of_the_text(tokenizer, token_bytes, text):
    assert b"".join(token_bytes[token] for token in tokenizer.encode(text)) == text.encode()


def test_every_token_but_the_symbols_writes_bytes(tokenizer, token_bytes):
    silent = set(range(tokenizer.vocab_size)) - set(token_bytes)
    assert silent == set(range(FIRST_MARK + MAX_MARKS))
    assert b"" not in token_bytes.values()
    assert {bytes([i]) for i in range(256)} <= set(token_bytes.values())
    assert tokenizer.decode(sorted(silent - {UNK})) == ""


def test_rare_pieces_are_surprising_and_bytes_and_symbols_are_silent(tokenizer):
    surprisal = tokenizer.surprisal
    common, rare = (
        sum(surprisal[i] for i in tokenizer.encode(word)) for word in (" the", " xylophone")
    )
    assert 0 < common < rare
    assert len(surprisal) == tokenizer.vocab_size
    quiet = [*range(FIRST_MARK + MAX_MARKS), *tokenizer.encode("\U0010ffff")]
    assert [surprisal[i] for i in quiet] == [0.0] * len(quiet)


def test_marks_have_ids_from_1_to_32_and_no_others():
    ids = [mark_id(mark) for mark in range(1, 33)]
    assert ids == list(range(NO_ANSWER + 1, NO_ANSWER + 33))
    for mark in (0, 33, -1):
        with pytest.raises(InputError, match=f"mark {mark} is not between 1 and 32"):
            mark_id(mark)


def test_a_missing_or_damaged_model_is_one_sentence(tokenizer, tmp_path):
    whole = tokenizer.path.read_bytes()
    with pytest.raises(WeightsError, match="there is no tokenizer at"):
        Tokenizer(tmp_path / "tokenizer.model")
    for n, damaged in enumerate([b"", b"text", whole[: len(whole) // 2], whole[:-7]]):
        path = tmp_path / f"{n}.model"
        path.write_bytes(damaged)
        with pytest.raises(WeightsError, match="is not a sentencepiece model"):
            Tokenizer(path)


def test_a_model_without_our_symbols_is_refused(tokenizer, tmp_path):
    path = tmp_path / "other.model"
    path.write_bytes(tokenizer.path.read_bytes().replace(b"<quote>", b"<quota>"))
    with pytest.raises(WeightsError, match="has no <quote> at id 7"):
        Tokenizer(path)


def test_padding_is_id_0(tokenizer):
    assert PAD == 0
    assert tokenizer.decode([PAD]) == ""
