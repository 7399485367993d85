"""Who is let in."""

from __future__ import annotations

import pytest
from ragformer_ui.guard import SECONDS, TRIES, Attempts, is_loopback, refusal, same


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_this_machine_alone_needs_no_password(address: str) -> None:
    assert is_loopback(address)
    assert refusal(address, "") == ""


@pytest.mark.parametrize(
    "address", [None, "", "0.0.0.0", "::", "192.168.1.4", "example.com", "127.0.0.1.example.com"]
)
def test_any_other_address_needs_one(address: str | None) -> None:
    assert "RAGFORMER_UI_PASSWORD" in refusal(address, "")
    assert refusal(address, "word") == ""


def test_passwords_are_equal_only_when_they_are() -> None:
    assert same("pässwörd", "pässwörd")
    assert not same("", "word")
    assert not same("word ", "word")


def test_too_many_wrong_passwords_close_the_door_for_a_while() -> None:
    now = [100.0]
    attempts = Attempts(lambda: now[0])
    for _ in range(TRIES):
        assert attempts.wait() == 0
        assert not attempts.check("guess", "word")
    assert attempts.wait() == SECONDS
    assert not attempts.check("word", "word"), "not even the right one is looked at"
    now[0] += SECONDS
    assert attempts.wait() == 0
    assert attempts.check("word", "word")
