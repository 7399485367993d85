"""The sample PDFs asked through the real command, in processes that may not open a socket."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PDFS = Path(__file__).parents[1] / "samples" / "pdfs"
SHIPPED = Path(__file__).parents[2] / "models"
KINDS = ("encoder", "decoder")
# Python runs this at the start of each process, our own children included.
BLOCK_SOCKETS = """
import sys

def refuse(event, arguments):
    if event.startswith("socket."):
        sys.stderr.write(f"opened a socket: {event}\\n")
        raise OSError(f"no sockets here: {event}")

sys.addaudithook(refuse)
"""


@dataclass(frozen=True)
class Command:
    """The installed `ragformer` with a home of its own."""

    environment: dict[str, str]
    folder: Path

    def run(self, *arguments: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
        program = Path(sys.executable).with_name("ragformer")
        return subprocess.run(
            [program, *map(str, arguments)],
            input=stdin,
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )

    def json(self, *arguments: object) -> Any:
        ran = self.run(*arguments, "--json")
        assert (ran.returncode, "socket" in ran.stderr) == (0, False), ran.stderr
        return json.loads(ran.stdout)


def environment(home: Path, models: Path, blocked: Path) -> dict[str, str]:
    """This process's, with no setting but these and no sockets."""
    (blocked / "sitecustomize.py").write_text(BLOCK_SOCKETS)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAGFORMER_")}
    return kept | {
        "RAGFORMER_HOME": str(home),
        "RAGFORMER_MODELS": str(models),
        "XDG_CONFIG_HOME": str(blocked),
        "PYTHONPATH": str(blocked),
    }


HAS_WEIGHTS = all(list((SHIPPED / kind).glob("model*.safetensors")) for kind in KINDS)


@pytest.fixture(scope="session")
def shipped() -> Path:
    """The models folder of the checkout; without trained weights the test skips."""
    if not HAS_WEIGHTS:
        pytest.skip("there are no trained weights (model*.safetensors) in models/ yet")
    return SHIPPED


@pytest.fixture(scope="module", params=["untrained", "shipped"] if HAS_WEIGHTS else ["untrained"])
def command(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_models: Path
) -> Command:
    """`ragformer` on the sample PDFs, indexed, with untrained weights and with those we ship."""
    models = tiny_models if request.param == "untrained" else SHIPPED
    folder = tmp_path_factory.mktemp("journey")
    made = Command(environment(folder / "home", models, folder), folder)
    ran = made.run("index", PDFS)
    assert (ran.returncode, "socket" in ran.stderr) == (0, False), ran.stderr
    return made
