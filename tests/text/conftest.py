"""The tokenizer in the box, and what its tokens write."""

from __future__ import annotations

from pathlib import Path

import pytest

from ragformer.text.tokenizer import Tokenizer


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return Tokenizer(Path(__file__).parents[2] / "models" / "encoder" / "tokenizer.model")


@pytest.fixture(scope="session")
def token_bytes(tokenizer: Tokenizer) -> dict[int, bytes]:
    return tokenizer.token_bytes()
