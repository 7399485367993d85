"""Files that came through the browser are kept below the collection, and go with their document."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ragformer.store.files import disk_error

UPLOADS = "uploads"


def drop_uploads(folder: Path, paths: Iterable[Path]) -> None:
    """Remove those of the files that were kept below the collection's `folder`; others stay."""
    for path in paths:
        if path.parent == folder / UPLOADS:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise disk_error(path, error) from error
