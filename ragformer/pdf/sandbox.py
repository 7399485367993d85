"""The child process in which PDFs are read: `python -m ragformer.pdf.sandbox`.

Requests come on stdin and frames go out on stdout, both length-prefixed JSON with an optional
block of bytes, so that nothing a hostile file does to the child becomes more than data in the
parent. The child serves one file after another; the parent replaces it when it dies.

    start:  -> {"ready": true}
    read:   {"path", "passwords", "first", "gentle", "pdfium", "page_seconds", "memory_mb"}
            -> {"n_pages", "title", "author", "outline", "reader"}, then for each page
               {"page", "label", "text", "status", "reason", "second"} + its words, then {"end"};
               "second" is true where pypdf had to help
    render: {"path", "passwords", "render", "width", "boxes", ...}
            -> {"png": true, "pixel"} + the image, the boxes marked on it
            with "dpi" for "width": -> {"pixel": its size in points} + the image in grey, as PGM
            "gentle": pages pdfium must not touch; "pdfium": whether it may touch the file at all
    either: {"error": "password" | "damaged", "reason"}
"""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path
from typing import Any, BinaryIO

from ragformer.fence import limit_memory, limit_time
from ragformer.pdf.clean import is_junk
from ragformer.pdf.frames import read_frame, write_frame
from ragformer.pdf.pages import DAMAGE, PdfiumFile, PypdfFile, WrongPasswordError

_JUNK = "its fonts do not say which characters they show"
PAGE_CHARS = 2_000_000  # a page of a book has 3,000; more than this would only fill the memory
FILE_CHARS = 100_000_000
BLANKS_TO_GIVE_UP = 8  # a scanned book: after so many, pypdf will find no text either


def open_file(path: Path, passwords: list[str], pdfium: bool) -> PdfiumFile | PypdfFile:
    """The file by pdfium if that works, else by pypdf; the empty password is tried first.

    Raises WrongPasswordError, or one of DAMAGE with the first reader's reason.
    """
    reason: BaseException | None = None
    for kind in (PdfiumFile, PypdfFile) if pdfium else (PypdfFile,):
        for password in (None, *passwords):
            try:
                return kind(path, password)
            except WrongPasswordError as error:
                reason = error
            except DAMAGE as error:
                reason = reason or error
                break
    raise reason or WrongPasswordError


class _Reading:
    """One file being read: the reader that opened it, and pypdf for pages it finds empty."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.path = Path(request["path"])
        self.passwords: list[str] = request["passwords"]
        self.gentle: list[int] = request.get("gentle", [])
        self.main = open_file(self.path, self.passwords, request["pdfium"])
        self._second: PypdfFile | None = None
        self._blanks = 0
        self._chars = 0

    def close(self) -> None:
        self.main.close()
        if self._second is not None:
            self._second.close()

    def head(self) -> dict[str, Any]:
        """What the file says of itself. What is broken costs only itself and what comes after."""
        title, author, outline = "", "", []
        try:
            title = self.main.title()
            author = self.main.author()
            outline = self.main.outline()
        except DAMAGE:
            pass
        return {
            "n_pages": self.main.n_pages,
            "title": title,
            "author": author,
            "outline": outline,
            "reader": self.main.reader,
        }

    def label(self, number: int) -> str:
        try:
            return self.main.label(number - 1) or str(number)
        except DAMAGE:
            return str(number)

    def page(self, number: int) -> tuple[dict[str, Any], bytes]:
        """A page's frame: its text by the main reader, else by the second, else why not."""
        text, words, reason = self._main_text(number)
        second = False
        if (not text.strip() or is_junk(text)) and self._worth_asking(number, reason):
            try:
                text, words, reason = self._second_text(number), b"", ""
                second = bool(text.strip())
            except DAMAGE as error:
                reason = reason and f"{reason}; {_sentence(error)}"
            self._blanks = 0 if second else self._blanks + 1
        if too_much := self._too_much(text):
            text, words, second, reason = "", b"", False, too_much
        status = "text" if text.strip() else "failed" if reason else "empty"
        if is_junk(text):
            text, words, status, reason = "", b"", "empty", _JUNK
        frame = {
            "page": number,
            "label": self.label(number),
            "text": text,
            "status": status,
            "reason": reason,
            "second": second,
        }
        return frame, words

    def _too_much(self, text: str) -> str:
        """Why this text is more than we take, "" if it is not."""
        self._chars += len(text)
        if len(text) > PAGE_CHARS:
            return f"it has {len(text):,} characters and at most {PAGE_CHARS:,} are taken"
        if self._chars > FILE_CHARS:
            return f"the file has more than the {FILE_CHARS:,} characters that are taken"
        return ""

    def _main_text(self, number: int) -> tuple[str, bytes, str]:
        """The text and words by the main reader, and why there is none."""
        if number in self.gentle:
            return "", b"", "pdfium broke down on it"
        try:
            text, words = self.main.page(number - 1)
        except DAMAGE as error:
            return "", b"", _sentence(error)
        return text, words.tobytes(), ""

    def _worth_asking(self, number: int, reason: str) -> bool:
        if not isinstance(self.main, PdfiumFile):
            return False
        if reason:
            return True
        return self._blanks < BLANKS_TO_GIVE_UP and not self.main.is_blank(number - 1)

    def _second_text(self, number: int) -> str:
        if self._second is None:
            second = open_file(self.path, self.passwords, pdfium=False)
            assert isinstance(second, PypdfFile)
            self._second = second
        return self._second.page(number - 1)[0]


def _sentence(error: BaseException) -> str:
    """An error in words short enough for a table."""
    said = " ".join(str(error).split())[:200]
    if isinstance(error, MemoryError):
        return "it needs more memory than a file may have"
    if isinstance(error, FileNotFoundError):  # of which PDFium's wrapper says the path only
        return "it is no longer there"
    inner = re.search(r"PDFium: ([^()]+)", said)  # their sentence about our call says nothing more
    return inner.group(1).lower() if inner else said or type(error).__name__


def serve_read(request: dict[str, Any], out: BinaryIO) -> None:
    limit_time(request["page_seconds"])
    reading = _Reading(request)
    try:
        head = reading.head()
        write_frame(out, head)
        for number in range(request["first"], head["n_pages"] + 1):
            limit_time(request["page_seconds"])
            write_frame(out, *reading.page(number))
        write_frame(out, {"end": True})
    finally:
        reading.close()


def serve_render(request: dict[str, Any], out: BinaryIO) -> None:
    limit_time(request["page_seconds"])
    opened = open_file(Path(request["path"]), request["passwords"], pdfium=True)
    try:
        if not isinstance(opened, PdfiumFile):
            raise ValueError("only pdfium draws pages, and it cannot open this file")
        number = request["render"]
        if not 1 <= number <= opened.n_pages:
            raise ValueError(f"there is no page {number}: the file has {opened.n_pages}")
        if "dpi" in request:
            pixel, image = opened.scan(number - 1, request["dpi"])
            write_frame(out, {"pixel": pixel}, image)
        else:
            pixel, image = opened.image(number - 1, request["width"], request["boxes"])
            write_frame(out, {"png": True, "pixel": pixel}, image)
    finally:
        opened.close()


def serve(requests: BinaryIO, out: BinaryIO) -> None:
    """Answer requests until the parent closes its end."""
    while True:
        try:
            request, _ = read_frame(requests)
        except EOFError:
            return
        limit_memory(request["memory_mb"])
        try:
            (serve_render if "render" in request else serve_read)(request, out)
        except WrongPasswordError:
            write_frame(out, {"error": "password", "reason": ""})
        except DAMAGE as error:
            write_frame(out, {"error": "damaged", "reason": _sentence(error)})


def main() -> None:
    """Keep the pipe to ourselves: whatever a library prints goes nowhere."""
    out = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    write_frame(out, {"ready": True})
    try:
        serve(sys.stdin.buffer, out)
    except BrokenPipeError:
        os._exit(1)


if __name__ == "__main__":
    main()
