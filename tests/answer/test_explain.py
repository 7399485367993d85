"""What the decoder read and looked at, beside what it does when it answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from ragformer.answer.explain import looked_at, prompt_text
from ragformer.answer.reader import Reader
from ragformer.nn.constrain import Range

QUESTION = "How long is the notice period?"
PASSAGES = [
    ("Handbook", "The notice period is two months. It starts at the end of a month."),
    ("", "No."),
    ("Weather. North", "Clouds gather over Holmvik; strong gales follow, then 14 mm fell. " * 4),
]
QUOTE = Range(0, 0, len("The notice period is two months."))


def test_the_prompt_shows_every_text_in_its_place(reader: Reader) -> None:
    text = prompt_text(reader, QUESTION, PASSAGES)
    assert text.startswith(f"<question> {QUESTION}\n\n<passage> <mark_1> Handbook <passage> The")
    parts = [QUESTION, "<mark_1>", PASSAGES[0][1], "<mark_2>", "No.", "<mark_3>", PASSAGES[2][1]]
    at = [text.index(part.strip()) for part in parts]
    assert at == sorted(at)
    assert text.endswith("\n\n<answer>")


@pytest.mark.parametrize("quote", [None, QUOTE])
@pytest.mark.parametrize("passages", [[], PASSAGES])
def test_shares_are_shares(
    reader: Reader, passages: Sequence[tuple[str, str]], quote: Range | None
) -> None:
    shares_LHN = looked_at(reader, QUESTION, passages, quote).shares_LHN
    config = reader.model.config
    assert shares_LHN.shape == (config.n_layers, config.n_heads, len(passages) + 2)
    assert shares_LHN.min() >= 0
    np.testing.assert_allclose(shares_LHN.sum(-1), 1, atol=1e-5)


def test_a_passage_that_was_not_read_is_not_looked_at(reader: Reader) -> None:
    passages = [("", "word " * 2000), *PASSAGES]  # too long for the decoder's positions
    shares_LHN = looked_at(reader, QUESTION, passages).shares_LHN
    assert shares_LHN[:, :, 0].max() == 0
    np.testing.assert_allclose(
        shares_LHN[:, :, 1:], looked_at(reader, QUESTION, PASSAGES).shares_LHN, atol=1e-2
    )


def test_nothing_is_watched_afterwards(reader: Reader) -> None:
    looked_at(reader, QUESTION, PASSAGES, QUOTE)
    assert not any(block.attn._forward_hooks for block in reader.model.transformer.blocks)
