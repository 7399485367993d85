"""Library: a named collection, opened. Index files into it, search it, ask it.

    library = open_library()
    for step in library.index([Path("documents")]): ...     # Progress, ..., Report
    answer = library.ask("How long is the warranty?")

What needs torch is imported where it is used, so that listing and showing start at once.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Self

from ragformer.cluster import opening
from ragformer.config import Backend, Settings, load_settings, model_folder
from ragformer.errors import EncoderMismatchError, InputError, NotFoundError
from ragformer.nn.identity import weights_id
from ragformer.store.chats import Chats
from ragformer.store.listing import CollectionInfo
from ragformer.store.lookup import documents_within, the_document
from ragformer.store.saved_vectors import AnyIndex
from ragformer.store.store import Store
from ragformer.store.uploads import drop_uploads
from ragformer.text.normalize import check_question
from ragformer.types import Answer, Document, OnRay, Passage, Progress, Report

if TYPE_CHECKING:
    from ragformer.answer.confidence import Confidence, FileVersion
    from ragformer.answer.reader import Reader
    from ragformer.answer.summarize import Summary
    from ragformer.indexing import Options
    from ragformer.retrieve.embed import Encoder
    from ragformer.retrieve.question import Asked
    from ragformer.walk import Found

MAX_PASSAGES = 100
_USUAL_WORKERS = 4
Within = Sequence[str | Path] | None
OWN_ENCODERS = "encoders"  # in a collection's folder: encoders it was taught, each by its id


def open_library(
    collection: str | None = None,
    home: Path | str | None = None,
    backend: Backend = None,
    decoding: str | None = None,
) -> Library:
    """The collection of that name below `home`, by default those of the configuration.

    backend: what writes answers unless a question says it: "local", "openai", a RemoteModel, or an
    imported decoder's folder. decoding: as in Settings. Nothing is made until something is indexed.
    Raises ConfigError for a bad setting.
    """
    return Library(load_settings(collection=collection, home=home, decoding=decoding), backend)


def collections(home: Path | str | None = None) -> list[CollectionInfo]:
    """Every collection below `home`, by name."""
    return opening.list_collections(load_settings(home=home).collections)


class Library:
    """See `open_library`. The models load when first needed; close it, or use it in a `with`."""

    def __init__(self, settings: Settings, backend: Backend = None) -> None:
        self.settings = settings
        self.backend = backend
        self.kept_prompts = 0  # bytes of prompts our decoder keeps, for a question that comes again
        self.name = settings.collection
        self.folder = settings.collections / settings.collection
        self.chats = Chats(self.folder)
        self._store: Store | None = None
        self._vectors: tuple[int, AnyIndex] | None = None
        self._encoder: tuple[Path | None, Encoder] | None = None
        self._reader: tuple[Reader, Confidence | None, FileVersion | None] | None = None

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = self._vectors = None  # an index may read from its store

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def encoder(self) -> Encoder:
        """The one that is set, else the one this collection was taught, else the one in the box."""
        folder = self.own_encoder
        if self._encoder is None or self._encoder[0] != folder:
            from ragformer.retrieve.embed import load_encoder

            self._set_threads()
            self._encoder = folder, load_encoder(folder)
        return self._encoder[1]

    @property
    def encoder_id(self) -> str:
        """The id of `encoder`, told from its files where it is not loaded."""
        folder = self.own_encoder
        if self._encoder is not None and self._encoder[0] == folder:
            return self._encoder[1].id
        return weights_id(model_folder("encoder", folder))

    @property
    def own_encoder(self) -> Path | None:
        """The folder of the encoder this collection was taught by `adapt`, where that is in use."""
        if self.settings.encoder is not None or not self.exists or not self.store.own_encoder:
            return None
        folder = self.folder / OWN_ENCODERS / self.store.own_encoder
        if not folder.is_dir():
            raise NotFoundError(
                f"the encoder that collection {self.name} was taught is gone from {folder}; "
                f"`ragformer adapt --undo -c {self.name}` goes back to the one in the box"
            )
        return folder

    @property
    def reader(self) -> Reader:
        """The decoder, with the confidence that `calibrate` last fitted to this collection, if any.

        That is read again where it has changed, by this process or another.
        """
        from ragformer.answer.confidence import own_confidence, own_version
        from ragformer.answer.reader import load_decoder
        from ragformer.nn.kept import Kept

        if self._reader is None:
            self._set_threads()
            reader = load_decoder(free=self.settings.decoding == "free")
            reader.kept = Kept(self.kept_prompts) if self.kept_prompts else None
            self._reader = reader, reader.confidence, None
        reader, in_the_box, read = self._reader
        now = own_version(self.folder)  # before reading: what is written meanwhile is read next
        if now != read:
            reader.confidence = own_confidence(self.folder, reader.id) or in_the_box
            self._reader = reader, in_the_box, now
        return reader

    def _set_threads(self) -> None:
        if self.settings.threads:
            import torch

            torch.set_num_threads(self.settings.threads)

    @property
    def exists(self) -> bool:
        """Whether anything was ever indexed under this name."""
        return opening.is_there(self.folder)

    @property
    def store(self) -> Store:
        """The collection on disk. The default one is empty before it is made.

        Raises NotFoundError if another name was asked for and there is none of that name.
        """
        if self._store is None:
            there = self.exists  # first: it may be made meanwhile, and the empty one must not stay
            store = opening.open_collection(self.settings)
            if not there:
                return store
            self._store = store
        return self._store

    # Indexing

    def index(
        self,
        paths: Iterable[Path | str],
        *,
        prune: bool = False,
        reembed: bool = False,
        rechunk: bool = False,
        workers: int | None = None,
        passwords: Sequence[str] = (),
        ocr: str | None = None,
        on_ray: OnRay | None = None,
    ) -> Iterator[Progress | Report]:
        """Bring the collection in line with files and folders; the last item is the Report.

        prune: forget files below `paths` that are gone. reembed, rechunk: make all vectors, or
        the chunks of what is below `paths`, anew; they need no paths. workers: reading processes.
        passwords: tried on encrypted files. ocr: languages ("deu+eng") in which Tesseract reads
        pages without text. on_ray: where, into shards. One file that fails is reported and stops
        nothing. Raises InputError if a path is missing or no PDF is there, NotFoundError without
        Tesseract, StoreError and kin.
        """
        from ragformer.indexing import Options
        from ragformer.pdf.ocr import find_tesseract
        from ragformer.walk import find_files

        found = find_files(Path(path) for path in paths)
        found.refuse_empty(no_paths=reembed or rechunk, no_files=prune)
        tesseract = None if ocr is None else find_tesseract(ocr)
        options = Options(prune, reembed, rechunk, workers or 0, passwords, tesseract=tesseract)
        if on_ray is None:
            return self.index_found(found, options)
        from ragformer.cluster.engine import index_on_ray

        self.close()
        return self._forgetting(index_on_ray(self.settings, found, options, on_ray))

    def index_found(self, found: Found, options: Options) -> Iterator[Progress | Report]:
        """`index` for what a walk found. The encoder loads when there is something to embed."""
        from ragformer.indexing import index_files

        if not options.workers:
            usual = self.settings.workers or min(_USUAL_WORKERS, os.cpu_count() or 1)
            options = dataclasses.replace(options, workers=usual)
        self.close()
        self._store = opening.make_collection(self.settings)
        return self._forgetting(
            index_files(self._store, self.encoder_id, lambda: self.encoder, found, options)
        )

    def _forgetting(self, steps: Iterator[Progress | Report]) -> Iterator[Progress | Report]:
        """The same steps; chats drawn from a document that is gone go with it."""
        for step in steps:
            if isinstance(step, Report):
                self._forget_chats()
            yield step

    def _forget_chats(self) -> None:
        """Remove the chats drawn from a document that is no longer here, however it went."""
        if not opening.missing(self.store):  # else it may be in a shard that cannot be asked
            self.chats.forget_all_but(
                [key for (key,) in self.store.query("SELECT id FROM documents")]
            )

    def remove(self, document_id: str) -> None:
        """Remove a document, its words, vectors and the chats drawn from it; its files stay, but
        for copies that came through the browser."""
        document = self.store.find(document_id)
        self.store.remove_document(document_id)
        self._forget_files(document.paths if document else ())

    def forget_failure(self, path: Path) -> None:
        """Forget a file that could not be read."""
        self.store.remove_path(path)
        self._forget_files((path,))

    def _forget_files(self, paths: Sequence[Path]) -> None:
        drop_uploads(self.folder, paths)
        self._forget_chats()
        self.store.checkpoint()

    def repair(self) -> list[str]:
        """Make anew what can be made from the stored text; says what was done.

        A document that is no longer whole is removed, so that indexing its file reads it again.
        """
        from ragformer.retrieve.embed_chunks import reembed
        from ragformer.store.repair import repair_rows, repair_vectors

        if not self.exists:
            return []
        with self.store.indexing():
            done = repair_rows(self.store)
            try:
                self.store.check_encoder(self.encoder.id)
            except EncoderMismatchError:
                n = sum(reembed(self.store, self.encoder))
                done.append(f"embedded {n} chunks")
            done += repair_vectors(self.store, self.encoder.id)
            self._forget_chats()
            self.store.checkpoint()
        return done

    # Asking

    def search(self, question: str, k: int | None = None, within: Within = None) -> list[Passage]:
        """The k (8 unless set otherwise) best passages, best first.

        within: files to look in: names, folders or patterns as for `--in`. Raises InputError for
        a question that is empty or too long, NotFoundError if `within` names no document.
        """
        from ragformer.retrieve.question import understand

        question, documents = check_question(question), self._scope(within)
        return self._retrieve(understand(question, self.store, documents), k, documents, within)

    def ask(
        self, question: str, k: int | None = None, within: Within = None, backend: Backend = None
    ) -> Answer:
        """The answer from the k best passages, or a refusal; arguments as for `stream`."""
        *_, answer = self.stream(question, k, within, backend=backend)
        assert isinstance(answer, Answer)
        return answer

    def stream(
        self,
        question: str,
        k: int | None = None,
        within: Within = None,
        last: Answer | None = None,
        backend: Backend = None,
        enough: Event | None = None,
    ) -> Iterator[str | Answer]:
        """The answer's text as it is written, "" where there is none yet, last exactly one Answer.

        k, within: as for `search`. last: the answer before it in a chat, on which a follow-up
        question leans. backend: as for `open_library`. To stop, close the iterator, or set `enough`
        to have the Answer of what has been written; our own decoder's is then a whole one.
        """
        from ragformer.answer.about import about_documents
        from ragformer.retrieve.followup import recent_documents
        from ragformer.retrieve.question import as_asked, understand

        question, documents = check_question(question), self._scope(within)
        recent = recent_documents(last, documents)
        if told := about_documents(question, self.store, documents, recent):
            return opening.naming_missing(iter((told.text, told)), self.store)
        from ragformer.answer.answer import answer_question
        from ragformer.answer.prose import answer_in_prose
        from ragformer.answer.speaker import speaker_of

        speaker = speaker_of(self.settings, backend or self.backend, enough)  # first: may not do
        asked = understand(question, self.store, documents, last)
        passages = self._retrieve(asked, k, documents, within)
        if speaker is None:
            least, store = self.settings.threshold, self.store
            pieces = answer_question(asked.text, passages, store, self.reader, least, documents)
        else:
            # It is told what was asked before, so it needs no words of that in the question.
            put, before = (question, last) if asked.follows else (asked.text, None)
            pieces = answer_in_prose(put, passages, self.store, speaker, documents, before)
        return opening.naming_missing(as_asked(pieces, question, asked), self.store)

    def _scope(self, within: Within) -> list[Document]:
        """The documents to look in, each with the path first that `within` names."""
        if within is None or not self.exists:
            return self.store.documents()
        with opening.blaming_missing(self.store):
            return documents_within(self.store, within, self.name)

    def _retrieve(
        self, asked: Asked, k: int | None, scope: list[Document], within: Within
    ) -> list[Passage]:
        from ragformer.answer.rerank import RERANKED, rerank
        from ragformer.retrieve.retrieve import retrieve

        k = self.settings.k if k is None else k
        if not 1 <= k <= MAX_PASSAGES:
            raise InputError(f"k is {k}; it must be from 1 to {MAX_PASSAGES}")
        if not scope:
            return []
        named = {document.id: document for document in scope}
        only = None if within is None else named
        encoder, index = self._encoder_and_vectors()
        n = max(k, RERANKED)
        passages = retrieve(
            self.store, index, encoder, asked.text, n, only, asked.chunks, asked.preferred
        )
        here = [
            dataclasses.replace(passage, document=named[passage.document.id])
            for passage in passages
            if passage.document.id in named
        ]
        return rerank(self.reader, asked.text, here)[:k] if here else []

    def _encoder_and_vectors(self) -> tuple[Encoder, AnyIndex]:
        """The encoder and its vectors: those from before or those from after, if it is switched."""
        try:
            return (encoder := self.encoder), self._vector_index(self.store, encoder.id)
        except EncoderMismatchError:  # `adapt` may have switched between the two: look once more
            return (encoder := self.encoder), self._vector_index(self.store, encoder.id)

    def _vector_index(self, store: Store, encoder_id: str) -> AnyIndex:
        """Every vector of this encoder, opened again when the collection has changed."""
        generation = store.generation
        if self._vectors is None or self._vectors[0] != generation:
            self._vectors = generation, opening.open_index(store, encoder_id)
        return self._vectors[1]

    def summarize(self, name: str, n: int | None = None, backend: Backend = None) -> Summary:
        """The n central sentences of the document `name` (see `document`), each with its page."""
        from ragformer.answer.prose import write_summary
        from ragformer.answer.speaker import speaker_of
        from ragformer.answer.summarize import summarize

        speaker = speaker_of(self.settings, backend or self.backend)
        found = summarize(self.document(name), self.store, self.encoder, n)
        return write_summary(found, self.store, speaker) if speaker else found

    def document(self, name: str) -> Document:
        """The one document that is meant: by path, by a path's last parts, or by id prefix.

        Raises NotFoundError if there is none, InputError naming them if there are several.
        """
        with opening.blaming_missing(self.store):
            return the_document(self.store, name, self.name)
