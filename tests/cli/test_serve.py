"""`ragformer serve`: where it listens, what it says, and how it ends."""

from __future__ import annotations

import importlib.util
import json
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")
Ragformer = Callable[..., Any]
CODE = "import sys; from ragformer_cli.main import run; sys.exit(run())"


@pytest.mark.skipif(sys.platform == "win32", reason="this system has no SIGINT to send")
def test_it_says_where_it_listens_and_ctrl_c_ends_it(home: Path) -> None:
    command = [sys.executable, "-c", CODE, "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout
        said = child.stdout.readline().decode()
        assert said.startswith("serving at http://127.0.0.1:")
        with urllib.request.urlopen(f"{said.split()[2].rstrip(';')}/models") as answer:
            assert [m["id"] for m in json.load(answer)["data"]] == ["default", "default:local"]
        child.send_signal(signal.SIGINT)
        out, err = child.communicate()
    assert (child.returncode, out, err) == (0, b"", b"")
    assert not home.exists()


def test_others_need_a_token(ragformer: Ragformer) -> None:
    ran = ragformer("serve", "--host", "0.0.0.0", "--port", "0")
    assert (ran.code, ran.out) == (1, "")
    assert "RAGFORMER_SERVE_TOKEN" in ran.err


def test_a_port_that_is_taken(ragformer: Ragformer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ran = ragformer("serve", "--port", str(taken.getsockname()[1]))
    assert (ran.code, ran.out) == (1, "")
    assert "choose another --port" in ran.err


def test_it_does_not_ask_itself(ragformer: Ragformer, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    monkeypatch.setenv("RAGFORMER_BACKEND", "openai")
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://localhost:{port}/v1")
    ran = ragformer("serve", "--port", str(port))
    assert (ran.code, ran.out) == (1, "")
    assert "would ask itself" in ran.err


def test_without_the_extra_it_says_what_to_install(
    ragformer: Ragformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "uvicorn" else find(name)
    )
    ran = ragformer("serve")
    assert ran.code == 1
    assert "pip install 'ragformer[serve]'" in ran.err
