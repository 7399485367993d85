"""A small markup for the sample documents: text in, reportlab flowables out.

One block a paragraph: `#` to `###` headings, `- ` and `1. ` lists, `| a | b |` tables (first row
is the head), `> WARNING: ...` boxes, `^ ...` captions, `---` a new page, `@name` a flowable made
elsewhere. Inside a line: `*italic*`, `**bold**`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from reportlab.lib import colors
from reportlab.lib.colors import Color, HexColor
from reportlab.lib.enums import TA_JUSTIFY
from reportlab.lib.styles import ParagraphStyle
from reportlab.platypus import (
    Flowable,
    ListFlowable,
    ListItem,
    PageBreak,
    Paragraph,
    Table,
    TableStyle,
)


@dataclass(frozen=True)
class Look:
    """Fonts, sizes and the colour of one document; `size` in points, `width` of a text column."""

    width: float
    size: float = 10.5
    serif: bool = False
    accent: Color = field(default_factory=lambda: HexColor("#1f4e6b"))

    @property
    def font(self) -> str:
        return "Times-Roman" if self.serif else "Helvetica"

    @property
    def bold(self) -> str:
        return "Times-Bold" if self.serif else "Helvetica-Bold"

    def body(self, **changes: object) -> ParagraphStyle:
        """The style of running text, with `changes`."""
        style = {"fontName": self.font, "fontSize": self.size, "leading": self.size * 1.38}
        style |= {"spaceAfter": self.size * 0.65, "alignment": TA_JUSTIFY if self.serif else 0}
        return ParagraphStyle("body", **(style | changes))

    def heading(self, level: int) -> ParagraphStyle:
        """The style of a heading; level from 1. Its name is what the outline is made from."""
        size = self.size * (1.65, 1.22, 1.05)[level - 1] if not self.serif else self.size * 1.15
        return ParagraphStyle(
            f"heading{level}",
            fontName=self.bold,
            fontSize=size,
            leading=size * 1.25,
            textColor=colors.black if self.serif else self.accent,
            spaceBefore=size * (0.9 if level == 1 else 0.7),
            spaceAfter=size * 0.45,
            keepWithNext=1,
        )


def inline(text: str) -> str:
    """`*italic*` and `**bold**` as reportlab's own tags, everything else as it stands."""
    text = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", escape(text))
    return re.sub(r"\*(.+?)\*", r"<i>\1</i>", text)


def flowables(text: str, look: Look, made: Mapping[str, Flowable] | None = None) -> list[Flowable]:
    """The blocks of `text`, set as `look` says; `@name` stands for `made[name]`."""
    blocks = [block for block in re.split(r"\n\s*\n", text.strip()) if block.strip()]
    return [_flowable(block, look, made or {}) for block in blocks]


def _flowable(block: str, look: Look, made: Mapping[str, Flowable]) -> Flowable:
    lines = block.splitlines()
    if block == "---":
        return PageBreak()
    if block.startswith("@"):
        return made[block[1:]]
    if heading := re.match(r"(#{1,3}) (.+)", block):
        return Paragraph(inline(heading[2]), look.heading(len(heading[1])))
    if block.startswith("|"):
        return table(
            [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines], look
        )
    if block.startswith("> "):
        return _box(block[2:], look)
    if block.startswith("^ "):
        caption = look.body(fontSize=look.size * 0.88, leading=look.size * 1.1, spaceAfter=10)
        return Paragraph(inline(block[2:]), caption)
    if re.match(r"- |\d+\. ", block):
        return _list(lines, look)
    return Paragraph(inline(" ".join(lines)), look.body())


def _list(lines: list[str], look: Look) -> Flowable:
    """Every line is an item; numbers when the first line has one."""
    numbered = lines[0][0].isdigit()
    style = look.body(spaceAfter=look.size * 0.3)
    texts = [re.sub(r"^(- |\d+\. )", "", line) for line in lines]
    items = [ListItem(Paragraph(inline(text), style), leftIndent=18) for text in texts]
    return ListFlowable(
        items,
        bulletType="1" if numbered else "bullet",
        bulletFontName=look.font,
        bulletFontSize=look.size,
        bulletFormat="%s." if numbered else None,
        start=None if numbered else "•",
        leftIndent=18,
        spaceAfter=look.size * 0.6,
    )


def table(rows: list[list[str]], look: Look) -> Flowable:
    """Rows of marked-up text under a head row; columns as wide as their longest text needs."""
    size = look.size * (0.92 if look.serif else 0.9)
    style = look.body(fontSize=size, leading=size * 1.25, spaceAfter=0, alignment=0)
    head = look.body(
        fontName=look.bold, fontSize=size, leading=size * 1.25, spaceAfter=0, alignment=0
    )
    head.textColor = colors.black if look.serif else colors.white
    cells = [
        [Paragraph(inline(cell), head if index == 0 else style) for cell in row]
        for index, row in enumerate(rows)
    ]
    longest = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    narrowest = 9 if look.serif else 12
    shares = [min(max(length, narrowest), 42) for length in longest]
    widths = [look.width * share / sum(shares) for share in shares]
    lines: list[tuple[object, ...]] = [
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("TOPPADDING", (0, 0), (-1, -1), 3),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 4),
    ]
    if look.serif:
        lines += [("LEFTPADDING", (0, 0), (-1, -1), 3), ("RIGHTPADDING", (0, 0), (-1, -1), 3)]
        lines += [("LINEABOVE", (0, 0), (-1, 0), 0.8, colors.black)]
        lines += [("LINEBELOW", (0, 0), (-1, 0), 0.4, colors.black)]
        lines += [("LINEBELOW", (0, -1), (-1, -1), 0.8, colors.black)]
    else:
        lines += [("BACKGROUND", (0, 0), (-1, 0), look.accent)]
        lines += [("LINEBELOW", (0, 1), (-1, -1), 0.4, HexColor("#c9d3da"))]
    return _whole(cells, widths, lines, look)


def _box(text: str, look: Look) -> Flowable:
    """A safety note: the word before the colon in bold, a bar in its colour at the left."""
    word, rest = text.split(":", 1)
    bar = {"WARNING": "#c0392b", "CAUTION": "#d98c00"}.get(word, "#2b7a4b")
    note = Paragraph(f"<b>{word}</b>:{inline(rest)}", look.body(spaceAfter=0))
    style: list[tuple[object, ...]] = [
        ("BACKGROUND", (0, 0), (-1, -1), HexColor("#f4f4f1")),
        ("LINEBEFORE", (0, 0), (0, -1), 4, HexColor(bar)),
        ("LEFTPADDING", (0, 0), (-1, -1), 10),
        ("TOPPADDING", (0, 0), (-1, -1), 6),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 7),
    ]
    return _whole([[note]], [look.width], style, look)


def _whole(
    cells: list[list[Paragraph]], widths: list[float], lines: list[tuple[object, ...]], look: Look
) -> Table:
    """A table that never breaks across pages, so that a heading stays with it."""
    return Table(
        cells,
        widths,
        style=TableStyle(lines),
        splitByRow=0,
        hAlign="LEFT",
        spaceBefore=look.size * 0.3,
        spaceAfter=look.size * 0.9,
    )
