"""PDFs made at test time."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import pypdf
import pytest
from reportlab.pdfgen import canvas

Place = tuple[float, float, float, str]  # x, y from the bottom left in points, font size, text
MakePdf = Callable[..., Path]


@pytest.fixture
def make_pdf(tmp_path: Path) -> MakePdf:
    """make_pdf(name, pages): pages of (x, y, size, text), on 600 x 800 points."""

    def make(name: str, pages: Sequence[Sequence[Place]], title: str = "") -> Path:
        path = tmp_path / name
        drawing = canvas.Canvas(str(path), pagesize=(600, 800))
        drawing.setTitle(title)
        for page in pages:
            for x, y, size, text in page:
                drawing.setFont("Helvetica", size)
                drawing.drawString(x, y, text)
            drawing.showPage()
        drawing.save()
        return path

    return make


@pytest.fixture
def rewrite(tmp_path: Path) -> Callable[[Path, str, Callable[[pypdf.PdfWriter], None]], Path]:
    """rewrite(path, name, change): a copy with whatever `change` does to pypdf's writer."""

    def copy(path: Path, name: str, change: Callable[[pypdf.PdfWriter], None]) -> Path:
        writer = pypdf.PdfWriter(clone_from=path)
        change(writer)
        writer.write(tmp_path / name)
        return tmp_path / name

    return copy


def raw_pdf(path: Path, bodies: Sequence[bytes]) -> Path:
    """A PDF of these objects, numbered from 1; the first is the catalog."""
    data, offsets = b"%PDF-1.7\n", []
    for number, body in enumerate(bodies, start=1):
        offsets.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    data += b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(bodies) + 1, table)
    data += b"trailer <</Size %d /Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (
        len(bodies) + 1,
        data.index(b"xref\n"),
    )
    path.write_bytes(data)
    return path


def stream(content: bytes, extra: bytes = b"") -> bytes:
    """A compressed stream object."""
    packed = zlib.compress(content)
    head = b"<</Filter /FlateDecode /Length %d %s>>" % (len(packed), extra)
    return head + b"\nstream\n" + packed + b"\nendstream"


@pytest.fixture
def one_page(tmp_path: Path) -> Callable[..., Path]:
    """one_page(name, content, to_unicode): a page with this content stream in Helvetica as /F1."""

    def make(name: str, content: bytes, to_unicode: bytes = b"") -> Path:
        font = b"<</Type /Font /Subtype /Type1 /BaseFont /Helvetica"
        font += b" /ToUnicode 6 0 R>>" if to_unicode else b">>"
        page = b"<</Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents 4 0 R"
        bodies = [
            b"<</Type /Catalog /Pages 2 0 R>>",
            b"<</Type /Pages /Kids [3 0 R] /Count 1>>",
            page + b" /Resources <</Font <</F1 5 0 R>>>>>>",
            stream(content),
            font,
        ]
        return raw_pdf(tmp_path / name, [*bodies, stream(to_unicode)] if to_unicode else bodies)

    return make
