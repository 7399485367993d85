"""Bring a collection in line with files: path -> sha256 -> pages -> chunks -> vectors -> store.

A file whose size and mtime are as last seen costs one `stat`; one whose bytes are known costs a
hash. Each document is one transaction, so stopping anywhere loses at most the one at hand.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ragformer.errors import EncoderMismatchError, InputError, PdfError
from ragformer.pdf.chunk import split_pages
from ragformer.pdf.language import detect_language
from ragformer.pdf.read import PdfText, read_pdfs
from ragformer.retrieve.embed import Encoder, Vectors, passage_text
from ragformer.store.rows import KnownFile, Stages
from ragformer.store.store import Store
from ragformer.types import Chunk, Document, FileOutcome, FileStatus, Progress, Report

READ_VERSION = 1
CHUNK_VERSION = 1
EMBED_AT_ONCE = 2048  # chunks between two transactions when embedding a whole collection anew
_LOOK_AGAIN = -1  # a size and mtime that no file has: the file is tried again at the next run


@dataclass(frozen=True, slots=True)
class Options:
    """prune: forget files that are gone. reembed, rechunk: make vectors, chunks anew."""

    prune: bool = False
    reembed: bool = False
    rechunk: bool = False
    workers: int = 1
    passwords: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """What a walk came to: the files to index, and the places that could not be looked into."""

    roots: tuple[Path, ...]
    files: tuple[Path, ...]
    problems: tuple[FileOutcome, ...]


def find_files(paths: Iterable[Path]) -> Found:
    """The given files, and every *.pdf below the given folders that is not hidden.

    Links are followed, a folder is entered once, pipes and sockets are passed over. Raises
    InputError for a path that is not there or is neither a file nor a folder.
    """
    roots = tuple(dict.fromkeys(Path(os.path.abspath(path)) for path in paths))  # noqa: PTH100
    found: dict[Path, FileOutcome | None] = {}
    entered: set[tuple[int, int]] = set()
    for root in roots:
        if not os.path.lexists(root):
            raise InputError(f"there is no file or folder {root}; check the path")
        if root.is_dir():
            found.update(_walk(root, entered))
        elif root.is_file():
            found[root] = None
        else:
            raise InputError(f"{root} is neither a file nor a folder; give PDFs or folders")
    files = tuple(path for path, problem in found.items() if problem is None)
    return Found(roots, files, tuple(filter(None, found.values())))


def _walk(root: Path, entered: set[tuple[int, int]]) -> Iterator[tuple[Path, FileOutcome | None]]:
    folders: list[Path] = [root]
    linked: list[Path] = []
    while folders or linked:
        # Links come last, so that a file is known by its real folder where both lead to it.
        folder = folders.pop() if folders else linked.pop()
        try:
            stat = folder.stat()
            entries = sorted(folder.iterdir(), reverse=True)
        except OSError as error:
            reason = f"the folder cannot be opened: {error.strerror}"
            yield folder, FileOutcome(folder, None, "failed", reason)
            continue
        if (stat.st_dev, stat.st_ino) in entered:
            continue
        entered.add((stat.st_dev, stat.st_ino))
        for path in (entry for entry in entries if not entry.name.startswith(".")):
            # os.path says False where Path raises: a name too long, a loop of links.
            if os.path.isdir(path):  # noqa: PTH112
                (linked if path.is_symlink() else folders).append(path)
            elif path.suffix.lower() == ".pdf" and os.path.isfile(path):  # noqa: PTH113
                yield path, None


def index_files(
    store: Store, encoder: Encoder, found: Found, options: Options
) -> Iterator[Progress | Report]:
    """Index what was found; yields a Progress a step and, last, the Report.

    Raises StoreBusyError when another process is indexing, EncoderMismatchError when the stored
    vectors are another encoder's and `reembed` is off.
    """
    run = _Run(store, encoder, len(found.files) + len(found.problems))
    with store.indexing():
        if not options.reembed:
            check_encoder(store, encoder.id)
        yield from run.refresh(found.roots, options)
        for problem in found.problems:
            yield run.settle(problem)
        yield from run.look(found.files, bool(options.passwords))
        yield from run.read(options)
        if options.prune:
            yield from run.prune(found.roots)
        if any(outcome.status in ("replaced", "removed") for outcome in run.outcomes.values()):
            store.checkpoint()
    yield run.report()


def check_encoder(store: Store, encoder_id: str) -> None:
    """Raises EncoderMismatchError unless every chunk has a vector of this encoder."""
    if not store.chunks_without_vectors(encoder_id, 1):
        return
    others = ", ".join(key for key in store.encoders() if key != encoder_id)
    if others:
        what = f"this collection was embedded by encoder {others}, not {encoder_id}"
        way_out = "or set RAGFORMER_MODELS to the models it was made with"
    else:
        what = f"some chunks of this collection have no vector of encoder {encoder_id}"
        way_out = "which embeds what is missing"
    raise EncoderMismatchError(f"{what}; run `ragformer index --reembed`, {way_out}")


def embed(encoder: Encoder, title: str, chunks: Sequence[Chunk]) -> Vectors:
    """Row i is the vector of chunks[i], read with its title and headings."""
    return encoder.encode([passage_text(title, c.heading_path, c.text) for c in chunks])


def reembed(store: Store, encoder: Encoder) -> Iterator[int]:
    """Embed what this encoder has no vector for, or everything if it lacks none.

    Yields the number of chunks of each step; the vectors of other encoders go at the end.
    """
    if not store.chunks_without_vectors(encoder.id, 1):
        store.drop_vectors_except("")
    while rows := store.chunks_without_vectors(encoder.id, EMBED_AT_ONCE):
        passages = store.passages([(key, 0.0) for key, *_ in rows])
        texts = [passage_text(p.document.title, p.heading_path, p.text) for p in passages]
        ids = [passage.chunk_id for passage in passages]
        store.set_vectors(encoder.id, ids, encoder.encode(texts))
        yield len(ids)
    store.drop_vectors_except(encoder.id)


class _Run:
    """One indexing run: what is settled so far, and the steps that settle the rest."""

    def __init__(self, store: Store, encoder: Encoder, n_files: int) -> None:
        self.store, self.encoder, self.n_files = store, encoder, n_files
        self.outcomes: dict[Path, FileOutcome] = {}
        self.pages_read = self.chunks_embedded = 0
        self._new: dict[str, list[KnownFile]] = {}  # sha256 -> the files with these bytes
        self._started = time.monotonic()

    def settle(self, outcome: FileOutcome | None = None) -> Progress:
        if outcome is not None:
            self.outcomes[outcome.path] = outcome
        done = sum(outcome.status != "removed" for outcome in self.outcomes.values())
        return Progress(done, self.n_files, self.pages_read, self.chunks_embedded, outcome)

    def report(self) -> Report:
        files = tuple(self.outcomes[path] for path in sorted(self.outcomes))
        seconds = time.monotonic() - self._started
        return Report(files, self.pages_read, self.chunks_embedded, seconds)

    def look(self, files: Sequence[Path], retry: bool) -> Iterator[Progress]:
        """Settle every file that needs no reading and note the others; `retry` failed ones."""
        for path in files:
            known = self.store.known_file(path)
            try:
                file = KnownFile.of(path)
                if known and (known.size, known.mtime_ns) == (file.size, file.mtime_ns):
                    if known.document_id is not None:
                        yield self._stored(file, known.document_id, known)
                        continue
                    if not retry:
                        yield self.settle(FileOutcome(path, None, "failed", known.reason))
                        continue
                key = _sha256(path)
            except OSError as error:
                reason = f"{path.name} cannot be opened: {error.strerror}"
                yield self._failed(KnownFile(path, _LOOK_AGAIN, _LOOK_AGAIN), reason)
                continue
            if self.store.find(key) is not None:
                self.store.attach_path(key, file)
                yield self._stored(file, key, known)
            else:
                self._new.setdefault(key, []).append(file)

    def read(self, options: Options) -> Iterator[Progress]:
        """Read and store the noted files; the readers run ahead while we embed."""
        key_of = {files[0].path: key for key, files in self._new.items()}
        for path, text in read_pdfs(list(key_of), options.workers, options.passwords):
            files = self._new[key_of[path]]
            if isinstance(text, PdfError):
                for file in files:
                    yield self._failed(file, str(text))
            elif not _is_as_seen(files[0]):
                reason = f"{path.name} changed while it was read; index it again"
                for file in files:
                    again = KnownFile(file.path, _LOOK_AGAIN, _LOOK_AGAIN)
                    yield self._failed(again, reason)
            else:
                yield from self._add(key_of[path], files, text)

    def _add(self, key: str, files: list[KnownFile], text: PdfText) -> Iterator[Progress]:
        before = [self.store.known_file(file.path) for file in files]
        language = detect_language("\n".join(page.text for page in text.pages))
        paths = tuple(file.path for file in files)
        document = Document(
            key, text.title, paths, len(text.pages), datetime.now(UTC), language=language
        )
        chunks = split_pages(text, self.encoder.tokenizer.count)
        vectors_ND = embed(self.encoder, text.title, chunks)
        stages = Stages(text.reader, READ_VERSION, CHUNK_VERSION)
        self.store.add_document(
            document, text.pages, chunks, vectors_ND, self.encoder.id, text.outline, files, stages
        )
        self.pages_read += len(text.pages)
        self.chunks_embedded += len(chunks)
        for file, known in zip(files, before, strict=True):
            yield self._stored(file, key, known)

    def _stored(self, file: KnownFile, key: str, known: KnownFile | None) -> Progress:
        """Settle a file whose document is in the store; `known`: what the path held before."""
        document = self.store.find(key)
        assert document is not None
        status: FileStatus = "added"
        if known is not None and known.document_id is not None:
            status = "unchanged" if known.document_id == key else "replaced"
        unread = document.unread_pages
        return self.settle(FileOutcome(file.path, key, status, "", document.n_pages, unread))

    def _failed(self, file: KnownFile, reason: str) -> Progress:
        self.store.record_failure(dataclasses.replace(file, reason=reason))
        return self.settle(FileOutcome(file.path, None, "failed", reason))

    def refresh(self, roots: Sequence[Path], options: Options) -> Iterator[Progress]:
        """Cut and embed anew what is stored, as far as the options or our own versions ask."""
        for document in self.store.documents():
            stages = self.store.stages(document.id)
            asked = options.rechunk and (not roots or _is_under(document.paths, roots))
            if asked or stages.chunk != CHUNK_VERSION:
                yield self._rechunk(document, stages)
        if options.reembed:
            for n_chunks in reembed(self.store, self.encoder):
                self.chunks_embedded += n_chunks
                yield self.settle()

    def _rechunk(self, document: Document, stages: Stages) -> Progress:
        pages, outline = tuple(self.store.pages(document.id)), self.store.outline(document.id)
        text = PdfText(document.title, pages, tuple(outline), stages.reader)
        chunks = split_pages(text, self.encoder.tokenizer.count)
        vectors_ND = embed(self.encoder, document.title, chunks)
        self.store.replace_chunks(document.id, chunks, vectors_ND, self.encoder.id, CHUNK_VERSION)
        self.chunks_embedded += len(chunks)
        return self.settle()

    def prune(self, roots: Sequence[Path]) -> Iterator[Progress]:
        """Forget the files under the roots that are no longer there."""
        held = {path: d.id for d in self.store.documents() for path in d.paths}
        failed = dict.fromkeys((outcome.path for outcome in self.store.failures()), None)
        for path, key in sorted((held | failed).items()):
            if _is_under([path], roots) and not os.path.exists(path):  # noqa: PTH110
                self.store.remove_path(path)
                yield self.settle(FileOutcome(path, key, "removed"))


def _is_under(paths: Iterable[Path], roots: Sequence[Path]) -> bool:
    return any(path.is_relative_to(root) for path in paths for root in roots)


def _is_as_seen(file: KnownFile) -> bool:
    """Whether the file still is what was hashed, as far as size and mtime tell."""
    try:
        now = KnownFile.of(file.path)
    except OSError:
        return False
    return (now.size, now.mtime_ns) == (file.size, file.mtime_ns)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
