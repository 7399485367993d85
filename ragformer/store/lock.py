"""One indexer a collection: an operating system lock on a file that names its holder.

The system drops the lock when the process ends, however it ends, so no stale lock is possible.
Readers never look at it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ragformer.errors import StoreBusyError
from ragformer.store.files import disk_error

LOCK = "indexer.lock"

if sys.platform == "win32":
    import msvcrt

    _FAR = 1 << 30  # Windows bars reading what is locked: lock a byte far behind the pid.

    def _take(handle: int) -> None:
        os.lseek(handle, _FAR, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        os.lseek(handle, 0, os.SEEK_SET)
else:
    import fcntl

    def _take(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def indexer_lock(folder: Path) -> Iterator[None]:
    """Hold the right to index `folder`; raises StoreBusyError at once if another holds it."""
    try:
        handle = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise disk_error(folder, error) from error
    try:
        _hold(handle, folder)
        yield
    finally:
        os.close(handle)


def _hold(handle: int, folder: Path) -> None:
    try:
        _take(handle)
    except (BlockingIOError, PermissionError) as error:
        holder = os.read(handle, 32).decode("ascii", "replace").strip() or "unknown"
        raise StoreBusyError(
            f"process {holder} is indexing the collection in {folder}; "
            "wait until it is done, or stop it: what it has finished is kept"
        ) from error
    try:
        os.ftruncate(handle, 0)
        os.write(handle, str(os.getpid()).encode("ascii"))
    except OSError as error:
        raise disk_error(folder, error) from error
