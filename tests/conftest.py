"""How hypothesis runs: the gate repeats the same examples, `make soak` looks for new ones.

And the fixtures for every test.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "gate", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "soak", settings.get_profile("gate"), derandomize=False, max_examples=5000
)
settings.load_profile("gate")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real and hostile files beside the checkout; without it the test skips."""
    folder = (Path(__file__).parents[1] / ".." / "shared").resolve()
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder}")
    return folder
