"""Bring a collection in line with files: path -> sha256 -> pages -> chunks -> vectors -> store.

A file whose size and mtime are as last seen costs one `stat`; one whose bytes are known costs a
hash. Each document is one transaction, so stopping anywhere loses at most the one at hand.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from ragformer.errors import InputError, NotFoundError, PdfError
from ragformer.pdf.chunk import split_pages
from ragformer.pdf.language import detect_language
from ragformer.pdf.read import PagesRead, PdfText, follow_pdfs
from ragformer.retrieve.embed import Encoder, Vectors, passage_text
from ragformer.store.rows import KnownFile, Stages
from ragformer.store.store import Store
from ragformer.types import Chunk, Document, FileOutcome, FileStatus, Progress, Report

READ_VERSION = 1
CHUNK_VERSION = 2
EMBED_AT_ONCE = 64  # chunks between two steps of progress: a few batches of the encoder
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
    yield run.settle()
    with store.indexing():
        before = store.generation
        if not options.reembed:
            store.check_encoder(encoder.id)
        yield from run.refresh(found.roots, options)
        for problem in found.problems:
            yield run.settle(problem)
        yield from run.look(found.files, bool(options.passwords))
        yield from run.read(options)
        if options.prune:
            yield from run.prune(found.roots)
        if store.generation != before or store.unscrubbed:  # by a run that was cut off
            store.checkpoint()
    yield run.report()


def embed(encoder: Encoder, title: str, chunks: Sequence[Chunk]) -> Vectors:
    """Row i is the vector of chunks[i], read with its title and headings."""
    return encoder.encode([passage_text(title, c.heading_path, c.text) for c in chunks])


def reembed(store: Store, encoder: Encoder) -> Iterator[int]:
    """Embed what this encoder has no vector for, or everything if it lacks none.

    Yields the number of chunks of each step. A vector gives way only to a newer one, and those of
    other encoders go at the end, so that the collection can be asked meanwhile.
    """
    yield from embed_stored(store, encoder, chunks_to_embed(store, encoder))
    store.drop_vectors_except(encoder.id)


def embed_stored(store: Store, encoder: Encoder, due: Sequence[int]) -> Iterator[int]:
    """Embed the chunks with these ids and yield how many at each step; others' vectors stay."""
    for start in range(0, len(due), EMBED_AT_ONCE):
        passages = store.passages([(key, 0.0) for key in due[start : start + EMBED_AT_ONCE]])
        texts = [passage_text(p.document.title, p.heading_path, p.text) for p in passages]
        ids = [passage.chunk_id for passage in passages]
        store.set_vectors(encoder.id, ids, encoder.encode(texts))
        yield len(ids)


def chunks_to_embed(store: Store, encoder: Encoder) -> list[int]:
    """Ids of the chunks that `reembed` embeds."""
    return store.chunks_without_vectors(encoder.id) or store.chunk_ids().tolist()


@dataclass(slots=True)
class _Pages:
    """Pages of a run: `read` have come from the readers, `done` are embedded too.

    stored: those of stored documents that are worked on. n_files: how many files are to be read.
    """

    read: int = 0
    done: int = 0
    stored: int = 0
    n_files: int = 0
    _in_files: int = 0
    _opened: dict[Path, PagesRead] = field(default_factory=dict)

    def come_to(self, path: Path, at: PagesRead) -> None:
        before = self._opened.get(path, PagesRead(0, 0))
        self._opened[path] = at
        self.read += at.n - before.n
        self._in_files += at.n_pages - before.n_pages

    @property
    def total(self) -> int:
        """All there are to do; a file not open yet has as many as the others on average."""
        return self.stored + self._in_files * self.n_files // max(1, len(self._opened))


class _Run:
    """One indexing run: what is settled so far, and the steps that settle the rest."""

    def __init__(self, store: Store, encoder: Encoder, n_files: int) -> None:
        self.store, self.encoder, self.n_files = store, encoder, n_files
        self.outcomes: dict[Path, FileOutcome] = {}
        self.pages, self.pages_read, self.chunks_embedded = _Pages(), 0, 0
        self._n_removed = 0
        self._new: dict[str, list[KnownFile]] = {}  # sha256 -> the files with these bytes
        self._started = time.monotonic()

    def settle(self, outcome: FileOutcome | None = None) -> Progress:
        if outcome is not None:
            self.outcomes[outcome.path] = outcome
            self._n_removed += outcome.status == "removed"
        done = len(self.outcomes) - self._n_removed
        pages = self.pages
        return Progress(
            done, self.n_files, pages.done, self.chunks_embedded, outcome, pages.read, pages.total
        )

    def report(self) -> Report:
        files = tuple(self.outcomes[path] for path in sorted(self.outcomes))
        seconds = time.monotonic() - self._started
        return Report(files, self.pages_read, self.chunks_embedded, seconds)

    def look(self, files: Sequence[Path], retry: bool) -> Iterator[Progress]:
        """Settle every file that needs no reading and note the others; `retry` failed ones."""
        outdated = self.store.outdated("read", READ_VERSION)
        for path in files:
            known = self.store.known_file(path)
            try:
                file = KnownFile.of(path)
                if known is not None and _is_same(known, file):
                    if known.document_id is None and not retry:
                        yield self.settle(FileOutcome(path, None, "failed", known.reason))
                        continue
                    held = known.document_id and self.store.find(known.document_id)
                    if held and held.id not in outdated:
                        yield self._stored(file, held, known)
                        continue
                key = _sha256(path)
            except OSError as error:
                yield self._not_come_to(path, f"{path.name} cannot be opened: {error.strerror}")
                continue
            document = None if key in outdated else self._attached(key, file)
            if document is None:
                self._new.setdefault(key, []).append(file)
            else:
                yield self._stored(file, document, known)

    def _attached(self, key: str, file: KnownFile) -> Document | None:
        """The stored document with these bytes, which the file holds now; None if there is none."""
        with contextlib.suppress(NotFoundError):
            return self.store.attach_path(key, file)
        return None

    def read(self, options: Options) -> Iterator[Progress]:
        """Read and store the noted files; the readers run ahead while we embed.

        Of copies one is read, or the next one where that has changed since we looked.
        """
        while self._new:
            due = {files[0].path: (key, files) for key, files in self._new.items()}
            self._new = {}
            self.pages.n_files += len(due)
            for path, text in follow_pdfs(list(due), options.workers, options.passwords):
                key, files = due[path]
                if isinstance(text, PagesRead):
                    self.pages.come_to(path, text)
                    yield self.settle()
                elif not _is_as_seen(files[0]):
                    self.pages.come_to(path, PagesRead(0, 0))
                    reason = f"{path.name} changed while it was read; index it again"
                    yield self._not_come_to(path, reason)
                    if files[1:]:
                        self._new[key] = files[1:]
                elif isinstance(text, PdfError):
                    self.pages.come_to(path, PagesRead(0, 0))
                    yield from self._refused(files, str(text))
                else:
                    self.pages.come_to(path, PagesRead(len(text.pages), len(text.pages)))
                    yield from self._add(key, files, text)

    def _add(self, key: str, files: list[KnownFile], text: PdfText) -> Iterator[Progress]:
        before = [self.store.known_file(file.path) for file in files]
        language = detect_language("\n".join(page.text for page in text.pages))
        paths = tuple(file.path for file in files)
        document = Document(
            key, text.title, paths, len(text.pages), datetime.now(UTC), language=language
        )
        chunks = split_pages(text, self.encoder.tokenizer.count)
        vectors_ND = yield from self._embed(text.title, chunks, len(text.pages))
        stages = Stages(text.reader, READ_VERSION, CHUNK_VERSION)
        document = self.store.add_document(
            document, text.pages, chunks, vectors_ND, self.encoder.id, text.outline, files, stages
        )
        self.pages_read += len(text.pages)
        for file, known in zip(files, before, strict=True):
            yield self._stored(file, document, known)

    def _embed(
        self, title: str, chunks: Sequence[Chunk], n_pages: int
    ) -> Generator[Progress, None, Vectors]:
        """The vectors of a document's chunks, with a Progress after every EMBED_AT_ONCE."""
        before = self.pages.done
        vectors_ND = [embed(self.encoder, title, [])]
        for start in range(0, len(chunks), EMBED_AT_ONCE):
            some = chunks[start : start + EMBED_AT_ONCE]
            vectors_ND.append(embed(self.encoder, title, some))
            self.chunks_embedded += len(some)
            self.pages.done = max(self.pages.done, before + some[-1].spans[-1].page - 1)
            yield self.settle()
        self.pages.done = before + n_pages
        return np.concatenate(vectors_ND)

    def _stored(self, file: KnownFile, document: Document, known: KnownFile | None) -> Progress:
        """Settle a file whose document is in the store; `known`: what the path held before."""
        status: FileStatus = "added"
        if known is not None and known.document_id is not None:
            status = "unchanged" if known.document_id == document.id else "replaced"
        key, n_pages, unread = document.id, document.n_pages, document.unread_pages
        return self.settle(
            FileOutcome(file.path, key, status, "", n_pages, unread, document.language)
        )

    def _refused(self, files: Sequence[KnownFile], reason: str) -> Iterator[Progress]:
        """Settle a file that was read in vain, and its copies; what they held before goes."""
        for file in files:
            twin = f"{file.path.name} has the same bytes as {files[0].path.name}: "
            yield self._failed(file, reason if file is files[0] else twin + reason)

    def _not_come_to(self, path: Path, reason: str) -> Progress:
        """Settle a file that was not read: it is tried again, and keeps what it held before."""
        known = self.store.known_file(path)
        if known is None or known.document_id is None:
            return self._failed(KnownFile(path, _LOOK_AGAIN, _LOOK_AGAIN), reason)
        reason += " (what was indexed before is kept)"
        return self.settle(FileOutcome(path, None, "failed", reason))

    def _failed(self, file: KnownFile, reason: str) -> Progress:
        self.store.record_failure(dataclasses.replace(file, reason=reason))
        return self.settle(FileOutcome(file.path, None, "failed", reason))

    def refresh(self, roots: Sequence[Path], options: Options) -> Iterator[Progress]:
        """Cut and embed anew what is stored, as far as the options or our own versions ask."""
        documents = self.store.documents()
        outdated = self.store.outdated("chunk", CHUNK_VERSION)
        due = [
            document
            for document in documents
            if document.id in outdated
            or (options.rechunk and (not roots or _is_under(document.paths, roots)))
        ]
        self.pages.stored = sum(document.n_pages for document in due)
        for document in due:
            with contextlib.suppress(NotFoundError):  # removed meanwhile
                yield from self._rechunk(document)
        if options.reembed:
            yield from self._reembed(sum(document.n_pages for document in documents))

    def _rechunk(self, document: Document) -> Iterator[Progress]:
        reader = self.store.stages(document.id).reader
        pages, outline = tuple(self.store.pages(document.id)), self.store.outline(document.id)
        text = PdfText(document.title, pages, tuple(outline), reader)
        chunks = split_pages(text, self.encoder.tokenizer.count)
        vectors_ND = yield from self._embed(document.title, chunks, document.n_pages)
        self.store.replace_chunks(document.id, chunks, vectors_ND, self.encoder.id, CHUNK_VERSION)
        yield self.settle()

    def _reembed(self, n_pages: int) -> Iterator[Progress]:
        """Embed the whole collection anew; its pages count as done as its chunks are."""
        before, n_done = self.pages.done, 0
        n_chunks = len(chunks_to_embed(self.store, self.encoder))
        self.pages.stored += n_pages
        for n in reembed(self.store, self.encoder):
            n_done += n
            self.chunks_embedded += n
            self.pages.done = before + n_pages * n_done // n_chunks
            yield self.settle()

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
    return _is_same(now, file)


def _is_same(one: KnownFile, other: KnownFile) -> bool:
    return (one.size, one.mtime_ns) == (other.size, other.mtime_ns)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
