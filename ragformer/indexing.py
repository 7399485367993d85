"""Bring a collection in line with files: path -> sha256 -> pages -> chunks -> vectors -> store.

A file whose size and mtime are as last seen costs one `stat`; one whose bytes are known costs a
hash. Each document is one transaction, so stopping anywhere loses at most the one at hand, and of
a long one, which has a journal (store/drafts.py), the last range of pages or batch of vectors.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ragformer.errors import InputError, NotFoundError, PdfError
from ragformer.pdf.chunk import split_pages
from ragformer.pdf.language import detect_language
from ragformer.pdf.ocr import Tesseract, is_due, keep_scans
from ragformer.pdf.progress import RunPages
from ragformer.pdf.read import RANGE, PageRange, PagesRead, PdfText, follow_pdfs
from ragformer.retrieve import embed_chunks
from ragformer.retrieve.embed_chunks import Embedding, chunks_to_embed
from ragformer.store import drafts
from ragformer.store.keep_vectors import refresh
from ragformer.store.rows import LOOK_AGAIN, KnownFile, Stages, file_hash
from ragformer.store.store import Store
from ragformer.types import Chunk, Document, FileOutcome, FileStatus, Progress, Report
from ragformer.walk import Found, Ignoring, is_gone, place_left

if TYPE_CHECKING:
    from ragformer.retrieve.embed import Encoder, Vectors

READ_VERSION = 6
CHUNK_VERSION = 3


_Read = PagesRead | PageRange | PdfText | PdfError


@dataclass(frozen=True, slots=True)
class Options:
    """prune: forget files that are gone or ignored. reembed, rechunk: make vectors, chunks anew.

    gone: files to look at as `prune` does, without it. workers: processes that read. tesseract:
    reads the pages that have no text, those of stored documents too.
    """

    prune: bool = False
    reembed: bool = False
    rechunk: bool = False
    workers: int = 0
    passwords: Sequence[str] = ()
    gone: Sequence[Path] = ()
    tesseract: Tesseract | None = None


def index_files(
    store: Store, encoder_id: str, load: Callable[[], Encoder], found: Found, options: Options
) -> Iterator[Progress | Report]:
    """Index what was found; yields a Progress a step and, last, the Report.

    load: loads the encoder of that id, called when there is something to cut or embed. Raises
    StoreBusyError when another process is indexing, EncoderMismatchError when the stored vectors
    are another encoder's and `reembed` is off.
    """
    run = _Run(store, load, len(found.files) + len(found.problems))
    yield run.settle()
    with store.indexing(), contextlib.closing(run):
        before = store.generation
        if not options.reembed:
            store.check_encoder(encoder_id)
        yield from run.refresh(encoder_id, found.roots, options)
        for problem in found.problems:
            yield run.settle(problem)
        yield from run.look(found.files, options)
        yield from run.read(options)
        yield from run.forget(found.roots, options)
        dropped = drafts.drop_drafts(store)
        refresh(store, encoder_id)
        # A run that was cut off may have left words to wipe.
        if dropped or store.generation != before or store.unscrubbed:
            store.checkpoint()
    yield run.report()


class _Run:
    """One indexing run: what is settled so far, and the steps that settle the rest."""

    def __init__(self, store: Store, load: Callable[[], Encoder], n_files: int) -> None:
        self.store, self.n_files, self._load = store, n_files, load
        self.outcomes: dict[Path, FileOutcome] = {}
        self.pages, self.pages_read, self.chunks_embedded = RunPages(), 0, 0
        self._n_removed = 0
        self._new: dict[str, list[KnownFile]] = {}  # sha256 -> the files with these bytes
        # Documents that are cut, in order: what waits for their vectors, and the steps to the store
        self._ahead: deque[tuple[Embedding, Iterator[Progress]]] = deque()
        self._started = time.monotonic()

    @cached_property
    def encoder(self) -> Encoder:
        return self._load()

    @cached_property
    def threads(self) -> ThreadPoolExecutor:
        return embed_chunks.embedding_threads()

    def close(self) -> None:
        if "threads" in vars(self):
            self.threads.shutdown(cancel_futures=True)

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

    def look(self, files: Sequence[Path], options: Options) -> Iterator[Progress]:
        """Settle every file that needs no reading and note the others, with passwords failed ones.

        With Tesseract also those with pages that it has not looked at yet.
        """
        retry = bool(options.passwords)
        outdated = self.store.outdated("read", READ_VERSION)
        if options.tesseract is not None:
            outdated |= {held.id for held in self.store.documents() if self._has_scans(held)}
        for path in files:
            known = self.store.known_file(path)
            try:
                file = KnownFile.of(path)
                if known is not None and known.settled and known.is_unchanged(file):
                    if known.document_id is None and not retry:
                        yield self.settle(FileOutcome(path, None, "failed", known.reason))
                        continue
                    held = known.document_id and self.store.find(known.document_id)
                    if held and held.id not in outdated:
                        yield self._stored(file, held, known)
                        continue
                key = file_hash(path)
            except OSError as error:
                yield self._not_come_to(path, f"{path.name} cannot be opened: {error.strerror}")
                continue
            held = None if key in outdated else self.store.find(key)
            moved_from = place_left(held.paths, path) if held else None
            try:
                document = self.store.attach_path(key, file, moved_from) if held else None
            except NotFoundError:  # removed meanwhile
                document = None
            if document is None:
                self._new.setdefault(key, []).append(file)
            else:
                yield self._stored(file, document, known, moved_from)

    def _has_scans(self, document: Document) -> bool:
        return any(is_due(self.store.page(document.id, n)) for n in document.unread_pages)

    def read(self, options: Options) -> Iterator[Progress]:
        """Read and store the noted files; the readers and the embedding run ahead.

        Of copies one is read, or the next one where that has changed since we looked.
        """
        while self._new:
            due = {files[0].path: (key, files) for key, files in self._new.items()}
            self._new = {}
            self.pages.n_files += len(due)
            kept = drafts.begun(self.store, READ_VERSION)
            begun = {p: PageRange(*kept[key]) for p, (key, _) in due.items() if key in kept}
            workers, passwords, tesseract = options.workers, options.passwords, options.tesseract
            for news in follow_pdfs(
                list(due), workers, passwords, tesseract=tesseract, begun=begun
            ):
                if news is not None:
                    path, text = news
                    yield from self._come_to(*due[path], text, begun.get(path))
                yield from self._catch_up(embed_chunks.AHEAD)
            yield from self._catch_up(0)

    def _come_to(
        self, key: str, files: list[KnownFile], text: _Read, begun: PageRange | None
    ) -> Iterator[Progress]:
        """What to do when the readers have come so far with a file and its copies."""
        path = files[0].path
        if isinstance(text, PagesRead):
            self.pages.come_to(path, text)
            yield self.settle()
        elif isinstance(text, PageRange):
            if _is_as_seen(files[0]):
                drafts.keep_pages(self.store, key, text.pages, text.reader, READ_VERSION)
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
            self._cut(key, files, text, 0 if begun is None else len(begun.pages))

    def _cut(self, key: str, files: list[KnownFile], text: PdfText, n_begun: int) -> None:
        """Cut a document and let its chunks be embedded; `_catch_up` does the rest."""
        if (held := self.store.find(key)) is not None and held.status_counts.get("ocr"):
            text = dataclasses.replace(text, pages=keep_scans(text.pages, self.store.pages(key)))
        chunks = split_pages(text, self.encoder.tokenizer.count)
        embedding = self._embedding(key, text.title, chunks, len(text.pages))
        self.pages_read -= n_begun
        self._ahead.append((embedding, self._add(key, files, text, chunks, embedding)))

    def _catch_up(self, most: int) -> Iterator[Progress]:
        """Store what is embedded; wait only while more than `most` batches are on their way."""
        while self._ahead:
            embedding, storing = self._ahead[0]
            if not embedding.is_ready and sum(e.n_left for e, _ in self._ahead) <= most:
                return
            if (step := next(storing, None)) is None:
                self._ahead.popleft()
            else:
                yield step

    def _add(
        self,
        key: str,
        files: list[KnownFile],
        text: PdfText,
        chunks: Sequence[Chunk],
        embedding: Embedding,
    ) -> Iterator[Progress]:
        before = [self.store.known_file(file.path) for file in files]
        language = detect_language("\n".join(page.text for page in text.pages))
        vectors_ND = yield from self._collect(embedding, len(text.pages))
        paths = tuple(file.path for file in files)
        now = datetime.now(UTC)
        document = Document(
            key, text.title, paths, len(text.pages), now, language=language, author=text.author
        )
        stages = Stages(text.reader, READ_VERSION, CHUNK_VERSION)
        document = self.store.add_document(
            document, text.pages, chunks, vectors_ND, self.encoder.id, text.outline, files, stages
        )
        self.pages_read += len(text.pages)
        for file, known in zip(files, before, strict=True):
            yield self._stored(file, document, known)

    def _embedding(self, key: str, title: str, chunks: Sequence[Chunk], n_pages: int) -> Embedding:
        """A document's chunks, being embedded; a long one's vectors are kept as they come."""
        journal = drafts.DraftVectors(self.store, key, self.encoder.id) if n_pages > RANGE else None
        return Embedding(self.threads, self.encoder, title, chunks, journal)

    def _collect(self, embedding: Embedding, n_pages: int) -> Generator[Progress, None, Vectors]:
        """A document's vectors, with a Progress after each batch."""
        before = self.pages.done
        while embedding.n_left:
            last, n_embedded = embedding.take()
            self.chunks_embedded += n_embedded
            self.pages.done = max(self.pages.done, before + last.spans[-1].page - 1)
            yield self.settle()
        self.pages.done = before + n_pages
        return embedding.vectors()

    def _stored(
        self,
        file: KnownFile,
        document: Document,
        known: KnownFile | None,
        moved_from: Path | None = None,
    ) -> Progress:
        """Settle a file whose document is in the store; `known`: what the path held before."""
        status: FileStatus = "unchanged" if moved_from else "added"
        if known is not None and known.document_id is not None:
            status = "unchanged" if known.document_id == document.id else "replaced"
        key, n_pages, unread = document.id, document.n_pages, document.unread_pages
        n_ocr = document.status_counts.get("ocr", 0)
        said = (key, status, "", n_pages, unread, document.language, moved_from, n_ocr)
        return self.settle(FileOutcome(file.path, *said))

    def _refused(self, files: Sequence[KnownFile], reason: str) -> Iterator[Progress]:
        """Settle a file that was read in vain, and its copies; what they held before goes."""
        for file in files:
            twin = f"{file.path.name} has the same bytes as {files[0].path.name}: "
            yield self._failed(file, reason if file is files[0] else twin + reason)

    def _not_come_to(self, path: Path, reason: str) -> Progress:
        """Settle a file that was not read: it is tried again, and keeps what it held before."""
        known = self.store.known_file(path)
        if known is None or known.document_id is None:
            return self._failed(KnownFile(path, LOOK_AGAIN, LOOK_AGAIN), reason)
        reason += " (what was indexed before is kept)"
        return self.settle(FileOutcome(path, None, "failed", reason))

    def _failed(self, file: KnownFile, reason: str) -> Progress:
        self.store.record_failure(dataclasses.replace(file, reason=reason))
        return self.settle(FileOutcome(file.path, None, "failed", reason))

    def refresh(
        self, encoder_id: str, roots: Sequence[Path], options: Options
    ) -> Iterator[Progress]:
        """Cut and embed anew what is stored, as far as the options or our own versions ask."""
        documents = self.store.documents()
        outdated = self.store.outdated("chunk", CHUNK_VERSION)
        due = [
            document
            for document in documents
            if document.id in outdated
            or (options.rechunk and (not roots or _is_under(document.paths, roots)))
        ]
        n_pages = sum(document.n_pages for document in documents)
        # A document cut anew has vectors of this encoder only. While the collection is still asked
        # with another one's, those must first be complete.
        switching = options.reembed and bool(self.store.chunks_without_vectors(encoder_id, 1))
        if switching:
            yield from self._reembed(n_pages)
        self.pages.stored += sum(document.n_pages for document in due)
        for document in due:
            with contextlib.suppress(NotFoundError):  # removed meanwhile
                yield from self._rechunk(document)
        if options.reembed and not switching:
            yield from self._reembed(n_pages)

    def _rechunk(self, document: Document) -> Iterator[Progress]:
        reader = self.store.stages(document.id).reader
        pages, outline = tuple(self.store.pages(document.id)), self.store.outline(document.id)
        text = PdfText(document.title, pages, tuple(outline), reader)
        chunks = split_pages(text, self.encoder.tokenizer.count)
        key, n_pages = document.id, document.n_pages
        embedding = self._embedding(key, document.title, chunks, n_pages)
        vectors_ND = yield from self._collect(embedding, n_pages)
        self.store.replace_chunks(document.id, chunks, vectors_ND, self.encoder.id, CHUNK_VERSION)
        yield self.settle()

    def _reembed(self, n_pages: int) -> Iterator[Progress]:
        """Embed the whole collection anew; its pages count as done as its chunks are."""
        before, n_done = self.pages.done, 0
        n_chunks = len(chunks_to_embed(self.store, self.encoder.id))
        self.pages.stored += n_pages
        for n in embed_chunks.reembed(self.store, self.encoder):
            n_done += n
            self.chunks_embedded += n
            self.pages.done = before + n_pages * n_done // n_chunks
            yield self.settle()

    def forget(self, roots: Sequence[Path], options: Options) -> Iterator[Progress]:
        """Forget the files that are no longer there, or ignored by now: of `options.gone`, or with
        `prune` of all under the roots."""
        if not (options.prune or options.gone):
            return
        held = {path: d.id for d in self.store.documents() for path in d.paths}
        failed = dict.fromkeys((outcome.path for outcome in self.store.failures()), None)
        ignoring = Ignoring()
        for path, key in sorted((held | failed).items()):
            if (options.prune and _is_under([path], roots)) or path in options.gone:
                lost = is_gone(path)
                with contextlib.suppress(InputError):  # a bad .ragformerignore: the walk named it
                    lost = lost or ignoring.lost(path, roots)
                if lost:
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
    return now.is_unchanged(file)
