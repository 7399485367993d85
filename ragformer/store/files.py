"""A collection's folder and the SQLite connection to its one file, `store.db`.

The folder is the user's alone (0700, files 0600; SQLite gives its side files the same mode).
SQLite's errors become plain sentences here and nowhere else.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from ragformer.errors import (
    NotFoundError,
    StoreBusyError,
    StoreError,
    StoreFullError,
    StoreReadOnlyError,
)
from ragformer.store.migrations import MIGRATIONS, migrate, version

DATABASE = "store.db"
BUSY_SECONDS = 5.0


def connect(folder: Path, create: bool, readonly: bool) -> tuple[sqlite3.Connection, bool]:
    """Open `folder`'s database and return (connection, can only be read).

    Falls back to reading when it cannot be written, unless `create`. Raises NotFoundError if there
    is no collection and `create` is off, StoreError and its kin otherwise.
    """
    database = folder / DATABASE
    with plain_errors(folder):
        if create:
            _make(folder)
        elif not _exists(database):
            raise NotFoundError(f"there is no collection in {folder}; make one by indexing a file")
        if create or (not readonly and is_writable(folder) and is_writable(database)):
            try:
                return _open_to_write(database), False
            except sqlite3.OperationalError as error:
                if create or _code(error) not in _READING_MAY_HELP:
                    raise
        return _open_to_read(database), True


def _exists(database: Path) -> bool:
    try:
        return database.exists()
    except PermissionError as error:
        raise StoreError(f"{database.parent} may not be entered; check who owns it") from error


def is_writable(path: Path) -> bool:
    """Whether this process, as the user it now acts as, may write `path`."""
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (folder / DATABASE).exists():
            folder.chmod(0o700)
            os.close(os.open(folder / DATABASE, os.O_CREAT | os.O_RDWR, 0o600))
            keep_names(folder)
    except OSError as error:
        raise disk_error(folder, error) from error


def keep_names(folder: Path) -> None:
    """Make the folder's name, and those of the folders it is in, outlast a power cut: SQLite sees
    to its own files only. Windows neither needs nor allows it."""
    for place in (folder, *folder.parents) if os.name == "posix" else ():
        with suppress(OSError):  # a folder above may not be ours to open; then it is not new
            handle = os.open(place, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def disk_error(folder: Path, error: OSError) -> StoreError:
    """The system's refusal to write in `folder`, as our error."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFullError(f"no space is left to write in {folder}; free some and try again")
    return StoreReadOnlyError(
        f"cannot write in {folder} ({error.strerror}); "
        "check who owns it, or choose another place with RAGFORMER_HOME"
    )


def _open_to_write(database: Path) -> sqlite3.Connection:
    connection = _open(database, "mode=rw")
    with ExitStack() as unless_opened:
        unless_opened.callback(connection.close)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA foreign_keys = ON")
        migrate(connection)
        unless_opened.pop_all()
    return connection


def _open_to_read(database: Path) -> sqlite3.Connection:
    """Open without writing a byte.

    A database in WAL mode needs its side files, which a folder that cannot be written may lack.
    With no log left behind the main file is whole and may be read as one that never changes.
    """
    connection = _open(database, "mode=ro")
    with ExitStack() as unless_opened:
        unless_opened.callback(connection.close)
        try:
            found = version(connection)
        except sqlite3.OperationalError:
            if _log_size(database):
                raise StoreError(
                    f"the collection in {database.parent} was not closed cleanly and cannot be "
                    "written here; run any ragformer command where it can be written"
                ) from None
            connection.close()
            connection = _open(database, "immutable=1")
            unless_opened.callback(connection.close)
            found = version(connection)
        if found == 0:
            raise StoreError(
                f"making the collection in {database.parent} was cut off and cannot go on now; "
                "see that there is space and that the folder can be written, then index again"
            )
        if found != len(MIGRATIONS):
            raise StoreError(
                f"the collection in {database.parent} has format {found}, this ragformer reads "
                f"{len(MIGRATIONS)}, and it cannot be written to upgrade it; open it once where "
                "it can be written, with the newer ragformer"
            )
        unless_opened.pop_all()
    return connection


def _log_size(database: Path) -> int:
    log = database.with_name(database.name + "-wal")
    return log.stat().st_size if log.exists() else 0


def _open(database: Path, how: str) -> sqlite3.Connection:
    # Threads may share a connection (SQLite serialises them); a Store takes a lock to write.
    connection = sqlite3.connect(
        f"{database.absolute().as_uri()}?{how}",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


_READING_MAY_HELP = frozenset(
    {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
)


def _code(error: sqlite3.Error) -> int | None:
    """SQLite's primary result code; None for an error of Python's own wrapper."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


@contextmanager
def plain_errors(folder: Path) -> Iterator[None]:
    """Turn SQLite's errors about the disk, the lock and the file into ours; let bugs through."""
    try:
        yield
    except sqlite3.Error as error:
        match _code(error):
            case sqlite3.SQLITE_FULL:
                raise StoreFullError(
                    f"no space is left to write the collection in {folder}; nothing of this step "
                    "was kept and the rest is whole: free some space and run it again"
                ) from error
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                raise StoreBusyError(
                    f"another process has been writing to the collection in {folder} for over "
                    f"{BUSY_SECONDS:.0f} s; wait for it to end and try again"
                ) from error
            case sqlite3.SQLITE_READONLY:
                raise StoreReadOnlyError(
                    f"the collection in {folder} can be read but not written; "
                    "check who owns the folder, or choose another with RAGFORMER_HOME"
                ) from error
            case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
                raise StoreError(
                    f"the collection in {folder} is damaged ({error}); "
                    "move that folder away and index the files again"
                ) from error
            case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_IOERR | sqlite3.SQLITE_PERM:
                raise StoreError(
                    f"the collection in {folder} could not be read or written ({error}); "
                    "check the disk and who owns the folder"
                ) from error
        raise
