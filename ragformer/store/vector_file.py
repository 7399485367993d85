"""The one file that keeps a big collection's vector index: FAISS's bytes, then a label.

    FAISS | label (JSON) | length of the label (8 bytes) | MAGIC

It is written whole before it takes its name, for its owner alone, and read through the memory map.
"""

from __future__ import annotations

import dataclasses
import json
import os
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ragformer.store.files import disk_error, keep_names
from ragformer.store.vectors import faiss_module

VECTOR_FILE = "vectors.index"
_MAGIC = b"ragfvec1"
_TAIL = 8 + len(_MAGIC)


@dataclass(frozen=True, slots=True)
class Label:
    """What the index holds: the vectors of one encoder.

    generation: of the store, when its vectors were read. last_id: it has every chunk up to this id
    that was there then. n_trained: how many there were when its lists were chosen. error: no
    vector is further than this from what the index keeps of it. head: its first bytes, up to the
    lists, and their crc; crc: of all its bytes.
    """

    encoder_id: str
    generation: int
    last_id: int
    n_trained: int
    error: float
    head: int = 0
    head_crc: int = 0
    crc: int = 0


def read_label(folder: Path) -> Label | None:
    """The label of the folder's file; None where there is no file, or none that was whole."""
    try:
        with (folder / VECTOR_FILE).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL))
            tail = file.read()
            length = int.from_bytes(tail[:8], "little")
            if tail[8:] != _MAGIC or length > size - _TAIL:
                return None
            file.seek(size - _TAIL - length)
            return Label(**json.loads(file.read(length)))
    except (OSError, ValueError, TypeError):
        return None


def load(folder: Path, mapped: bool = True) -> tuple[Label, Any] | None:
    """The label and the FAISS index; None where there is no file that can be used.

    mapped: leave the vectors in the file and read what a search touches; only such an index is for
    reading only. Windows would not let a mapped file be replaced, so there it is read whole.
    """
    faiss = faiss_module()
    path = folder / VECTOR_FILE
    flags = faiss.IO_FLAG_MMAP if mapped and os.name == "posix" else 0
    while label := read_label(folder):
        try:
            with path.open("rb") as file:
                if zlib.crc32(file.read(label.head)) != label.head_crc:
                    return None
            index = faiss.read_index(str(path), flags)
        except (OSError, RuntimeError):
            index = None
        if read_label(folder) == label:  # else another took its place meanwhile
            return (label, index) if index is not None else None
    return None


def is_whole(folder: Path, label: Label) -> bool:
    """Whether every byte is as it was written."""
    with (folder / VECTOR_FILE).open("rb") as file:
        left = file.seek(0, os.SEEK_END) - _TAIL - _length(file)
        file.seek(0)
        crc = 0
        while left > 0 and (block := file.read(min(left, 1 << 20))):
            crc, left = zlib.crc32(block, crc), left - len(block)
    return crc == label.crc


def _length(file: IO[bytes]) -> int:
    file.seek(-_TAIL, os.SEEK_END)
    return int.from_bytes(file.read(8), "little")


def write_part(folder: Path, index: Any, label: Label) -> Path:
    """Write the file under a name of this process's own and return that; see `take_name`."""
    part = folder / f"{VECTOR_FILE}.{os.getpid()}.part"
    try:
        # Opened so that it is never anybody else's to read, not even for a moment.
        handle = os.open(part, os.O_CREAT | os.O_TRUNC | os.O_RDWR | _BINARY, 0o600)
        with os.fdopen(handle, "w+b") as file:
            sink = _Sink(file)
            try:
                faiss = faiss_module()
                faiss.write_index(index, faiss.PyCallbackIOWriter(sink.write, 1 << 20))
            except RuntimeError:
                if sink.error is not None:
                    raise sink.error from None
                raise
            head = file.tell() - index.ntotal * (index.code_size + 8)  # 8: a chunk's id
            file.seek(0)
            head_crc = zlib.crc32(file.read(head))
            file.seek(0, os.SEEK_END)
            label = dataclasses.replace(label, head=head, head_crc=head_crc, crc=sink.crc)
            said = json.dumps(dataclasses.asdict(label)).encode()
            file.write(said + len(said).to_bytes(8, "little") + _MAGIC)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        part.unlink(missing_ok=True)
        raise disk_error(folder, error) from error
    return part


_BINARY = getattr(os, "O_BINARY", 0)  # Windows would turn line ends


class _Sink:
    """A file that FAISS writes to through us: what failed and the crc of what did not."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.crc = file, 0
        self.error: OSError | None = None

    def write(self, block: bytes) -> None:
        self.crc = zlib.crc32(block, self.crc)
        try:
            self.file.write(block)
        except OSError as error:
            self.error = error
            raise


def take_name(part: Path) -> bool:
    """Let the part be the file; False where another process cleared it away."""
    try:
        part.replace(part.with_name(VECTOR_FILE))
    except FileNotFoundError:
        return False
    except OSError as error:
        raise disk_error(part.parent, error) from error
    keep_names(part.parent)
    return True


def drop_file(folder: Path) -> None:
    """Remove the file."""
    try:
        if (folder / VECTOR_FILE).exists():
            (folder / VECTOR_FILE).unlink(missing_ok=True)
    except OSError as error:
        raise disk_error(folder, error) from error


def drop_parts(folder: Path) -> None:
    """Remove what a process that was killed left half written."""
    for part in folder.glob(f"{VECTOR_FILE}.*.part"):
        with suppress(OSError):
            part.unlink()
