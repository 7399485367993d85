"""The page: ragformer ui."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import click

from ragformer.config import load_settings
from ragformer.errors import NotFoundError
from ragformer_cli.terminal import collection_option

# Streamlit's own defaults listen on every address, open a browser and send usage statistics.
# A page of another site may name this machine as its own: only these names are answered.
SETTINGS = {
    "server.address": ["127.0.0.1"],
    "server.allowedHosts": ["127.0.0.1", "localhost"],
    "server.headless": ["true"],
    "server.showEmailPrompt": ["false"],
    "server.fileWatcherType": ["none"],
    "server.maxUploadSize": ["200"],
    "browser.gatherUsageStats": ["false"],
    "client.toolbarMode": ["minimal"],
    "client.showErrorDetails": ["none"],
    "client.showErrorLinks": ["false"],
    "theme.light.primaryColor": ["#2b66cf"],
    "theme.light.backgroundColor": ["#ffffff"],
    "theme.light.secondaryBackgroundColor": ["#f3f5f8"],
    "theme.light.textColor": ["#1b1f26"],
    "theme.dark.primaryColor": ["#7aa7ff"],
    "theme.dark.backgroundColor": ["#14171c"],
    "theme.dark.secondaryBackgroundColor": ["#1f242c"],
    "theme.dark.textColor": ["#e7eaef"],
}


@click.command()
@click.option("--port", type=click.IntRange(1024, 65535), metavar="N", help="[default: 8501]")
@collection_option
def ui(port: int | None, collection: str | None) -> int:
    """Open a page to chat with the documents, on this machine only.

    It prints its address; Ctrl-C stops it. RAGFORMER_UI_PASSWORD makes the page ask for that
    password first.

    \b
    Example:
      ragformer ui -c contracts
    """
    chosen = load_settings(collection=collection).collection
    environment = os.environ | {"RAGFORMER_COLLECTION": chosen}
    command = [sys.executable, "-m", "streamlit", "run", str(_entry()), *_flags(port)]
    # A plain `kill` is for this process only, which ends what it has started.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return subprocess.run(command, env=environment, check=False).returncode
    except KeyboardInterrupt:
        return 0
    finally:
        signal.signal(signal.SIGTERM, before)


def _entry() -> Path:
    """The page's program, found without importing it."""
    found = importlib.util.find_spec("ragformer_ui")
    if found is None or found.origin is None or importlib.util.find_spec("streamlit") is None:
        raise NotFoundError(
            "the page needs Streamlit, which is not installed; run: pip install 'ragformer[ui]'"
        )
    return Path(found.origin).with_name("app.py")


def _flags(port: int | None) -> list[str]:
    flags = [f"--{name}={value}" for name, values in SETTINGS.items() for value in values]
    return flags if port is None else [*flags, f"--server.port={port}"]


COMMANDS: tuple[click.Command, ...] = (ui,)
