"""Files that come through the browser, and places that are typed."""

from __future__ import annotations

import os
from pathlib import Path

from ragformer.errors import InputError

MOST_FILES = 200


def readable_place(given: str) -> Path:
    """The folder or PDF that is meant, if it can be read; raises InputError saying why not."""
    path = Path(given.strip()).expanduser()
    if not given.strip():
        raise InputError("give the path of a folder, or of a PDF")
    if not path.is_absolute():
        raise InputError(f"{path} is not a whole path; give one that begins at the top")
    path = Path(os.path.abspath(path))  # noqa: PTH100 (keeps links, drops ..)
    try:
        if not path.exists():
            raise InputError(f"there is nothing at {path}")
        if not path.is_dir() and path.suffix.lower() != ".pdf":
            raise InputError(f"{path} is neither a folder nor a PDF")
    except OSError as error:
        raise InputError(f"{path} cannot be looked at: {error.strerror}") from error
    if path == Path(path.anchor):
        raise InputError(f"{path} is the whole disk; give a folder in it")
    if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
        raise InputError(f"{path} may not be read; check who owns it")
    return path
