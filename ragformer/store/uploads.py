"""Files that came through the browser or the service: names made safe, kept in the collection's
own folder, gone with their document."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ragformer.errors import InputError
from ragformer.store.files import disk_error

UPLOADS = "uploads"
LONGEST_NAME = 120
"""Bytes. A file system takes 255, of which a number for a second file of that name needs some."""
_MOST_OF_A_NAME = 40_000
_UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069<>:"|?*]')
_BLOCK = 2**20


def safe_name(given: str) -> str:
    """A name for a file of ours, from whatever a browser calls it: no folders, no marks that a
    terminal or another system would obey, not hidden, and with .pdf at its end."""
    name = unicodedata.normalize("NFC", re.split(r"[/\\]", given)[-1])
    name = _UNSAFE.sub("", name.encode("utf-8", "replace").decode())
    stem = re.sub(r"\.pdf$", "", " ".join(name.split()), flags=re.IGNORECASE).strip(". ")
    cut = stem.encode()[:LONGEST_NAME].decode(errors="ignore").strip(". ")
    return f"{cut or 'document'}.pdf"


def save_upload(folder: Path, given: str, content: IO[bytes]) -> tuple[Path, bool]:
    """Keep a file below the collection's `folder`; returns where, and whether it is new there.

    The same bytes twice make one; another file of that name gets a number. Raises StoreError and
    its kin if it cannot be kept.
    """
    uploads = folder / UPLOADS
    name = Path(safe_name(given))
    digest = _digest(content)
    try:
        for place in (*reversed(uploads.parents), uploads):
            place.mkdir(mode=0o700, exist_ok=True)  # `parents` would make them for all to read
        with _written(uploads, content) as part:
            for n in range(1, _MOST_OF_A_NAME):
                path = uploads / (f"{name.stem} ({n}).pdf" if n > 1 else name.name)
                try:
                    _name(part, path)
                    return path, True
                except FileExistsError:
                    with path.open("rb") as kept:
                        if _digest(kept) == digest:
                            return path, False
    except OSError as error:
        raise disk_error(uploads, error) from error
    raise InputError(f"there are too many files named {name}; rename it and try again")


@contextmanager
def _written(folder: Path, content: IO[bytes]) -> Iterator[Path]:
    """The content in a file that nobody knows, which is gone afterwards unless it got a name."""
    content.seek(0)
    handle, part = tempfile.mkstemp(".part", ".", folder)
    try:
        with os.fdopen(handle, "wb") as out:
            shutil.copyfileobj(content, out, _BLOCK)
        yield Path(part)
    finally:
        Path(part).unlink(missing_ok=True)


def _name(part: Path, path: Path) -> None:
    """Call it so, whole at once, whoever else saves one now; raises FileExistsError if there is
    one of that name."""
    try:
        os.link(part, path)
    except FileExistsError:
        raise
    except OSError:  # no links here, as on FAT: for a moment others see it empty
        path.touch(mode=0o600, exist_ok=False)
        part.replace(path)


def _digest(content: IO[bytes]) -> bytes:
    content.seek(0)
    return hashlib.file_digest(content, "sha256").digest()  # type: ignore[arg-type]


def drop_uploads(folder: Path, paths: Iterable[Path]) -> None:
    """Remove those of the files that were kept below the collection's `folder`; others stay."""
    for path in paths:
        if path.parent == folder / UPLOADS:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise disk_error(path, error) from error
