"""What is measured about the machine."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ragformer.nn import device
from ragformer.nn.device import bf16_is_faster, bf16_wins


def test_a_held_up_product_does_not_decide_the_number_type() -> None:
    def decided(float32: list[float], bfloat16: list[float]) -> bool:
        now = [0.0]
        for pair in zip(float32, bfloat16, strict=True):
            for took in pair:
                now += [now[-1], now[-1] + took]
        return bf16_wins(size=8, clock=iter(now[1:]).__next__)

    assert decided([2.0] * 6, [9.0, *[1.0] * 5])
    assert decided([2.0] * 6, [9.0, 1.0, *[9.0] * 4])
    assert not decided([2.0] * 6, [2.0] * 6)
    assert not decided([9.0, 9.0, 2.0, 9.0, 9.0, 9.0], [2.0] * 6)


def test_threads_that_ask_at_once_are_told_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    n_threads = 8
    all_here = threading.Barrier(n_threads)
    measured = iter([True] + [False] * n_threads)

    def ask(_: int) -> bool:
        all_here.wait()
        return bf16_is_faster()

    monkeypatch.setattr(device, "bf16_wins", lambda: next(measured))
    device._bf16_is_faster.cache_clear()
    try:
        with ThreadPoolExecutor(n_threads) as threads:
            assert list(threads.map(ask, range(n_threads))) == [True] * n_threads
    finally:
        device._bf16_is_faster.cache_clear()
