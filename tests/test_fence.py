"""Whatever happens in a fenced child ends in its result or in a sentence."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from ragformer.errors import WeightsError
from ragformer.fence import Fence, OverrunError, fenced

ROOM = Fence(seconds=5.0, memory_mb=512)


def test_the_result_is_the_works_and_what_it_prints_is_nobodys() -> None:
    assert fenced(math.sqrt, 4.0, fence=ROOM) == 2.0
    noise: Callable[[str], Any] = print
    assert fenced(noise, '{"result": 3}', fence=ROOM) is None


@pytest.mark.parametrize(
    ("work", "argument", "said"),
    [
        (math.sqrt, -1.0, "math domain error"),
        (sys.exit, "it left", "it left"),
        (len, 1, "has no len"),
    ],
)
def test_what_the_work_raises_is_told(work: Callable[..., Any], argument: Any, said: str) -> None:
    with pytest.raises(WeightsError, match=said):
        fenced(work, argument, fence=ROOM)


def test_a_child_that_dies_or_does_not_end_is_an_overrun() -> None:
    with pytest.raises(OverrunError, match="more than 5 s or 512 MB"):
        fenced(os._exit, 3, fence=ROOM)
    with pytest.raises(OverrunError, match=r"more than 0\.02 s or 512 MB"):
        fenced(time.sleep, 600, fence=Fence(0.02, 512))
