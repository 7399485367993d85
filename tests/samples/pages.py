"""Page furniture of the sample documents: the outline, contents, footers and title pages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from markup import Look
from reportlab.lib import colors
from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import BaseDocTemplate, Flowable, Frame, PageTemplate
from reportlab.platypus.tableofcontents import TableOfContents

WIDTH, HEIGHT = A4
MARGIN = 62.0
COLUMN = WIDTH - 2 * MARGIN

Draw = Callable[[Canvas, BaseDocTemplate], None]


class Book(BaseDocTemplate):
    """A document whose headings become its outline and, where it has one, its contents page."""

    def __init__(self, path: Path, title: str, *, front_matter: int = 0) -> None:
        super().__init__(
            str(path), pagesize=A4, title=title, author="", invariant=1, pageCompression=0
        )
        self.front_matter = front_matter

    def afterFlowable(self, flowable: Flowable) -> None:  # noqa: N802 (reportlab's name)
        """Called by reportlab after each block: bookmark the headings."""
        name = getattr(getattr(flowable, "style", None), "name", "")
        if not name.startswith("heading"):
            return
        level, text = int(name[-1]) - 1, flowable.getPlainText()
        key = f"{self.page}-{text}"
        self.canv.bookmarkPage(key)
        self.canv.addOutlineEntry(text, key, level=level)
        printed = self.page - self.front_matter
        if printed > 0 and text != "Contents":
            self.notify("TOCEntry", (level, text, printed, key))


def template(name: str, draw: Draw, top: float = MARGIN + 12) -> PageTemplate:
    """A page with one column of text, `draw` painting the rest."""
    frame = Frame(MARGIN, MARGIN, COLUMN, HEIGHT - MARGIN - top, 0, 0, 0, 0)
    return PageTemplate(name, [frame], onPage=draw)


def footer(left: str, first: int = 1) -> Draw:
    """A line, `left` and the printed page number at the foot; the first page has number `first`."""

    def draw(canvas: Canvas, book: BaseDocTemplate) -> None:
        canvas.setStrokeColor(HexColor("#b8c4cc"))
        canvas.line(MARGIN, MARGIN - 14, WIDTH - MARGIN, MARGIN - 14)
        canvas.setFillColor(HexColor("#55636d"))
        canvas.setFont("Helvetica", 8.5)
        canvas.drawString(MARGIN, MARGIN - 27, left)
        canvas.drawRightString(WIDTH - MARGIN, MARGIN - 27, str(book.page - 1 + first))

    return draw


def cover(kicker: str, title: str, subtitle: str, colour: str, note: str) -> Draw:
    """A title page: a field of colour above, the title under it, a note at the foot."""

    def draw(canvas: Canvas, book: BaseDocTemplate) -> None:
        canvas.setFillColor(HexColor(colour))
        canvas.rect(0, HEIGHT * 0.52, WIDTH, HEIGHT * 0.48, stroke=0, fill=1)
        canvas.setFillColor(colors.white)
        canvas.setFont("Helvetica", 15)
        canvas.drawString(MARGIN, HEIGHT * 0.52 + 118, kicker)
        canvas.setFont("Helvetica-Bold", 38)
        canvas.drawString(MARGIN, HEIGHT * 0.52 + 62, title)
        canvas.setFillColor(HexColor("#333333"))
        canvas.setFont("Helvetica", 17)
        canvas.drawString(MARGIN, HEIGHT * 0.52 - 44, subtitle)
        canvas.setFont("Helvetica", 10)
        canvas.drawString(MARGIN, MARGIN, note)

    return draw


def contents_page(look: Look) -> TableOfContents:
    """Chapters and sections with their printed page numbers; filled by `multiBuild`."""
    close = look.size * 1.22
    styles = [look.body(leading=close, spaceAfter=3)]
    styles += [look.body(leading=close, spaceAfter=1, leftIndent=16)]
    return TableOfContents(levelStyles=styles, dotsMinLevel=0, rightColumnWidth=30)
