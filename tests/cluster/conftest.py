"""An empty library, to be indexed into shards; a Ray cluster, where Ray is installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ray_here import Running, two_nodes_here

from ragformer.library import Library, open_library


@pytest.fixture
def sharded(home: Path) -> Iterator[Library]:
    with open_library("sharded") as library:
        yield library


@pytest.fixture(scope="module")
def two_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with two_nodes_here(tmp_path_factory.mktemp("ray")) as running:
        yield running
