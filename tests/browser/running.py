"""The page as it runs: `ragformer ui` in a process of its own, and a Chromium without a window."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Playwright, expect

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
# The first four: it runs as root in CI, has no graphics card, and asks its maker for nothing.
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]
START_SECONDS = 90.0
WAIT_MS = 60_000  # for what the machine may be slow at, as it runs other work


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        port: int = asked.getsockname()[1]
    return port


@contextmanager
def running_page(home: Path, models: Path, log: Path) -> Iterator[str]:
    """The address of a page on that home; it ends with the block."""
    port = free_port()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAGFORMER_")}
    settings = {"RAGFORMER_HOME": str(home), "RAGFORMER_MODELS": str(models)}
    program = Path(sys.executable).with_name("ragformer")
    with log.open("wb") as out:
        server = subprocess.Popen(
            [program, "ui", "--port", str(port)],
            env=kept | settings | {"XDG_CONFIG_HOME": str(home.parent / "config")},
            cwd=home.parent,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait_for(f"http://127.0.0.1:{port}/_stcore/health", server)
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(server.pid, 15)  # the command and the Streamlit below it
            server.wait(30)


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < end:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("the page did not start")


def launch(playwright: Playwright) -> Browser:
    expect.set_options(timeout=WAIT_MS)
    return playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS)
