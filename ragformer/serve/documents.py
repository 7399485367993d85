"""Endpoints of our own: search, the documents of a collection, and their pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

from fastapi import APIRouter, File, Path, Query, Request, Response, UploadFile

from ragformer import forms
from ragformer.answer.cite import line_boxes
from ragformer.cluster.layout import refuse_shards
from ragformer.cluster.opening import missing
from ragformer.errors import NotFoundError, PdfError
from ragformer.forms import Form
from ragformer.library import Library
from ragformer.pdf.render import render_page
from ragformer.serve.failures import ApiError
from ragformer.serve.replies import words_of
from ragformer.serve.requests import SearchRequest
from ragformer.serve.service import Service, service_of
from ragformer.serve.worker import finished
from ragformer.store.lookup import unchanged_path
from ragformer.store.uploads import drop_uploads, save_upload
from ragformer.types import Box, Document, FileOutcome, Page, Report

router = APIRouter(prefix="/v1", tags=["documents"])
WIDTH = 1400  # pixels, unless asked
_Collection = Annotated[str | None, Query(max_length=64)]
_Id = Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="as listed")]


@router.post("/search")
async def search(request: Request, asked: SearchRequest) -> Form:
    """The best passages, as `search --json` gives them."""
    service = service_of(request)
    collection = service.shelf.known(asked.collection)

    def work() -> Form:
        library = service.shelf.open(collection)
        passages = library.search(asked.query, asked.k, asked.within)
        hits = forms.hit_forms(library.store, passages)
        return {"data": hits} | _missing(library)

    found = await finished(request, service.answers.once(work), service.limits.seconds)
    return {"object": "list", "collection": collection, **found}


@router.get("/documents")
def list_documents(request: Request, collection: _Collection = None) -> Form:
    """Every file of the collection, those that could not be read too, as `list --json`."""
    shelf = service_of(request).shelf
    name = shelf.known(collection)
    with shelf.fresh(name) as library:
        rows = [form for d in library.store.documents() for form in forms.file_forms(d)]
        rows += [forms.failure_form(outcome) for outcome in library.store.failures()]
        return {"object": "list", "collection": name, "data": rows} | _missing(library)


def _missing(library: Library) -> Form:
    """The shards that could not be asked, if there are any."""
    lost = missing(library.store)
    return {"missing": list(lost)} if lost else {}


@router.post("/documents", status_code=201)
async def upload(
    request: Request, file: Annotated[UploadFile, File()], collection: _Collection = None
) -> Form:
    """Keep a PDF in the collection and index it; the collection is made if there is none."""
    service = service_of(request)

    def work() -> Iterator[FileOutcome | None]:
        with service.shelf.fresh(collection) as library:
            yield from _indexed(library, file, service.passwords)

    async def outcome() -> FileOutcome:
        *_, last = [step async for step in service.documents.each(work)]
        assert last is not None
        return last

    done = await finished(request, outcome(), service.limits.upload_seconds)
    if done.status == "failed":
        raise PdfError(f"{done.path.name} cannot be indexed: {done.reason}")
    return {"object": "document", "id": done.document_id} | forms.outcome_form(done)


def _indexed(
    library: Library, file: UploadFile, passwords: Sequence[str]
) -> Iterator[FileOutcome | None]:
    """The outcome at each step, None where it is not known yet, last that of the file. One that
    failed, or that nobody waited for, is not kept, unless it was there before: the page may have
    saved it just now, and index it."""
    refuse_shards(library.folder)
    path, is_new = save_upload(library.folder, file.filename or "", file.file)
    known = library.exists and library.store.known_file(path) is not None
    kept = False
    try:
        for step in library.index([path], passwords=passwords):
            for outcome in step.files if isinstance(step, Report) else (step.outcome,):
                kept = kept if outcome is None else outcome.status != "failed"
                yield outcome
    finally:
        if is_new and not (known or kept):
            if library.exists:
                library.forget_failure(path)
            else:
                drop_uploads(library.folder, [path])


@router.delete("/documents/{document_id}")
async def delete(request: Request, document_id: _Id, collection: _Collection = None) -> Form:
    """Forget a document and the chats drawn from it; files stay, but for uploaded ones."""
    service = service_of(request)
    name = service.shelf.known(collection)

    def work() -> None:
        with service.shelf.fresh(name) as library:
            _need(library, document_id)
            library.remove(document_id)
        service.shelf.forget(name)

    await finished(request, service.documents.once(work), service.limits.seconds)
    return {"object": "document", "id": document_id, "deleted": True}


@router.get(
    "/documents/{document_id}/pages/{number}.png",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}}},
)
async def draw(
    request: Request,
    document_id: _Id,
    number: Annotated[int, Path(ge=1, le=10**6)],
    collection: _Collection = None,
    quote: Annotated[str, Query(max_length=4000)] = "",
    width: Annotated[int, Query(ge=50, le=3000)] = WIDTH,
) -> Response:
    """The page as a picture, with the words of `quote` marked."""
    service = service_of(request)
    name = service.shelf.known(collection)
    work = service.pages.once(lambda: _drawn(service, name, document_id, number, quote, width))
    png = await finished(request, work, service.limits.seconds)
    return Response(png, media_type="image/png", headers={"Cache-Control": "no-store"})


def _drawn(
    service: Service, collection: str, document_id: str, number: int, quote: str, width: int
) -> bytes:
    with service.shelf.fresh(collection) as library:
        store = library.store
        document = _need(library, document_id)
        page = store.page(document_id, number)
        boxes = _boxes(page, quote)
        path = unchanged_path(store, document)
    if path is None:
        raise ApiError(
            409, f"{document.path.name} has been changed or moved since it was indexed", "changed"
        )
    return render_page(path, number, width, service.passwords, boxes=boxes).png


def _boxes(page: Page, quote: str) -> list[Box]:
    """Where on the page the quote stands."""
    if not quote.split():
        return []
    match = words_of(quote).search(page.text)
    if match is None:
        raise NotFoundError(f"that quote does not stand on page {page.number}")
    return line_boxes(page, *match.span())


def _need(library: Library, document_id: str) -> Document:
    document = library.store.find(document_id)
    if document is None:
        raise NotFoundError(f"there is no document {document_id} in collection {library.name}")
    return document
