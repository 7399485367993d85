"""A store of its own for each test, and what to put into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from made_documents import Made, make

from ragformer.store.store import Store


@pytest.fixture(scope="session")
def make_document() -> Callable[..., Made]:
    return make


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "collection", create=True) as opened:
        yield opened
