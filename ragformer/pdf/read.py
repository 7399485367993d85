"""Read PDFs in child processes: whatever a file does, the caller gets pages or one PdfError.

    path -> child (sandbox.py) -> frames -> PageRange of a long file -> PdfText

A child serves many files. When one dies, by a crash or by a limit, the page it was at is tried
once more with the gentler reader in a fresh child, then given up as failed, and reading goes on.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from ragformer.errors import PasswordError, PdfError
from ragformer.pdf.child import USUAL_LIMITS, Child, ChildDiedError, Limits
from ragformer.pdf.ocr import Tesseract, is_due, read_scans
from ragformer.pdf.outline import choose_author, choose_title, outline_items, plain_line
from ragformer.pdf.words import Words
from ragformer.types import OutlineItem, Page

__all__ = ["Limits", "PageRange", "PagesRead", "PdfText", "follow_pdfs", "read_pdf", "read_pdfs"]

TELL_EVERY = 25  # pages of a file between two PagesRead
MOMENT = 0.1  # seconds
RANGE = 200  # pages: a longer file is handed over in ranges of so many before it is whole


@dataclass(frozen=True, slots=True)
class PdfText:
    """A file as read. `reader`: "pdfium", "pypdf", or "pdfium+pypdf" where both were needed.

    With "+tesseract" where that was asked for pages that had no text.
    """

    title: str
    pages: tuple[Page, ...]
    outline: tuple[OutlineItem, ...]
    reader: str
    author: str = ""


@dataclass(frozen=True, slots=True)
class PagesRead:
    """How far the reading of a file has come."""

    n: int
    n_pages: int


@dataclass(frozen=True, slots=True)
class PageRange:
    """Pages of a long file, in order, that will not change: they may be kept should it break off.

    reader: as in PdfText, so far.
    """

    pages: tuple[Page, ...]
    reader: str


def read_pdf(path: Path, password: str | None = None, limits: Limits = USUAL_LIMITS) -> PdfText:
    """Read one PDF in a child process of its own.

    Raises PasswordError when it is encrypted and `password` does not open it, else PdfError.
    """
    with Child(limits) as child:
        *_, text = _read(child, path, () if password is None else (password,))
        assert isinstance(text, PdfText)
        return text


def read_pdfs(
    paths: Iterable[Path],
    workers: int,
    passwords: Sequence[str] = (),
    limits: Limits = USUAL_LIMITS,
) -> Iterator[tuple[Path, PdfText | PdfError]]:
    """Read many PDFs with `workers` children at once; each comes as soon as it is done.

    passwords: tried in order on files that need one. At most 2 * workers files wait in memory.
    """
    for news in follow_pdfs(paths, workers, passwords, limits):
        if news is not None and isinstance(news[1], PdfText | PdfError):
            yield news[0], news[1]


def follow_pdfs(
    paths: Iterable[Path],
    workers: int,
    passwords: Sequence[str] = (),
    limits: Limits = USUAL_LIMITS,
    tesseract: Tesseract | None = None,
    begun: Mapping[Path, PageRange] | None = None,
) -> Iterator[tuple[Path, PagesRead | PageRange | PdfText | PdfError] | None]:
    """As `read_pdfs`, with a PagesRead when a file is open and after every TELL_EVERY pages, and
    the PageRanges of a file of more than RANGE pages; None where nothing came for a MOMENT.

    tesseract: reads the pages that have no text, `workers` at once. begun: the first pages of
    files, from an earlier run; reading goes on behind them.
    """
    begun = begun or {}
    waiting = iter(list(paths))
    running: dict[Future[PdfText | PdfError], Path] = {}
    news: _News = SimpleQueue()
    with ThreadPoolExecutor(workers) as threads, _Pool(workers, limits, tesseract) as pool:
        while True:
            while len(running) < 2 * workers and (path := next(waiting, None)) is not None:
                future = threads.submit(pool.read, path, passwords, news, begun.get(path))
                running[future] = path
                future.add_done_callback(news.put)
            if not running:
                return
            try:
                item = news.get(timeout=MOMENT)
            except Empty:
                yield None
                continue
            if isinstance(item, Future):
                yield running.pop(item), item.result()
            else:
                yield item


_News = SimpleQueue[Future[PdfText | PdfError] | tuple[Path, PagesRead | PageRange]]


class _Pool:
    """Children that take turns; leaving the `with` kills them, busy or not."""

    def __init__(self, n: int, limits: Limits, tesseract: Tesseract | None) -> None:
        self._tesseract = tesseract
        self._scanning = ThreadPoolExecutor(n)
        self._children = [Child(limits) for _ in range(n)]
        self._idle: SimpleQueue[Child] = SimpleQueue()
        for child in self._children:
            self._idle.put(child)

    def __enter__(self) -> _Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self._scanning.shutdown(cancel_futures=True)
        for child in self._children:
            child.close()

    def read(
        self, path: Path, passwords: Sequence[str], news: _News, begun: PageRange | None
    ) -> PdfText | PdfError:
        child = self._idle.get()
        try:
            for step in _read(child, path, passwords, begun):
                if isinstance(step, PdfText):
                    return self._with_scans(step, child, path, passwords, news)
                news.put((path, step))
            raise AssertionError("the stream ended without a PdfText")
        except PdfError as error:
            return error
        finally:
            self._idle.put(child)

    def _with_scans(
        self, text: PdfText, child: Child, path: Path, passwords: Sequence[str], news: _News
    ) -> PdfText:
        scans = (page for page in text.pages if is_due(page) or page.status == "ocr")
        if self._tesseract is None or next(scans, None) is None:
            return text
        request: dict[str, object] = {"path": str(path.absolute()), "passwords": list(passwords)}
        pages: list[Page] = []
        for start in range(0, len(text.pages), RANGE):
            some = text.pages[start : start + RANGE]
            found = read_scans(some, child, request, self._tesseract, self._scanning)
            if len(text.pages) > RANGE and any(map(is_due, some)):
                news.put((path, PageRange(tuple(found), text.reader)))
            pages += found
        return dataclasses.replace(text, pages=tuple(pages), reader=f"{text.reader}+tesseract")


@dataclass(slots=True)
class _Draft:
    """A file while it is read: what is known so far, over the lives of several children."""

    head: dict[str, Any] | None = None
    pages: list[Page] = field(default_factory=list)
    readers: set[str] = field(default_factory=set)
    gentle: list[int] = field(default_factory=list)
    pdfium: bool = True
    n_told: int = 0

    @classmethod
    def after(cls, begun: PageRange | None) -> _Draft:
        """One that goes on behind these pages."""
        if begun is None:
            return cls()
        readers = set(begun.reader.split("+")) - {""}
        return cls(pages=list(begun.pages), readers=readers, n_told=len(begun.pages))

    @property
    def reader(self) -> str:
        return "+".join(sorted(self.readers))

    def untold(self) -> Iterator[PageRange]:
        """The next range of a long file, when it is there."""
        n_pages = 0 if self.head is None else int(self.head["n_pages"])
        if n_pages > RANGE and len(self.pages) - self.n_told >= RANGE:
            yield PageRange(tuple(self.pages[self.n_told :]), self.reader)
            self.n_told = len(self.pages)


def _read(
    child: Child, path: Path, passwords: Sequence[str], begun: PageRange | None = None
) -> Iterator[PagesRead | PageRange | PdfText]:
    """PagesRead and PageRanges as it goes and, last, exactly one PdfText."""
    _check_file(path)
    draft = _Draft.after(begun)
    child.start_clock()
    deaths = 0
    while True:
        try:
            yield from _read_frames(child, path, passwords, draft)
            break
        except ChildDiedError as death:
            deaths += 1
            _after_death(draft, path, str(death), final=deaths >= child.limits.deaths or death.late)
    if draft.head is None or not any(page.status != "failed" for page in draft.pages):
        reason = draft.pages[0].reason if draft.pages else "it has no pages"
        raise PdfError(f"{path.name}: no page could be read ({reason})")
    yield PdfText(
        choose_title(str(draft.head["title"]), draft.pages, path),
        tuple(draft.pages),
        outline_items(draft.head["outline"], len(draft.pages)),
        draft.reader or str(draft.head["reader"]),
        choose_author(str(draft.head["author"])),
    )


def _check_file(path: Path) -> None:
    """Say at once what needs no reader; opening a pipe or a device would never end."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise PdfError(f"{path} cannot be opened: {error.strerror}; check the path") from error
    if not path.is_file():
        raise PdfError(f"{path} is not a file; give a PDF file")
    if not os.access(path, os.R_OK):
        raise PdfError(f"{path} cannot be opened: no permission to read it")
    if size == 0:
        raise PdfError(f"{path.name} is empty (0 bytes)")


def _read_frames(
    child: Child, path: Path, passwords: Sequence[str], draft: _Draft
) -> Iterator[PagesRead | PageRange]:
    """One attempt, from the first page not read yet. A PdfError it raises is final."""
    request = {
        "path": str(path.absolute()),
        "passwords": list(passwords),
        "first": len(draft.pages) + 1,
        "gentle": draft.gentle,
        "pdfium": draft.pdfium,
    }
    for head, body in child.ask(request):
        if "error" in head:
            raise _refusal(path, head, passwords)
        if "n_pages" in head:
            draft.head = draft.head or head
        elif "page" in head:
            draft.pages.append(_page(head, body))
            if draft.pages[-1].status == "text" and draft.head is not None:
                draft.readers.add("pypdf" if head["second"] else str(draft.head["reader"]))
        if draft.head is not None and len(draft.pages) % TELL_EVERY == 0:
            yield PagesRead(len(draft.pages), int(draft.head["n_pages"]))
        yield from draft.untold()


def _refusal(path: Path, head: dict[str, Any], passwords: Sequence[str]) -> PdfError:
    if head["error"] != "password":
        return PdfError(f"{path.name} is not a PDF, or too damaged to open ({head['reason']})")
    if not passwords:
        return PasswordError(f"{path.name} is encrypted and needs a password; give it to open it")
    return PasswordError(
        f"{path.name} is encrypted and does not open with the password given"
        f" ({len(passwords)} tried); give the right one"
    )


def _after_death(draft: _Draft, path: Path, reason: str, final: bool) -> None:
    """What to do differently next time; when it is `final`, give up the pages that are left."""
    at = len(draft.pages) + 1
    if draft.head is None:
        if final or not draft.pdfium:
            raise PdfError(f"{path.name} cannot be opened: the reader {reason}")
        draft.pdfium = False
    elif final:
        left = range(at, int(draft.head["n_pages"]) + 1)
        draft.pages.extend(_failed(number, reason) for number in left)
    elif at in draft.gentle or not draft.pdfium:
        draft.pages.append(_failed(at, reason))
    else:
        draft.gentle.append(at)


def _failed(number: int, reason: str) -> Page:
    return Page(number, str(number), "", (), "failed", f"the reader {reason}")


def _page(head: dict[str, Any], body: bytes) -> Page:
    label, reason = plain_line(str(head["label"])), plain_line(str(head["reason"]))
    number = int(head["page"])
    return Page(number, label or str(number), head["text"], Words(body), head["status"], reason)
