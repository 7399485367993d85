"""A page's heat is the cosine of its text and the question, taken apart by words."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from ragformer.errors import InputError
from ragformer.nn.heads import SentenceEncoder
from ragformer.retrieve.embed import Encoder, TextForm
from ragformer.retrieve.heat import word_heat
from ragformer.text.checkpoint_tokenizer import CheckpointTokenizer
from ragformer.text.tokenizer import Tokenizer
from ragformer.types import Page, Word

QUESTION = "How long is the notice period?"
TEXT = "The notice period is two months.\nIt starts (always) at the month's end, naïvely: 日本語."


@pytest.fixture(scope="module")
def encoder(noisy: Callable[..., SentenceEncoder]) -> Encoder:
    tokenizer = Tokenizer(Path(__file__).parents[2] / "models" / "encoder" / "tokenizer.model")
    model = noisy(SentenceEncoder, tokenizer, causal=False, max_seq_len=64)
    return Encoder(model, tokenizer, "noise", TextForm(max_tokens=64, float32=True))


def page_of(text: str) -> Page:
    words = [Word(m.start(), m.end(), 0, 0, 1, 1) for m in re.finditer(r"\S+", text)]
    return Page(1, "1", text, tuple(words))


def test_the_words_of_a_short_page_add_up_to_its_cosine(encoder: Encoder) -> None:
    cosine = float(encoder.encode([TEXT])[0] @ encoder.encode_query(QUESTION))
    assert sum(word_heat(encoder, QUESTION, page_of(TEXT))) == pytest.approx(cosine, abs=1e-5)


def test_a_long_page_is_read_in_stretches(encoder: Encoder) -> None:
    """The first stretch's heat does not depend on what comes after it."""
    long = page_of(" ".join(f"word{i}" for i in range(200)))
    longer = page_of(long.text + " and more of them follow")
    first = word_heat(encoder, QUESTION, long)[:10]
    assert first == pytest.approx(word_heat(encoder, QUESTION, longer)[:10], abs=1e-6)
    assert len(word_heat(encoder, QUESTION, long)) == 200


def test_a_page_without_words_has_no_heat(encoder: Encoder) -> None:
    assert word_heat(encoder, QUESTION, Page(1, "1", "", status="empty")) == []


def test_an_imported_encoder_says_that_it_cannot(
    encoder: Encoder, write_tokenizer: Callable[[Path], None], tmp_path: Path
) -> None:
    write_tokenizer(tmp_path / "tokenizer.json")
    tokenizer = CheckpointTokenizer(tmp_path / "tokenizer.json")
    imported = Encoder(encoder.model, tokenizer, "imported", encoder.form)
    with pytest.raises(InputError, match="imported encoder"):
        word_heat(imported, QUESTION, page_of(TEXT))
