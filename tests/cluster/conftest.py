"""An empty library, to be indexed into shards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ragformer.library import Library, open_library


@pytest.fixture
def sharded(home: Path) -> Iterator[Library]:
    with open_library("sharded") as library:
        yield library
