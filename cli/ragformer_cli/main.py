"""The `ragformer` command, and the one edge where errors become a sentence and an exit code.

    0 done or answered   3 abstained   2 usage   1 error   130 interrupted

Commands import what is heavy when they run, so that `--help` needs neither torch nor faiss.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import click

from ragformer.errors import RagformerError
from ragformer_cli import asking, documents, measure, system, train
from ragformer_cli.terminal import warn

_EPILOG = """
\b
Examples:
  ragformer index ~/papers
  ragformer ask "How long is the warranty?"
  ragformer ask "What is the deposit?" lease.pdf
  ragformer search "late payment" --in "2024/*.pdf"
"""


@click.group(epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ragformer", prog_name="ragformer")
def main() -> None:
    """Chat with a folder of PDFs, privately, on your own machine.

    Answers come with quotes that stand word for word at the cited page, or with a plain "not in
    your documents". Settings: a flag, RAGFORMER_<NAME>, ./ragformer.toml, the user's config.toml;
    `ragformer doctor` shows each value and where it comes from.
    """


for _module in (documents, asking, system, train, measure):
    for _command in _module.COMMANDS:
        main.add_command(_command)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; if stdout is closed, click leaves with 1."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A path or a PDF may hold what the terminal's encoding lacks: show it escaped.
            stream.reconfigure(errors="backslashreplace")
    try:
        code = main.main(arguments, prog_name="ragformer", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        warn("ragformer: interrupted; what was finished is kept")
        return 130
    except RagformerError as error:
        return _fail(str(error))
    except Exception as error:
        hint = "set RAGFORMER_DEBUG=1 to see where, and please report it"
        return _fail(f"unexpected {type(error).__name__}: {error}; {hint}")


def _fail(sentence: str) -> int:
    if os.environ.get("RAGFORMER_DEBUG"):
        traceback.print_exc()
    warn("ragformer: " + " ".join(sentence.split()))
    return 1
