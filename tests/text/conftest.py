"""The tokenizer in the box."""

from __future__ import annotations

from pathlib import Path

import pytest

from ragformer.text.tokenizer import Tokenizer


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return Tokenizer(Path(__file__).parents[2] / "models" / "encoder" / "tokenizer.model")
