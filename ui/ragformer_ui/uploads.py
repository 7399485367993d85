"""Files that come through the browser: names made safe, kept in the collection's own folder."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from io import BufferedReader, BytesIO
from pathlib import Path

from ragformer.errors import InputError
from ragformer.store.files import disk_error
from ragformer.store.uploads import UPLOADS

MOST_FILES = 200
LONGEST_NAME = 120
"""Bytes. A file system takes 255, of which a number for a second file of that name needs some."""
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


def save_upload(folder: Path, given: str, content: BytesIO) -> Path:
    """Keep a file below the collection's `folder` and return where; the same bytes twice make one.

    Another file of that name gets a number. Raises StoreError and its kin if it cannot be kept.
    """
    uploads = folder / UPLOADS
    name = Path(safe_name(given))
    digest = _digest(content)
    try:
        for place in (*reversed(uploads.parents), uploads):
            place.mkdir(mode=0o700, exist_ok=True)  # `parents` would make them for all to read
        for n in range(1, MOST_FILES * MOST_FILES):
            path = uploads / (f"{name.stem} ({n}).pdf" if n > 1 else name.name)
            if not path.exists():
                return _write(path, content)
            with path.open("rb") as kept:
                if _digest(kept) == digest:
                    return path
    except OSError as error:
        raise disk_error(uploads, error) from error
    raise InputError(f"there are too many files named {name}; rename it and try again")


def _write(path: Path, content: BytesIO) -> Path:
    """All of the content or no file: it comes to its name when it is whole."""
    content.seek(0)
    part = path.with_name(f".{path.name}.part")
    try:
        with os.fdopen(os.open(part, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as out:
            while block := content.read(_BLOCK):
                out.write(block)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def _digest(content: BytesIO | BufferedReader) -> bytes:
    content.seek(0)
    return hashlib.file_digest(content, "sha256").digest()


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
