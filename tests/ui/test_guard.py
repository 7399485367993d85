"""Who is let in, and whose files are taken."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from ragformer_ui.guard import (
    SECONDS,
    TRIES,
    Attempts,
    UploadGate,
    is_loopback,
    let_in,
    refusal,
    same,
)


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


@pytest.mark.parametrize(
    ("password", "address", "entered", "taken"),
    [
        ("", "127.0.0.1", False, True),
        ("", None, True, False),
        ("word", "127.0.0.1", False, False),
        ("word", "0.0.0.0", True, True),
    ],
)
def test_files_are_taken_from_those_who_may_see_the_page(
    password: str,
    address: str | None,
    entered: bool,
    taken: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAGFORMER_UI_PASSWORD", password)
    reached, sent = [], []

    async def page(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["path"])

    async def receive() -> Any:
        pytest.fail("not a byte is read")

    async def send(message: Any) -> None:
        sent.append(message)

    session = f"session-{entered}-{address}"
    if entered:
        let_in(session)
    gate = UploadGate(page, lambda: address)
    paths = [f"/_stcore/upload_file/{session}/1", "/_stcore/health"]
    for path in paths:
        asyncio.run(gate({"type": "http", "method": "PUT", "path": path}, receive, send))
    assert reached == (paths if taken else paths[1:])
    assert [message["status"] for message in sent[:1]] == ([] if taken else [403])
