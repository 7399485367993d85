"""Work on what strangers made, in a child process that may use only so much.

fenced(work, arguments) -> a child: limits, work(arguments) -> its result, as JSON on a pipe
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from ragformer.errors import WeightsError

try:
    import resource
except ImportError:  # Windows: the parent watches the time, nothing bounds the memory
    resource = None  # type: ignore[assignment]

Result = TypeVar("Result")
_START = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]);"
    "from ragformer.fence import main; main()"
)
_PATIENCE = 12  # a busy machine's clock against its processor time


@dataclass(frozen=True, slots=True)
class Fence:
    """What a child may use: processor time, and address space where the system bounds it."""

    seconds: float
    memory_mb: int


class OverrunError(WeightsError):
    """The work took more than it may, or brought its process down."""


def limit_memory(megabytes: int) -> None:
    """Bound this process's address space, where the system can."""
    if resource is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        wanted = megabytes << 20
        if hard != resource.RLIM_INFINITY:
            wanted = min(wanted, hard)
        with suppress(ValueError, OSError):  # macOS refuses
            resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))


def limit_time(seconds: float) -> None:
    """Die after this much more processor time: the fence that holds when the parent is gone."""
    if resource is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        wanted = int(time.process_time() + seconds) + 2
        if hard != resource.RLIM_INFINITY:
            wanted = min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_CPU, (wanted, hard))


def fenced(work: Callable[..., Result], *arguments: object, fence: Fence) -> Result:
    """What `work`, a function of a module, makes of the arguments in a child of its own.

    Arguments and result are such as JSON holds. Raises WeightsError with what the work raised, and
    OverrunError.
    """
    asked = [work.__module__, work.__name__, arguments, fence.seconds, fence.memory_mb]
    try:
        done = subprocess.run(
            [sys.executable, "-c", _START, json.dumps(sys.path)],
            input=json.dumps(asked).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=fence.seconds * _PATIENCE,
            check=False,
        )
        reply = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError) as error:  # killed, or died without a word
        raise OverrunError(f"more than {fence.seconds:g} s or {fence.memory_mb} MB") from error
    if "fault" in reply:
        raise WeightsError(reply["fault"])
    result: Result = reply["result"]
    return result


def main() -> None:
    """The child. Whatever a library prints goes nowhere."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    module, name, arguments, seconds, memory_mb = json.load(sys.stdin.buffer)
    work = getattr(importlib.import_module(module), name)
    limit_time(seconds)
    limit_memory(memory_mb)
    try:
        reply = {"result": work(*arguments)}
    except BaseException as error:  # a panic of a library in Rust is no Exception
        reply = {"fault": str(error)[:300] or type(error).__name__}
    out.write(json.dumps(reply))
    out.close()
