"""Index the sample PDFs into a throw-away home and ask three questions, showing each command."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

PDFS = Path(__file__).parent / "pdfs"
QUESTIONS = (
    "How many days of annual leave does a full-time employee have?",
    "After how many minutes without use does the machine switch itself off?",
    "Which planet has the most moons?",  # in none of them
)
ABSTAINED = 3


def ragformer(*arguments: str, home: str) -> int:
    """Show the command, run it in this interpreter's environment and return its exit code."""
    print(f"\n$ {shlex.join(('ragformer', *arguments))}", flush=True)
    program = Path(sys.executable).with_name("ragformer")
    environment = os.environ | {"RAGFORMER_HOME": home}
    return subprocess.run([program, *arguments], env=environment, check=False).returncode


def main() -> int:
    """0 when the folder was indexed, the first two questions answered and the last one refused."""
    folder = os.path.relpath(PDFS)
    with tempfile.TemporaryDirectory(prefix="ragformer-demo-") as home:
        codes = [ragformer("index", folder, home=home)]
        codes += [ragformer("ask", question, home=home) for question in QUESTIONS]
    return 0 if codes == [0, 0, 0, ABSTAINED] else 1


if __name__ == "__main__":
    sys.exit(main())
