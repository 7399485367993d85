"""`ragformer ui`: which program it starts, and how."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Ragformer = Callable[..., Any]
CODE = "import sys; from ragformer_cli.main import run; sys.exit(run())"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], dict[str, str]]]:
    """Each program that was to be started, with its environment."""
    programs: list[tuple[list[str], dict[str, str]]] = []

    def run(command: list[str], env: dict[str, str], check: bool) -> object:
        programs.append((command, env))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr("ragformer_cli.ui.subprocess.run", run)
    return programs


def test_it_listens_on_this_machine_only_and_tells_nobody(
    ragformer: Ragformer, started: list[tuple[list[str], dict[str, str]]]
) -> None:
    assert ragformer("ui", "--port", "8600", "-c", "papers").code == 0
    ((command, environment),) = started
    assert command[:4] == [sys.executable, "-m", "streamlit", "run"]
    assert Path(command[4]).name == "app.py"
    assert {
        "--server.address=127.0.0.1",
        "--server.port=8600",
        "--server.headless=true",
        "--server.showEmailPrompt=false",
        "--browser.gatherUsageStats=false",
    } <= set(command)
    assert environment["RAGFORMER_COLLECTION"] == "papers"


def test_every_flag_is_one_that_streamlit_knows() -> None:
    """A wrong one would end the page at its start."""
    from ragformer_cli.ui import SETTINGS
    from streamlit import config

    known = config.get_config_options()
    assert [name for name in SETTINGS if name not in known] == []


def test_the_command_imports_nothing_of_the_page() -> None:
    code = (
        "import sys, ragformer_cli.main, ragformer_cli.ui; ragformer_cli.ui._entry();"
        "print([m for m in sys.modules if m.split('.')[0] in ('streamlit', 'ragformer_ui')])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


@pytest.mark.skipif(sys.platform == "win32", reason="this system has no SIGTERM to send")
def test_kill_ends_the_page_too(tmp_path: Path, home: Path) -> None:
    (tmp_path / "streamlit").mkdir()
    (tmp_path / "streamlit" / "__init__.py").touch()
    page = "import time; print('up', flush=True); time.sleep(100)"
    (tmp_path / "streamlit" / "__main__.py").write_text(page)
    command = [sys.executable, "-c", CODE, "ui"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as child:
        assert child.stdout
        assert child.stdout.readline() == b"up\n"
        child.terminate()
        assert child.stdout.read() == b"", "up to its end: nobody holds it open"
    assert child.returncode == 0


def test_without_streamlit_it_says_what_to_install(
    ragformer: Ragformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "streamlit" else find(name)
    )
    ran = ragformer("ui")
    assert (ran.code, ran.out) == (1, "")
    assert "pip install 'ragformer[ui]'" in ran.err


@pytest.mark.parametrize("port", ["80", "70000", "x"])
def test_a_port_that_cannot_be_is_wrong_usage(ragformer: Ragformer, port: str) -> None:
    assert ragformer("ui", "--port", port).code == 2
