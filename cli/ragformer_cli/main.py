"""The `ragformer` command, and the one edge where errors become a sentence and an exit code.

    0 done or answered   3 abstained   2 usage   1 error   130 interrupted
    141 nobody reads on, as after `| head -1`; a single `ask` is answered to its end even so

Commands import what is heavy when they run, so that `--help` needs neither torch nor faiss.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import click

from ragformer.errors import RagformerError
from ragformer_cli import (
    asking,
    documents,
    lessons,
    measure,
    models,
    serve,
    speed,
    summary,
    system,
    train,
    ui,
)
from ragformer_cli.terminal import warn

READER_GONE = 141  # what a shell says of a program that SIGPIPE ended
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


for _module in (
    documents,
    asking,
    summary,
    ui,
    serve,
    system,
    models,
    train,
    measure,
    speed,
    lessons,
):
    for _command in _module.COMMANDS:
        main.add_command(_command)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code, one of those above."""
    _prepare_threads()
    # What importing torch makes lives to the end. The collector need not search it again and again
    # while it is made, nor at exit: 0.4 s of every command that needs torch.
    gc.set_threshold(50_000)
    atexit.register(gc.freeze)
    _prepare_streams()
    code = _run(arguments)
    _drop_unwritten()
    return code


def _prepare_streams() -> None:
    """No stream is missing, and none stumbles over a character."""
    # A path or a PDF may hold what the terminal's encoding lacks: show it escaped. A question may
    # come in another encoding than the terminal's: ask with what can be read of it.
    for name, mode, errors in (
        ("stdin", "r", "replace"),
        ("stdout", "w", "backslashreplace"),
        ("stderr", "w", "backslashreplace"),
    ):
        if getattr(sys, name) is None:  # closed, as by `>&-`
            setattr(sys, name, click.open_file(os.devnull, mode, encoding="utf-8"))
        stream = getattr(sys, name)
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=errors)


def _drop_unwritten() -> None:
    """Spare Python's exit a second failure over what stdout did not take."""
    try:
        sys.stdout.flush()
    except OSError:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _prepare_threads() -> None:
    """Say how torch's threads wait for each other, unless the user has; OpenMP reads it once, when
    torch is imported.

    By spinning they take the processor from whatever else runs, and `ask` then up to eight times as
    long; by sleeping they have to be woken some thousand times an answer, which on processors that
    have gone idle takes longer than the work. So on an idle machine they spin for the tenth of a
    millisecond that the next product is mostly away, and then sleep: a prompt is read twice as fast
    and `ask` answers in four fifths of the time (2 cores; `ragformer bench decode`, `bench ask`).
    """
    if "OMP_WAIT_POLICY" in os.environ:
        return
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    if _is_idle():
        os.environ.setdefault("GOMP_SPINCOUNT", "5000")


def _is_idle() -> bool:
    """Whether less than a quarter of the processors had work in the last minute."""
    try:
        return os.getloadavg()[0] < (os.cpu_count() or 1) / 4
    except (AttributeError, OSError):  # Windows; a system that does not tell
        return False


def _run(arguments: Sequence[str] | None) -> int:
    streams = sys.stdout, sys.stderr
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
    except SystemExit:
        if sys.stdout is streams[0]:
            raise  # a shell asked for completions
        sys.stdout, sys.stderr = streams  # click wraps them when the reader has gone
        return READER_GONE
    except OSError as error:
        place = error.filename or "its input or output"
        return _fail(f"cannot read or write {place}: {error.strerror or error}")
    except Exception as error:
        hint = "set RAGFORMER_DEBUG=1 to see where, and please report it"
        return _fail(f"unexpected {type(error).__name__}: {error}; {hint}")


def _fail(sentence: str) -> int:
    if os.environ.get("RAGFORMER_DEBUG"):
        traceback.print_exc()
    warn("ragformer: " + " ".join(sentence.split()))
    return 1
