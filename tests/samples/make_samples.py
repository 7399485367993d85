"""Typeset the sample PDFs from the texts in source/: the same bytes on every run.

    python tests/samples/make_samples.py [FOLDER]

manual.pdf    product manual with an outline, tables and safety notes
handbook.pdf  running header and footer, numbered sections
paper.pdf     two columns
invoice.pdf   tables of amounts
report.pdf    printed page numbers i, ii, iii, 1, 2, ... differ from the physical ones
letter.pdf    a scan: images without a text layer

Every name in them is invented. Only fonts built into PDF are used and streams are left
uncompressed, so that neither a font file nor a zlib version can change a byte.
"""

from __future__ import annotations

import io
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pypdfium2 as pdfium
from markup import Look, flowables, inline
from pages import COLUMN, HEIGHT, MARGIN, WIDTH, Book, contents_page, cover, footer, template
from PIL import Image
from reportlab.graphics.charts.barcharts import VerticalBarChart
from reportlab.graphics.shapes import Drawing
from reportlab.lib import colors
from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    Flowable,
    Frame,
    FrameBreak,
    NextPageTemplate,
    PageBreak,
    PageTemplate,
    Paragraph,
    Spacer,
    Table,
    TableStyle,
)

HERE = Path(__file__).parent
FRONT_MATTER = 3  # pages i to iii of the report


def source(name: str) -> str:
    return (HERE / "source" / f"{name}.txt").read_text(encoding="utf-8")


def make_manual(path: Path) -> None:
    look = Look(COLUMN, accent=HexColor("#7a3b1d"))
    book = Book(path, "Cassia 3 Espresso Machine: User Manual")
    note = "Morrowick Home Appliances · Document MC3-24-EN, edition 4, March 2026"
    front = cover("Cassia 3", "User manual", "Espresso machine with grinder", "#7a3b1d", note)
    pages = footer("Morrowick Cassia 3 · User manual")
    book.addPageTemplates([template("cover", front), template("page", pages)])
    book.build([NextPageTemplate("page"), PageBreak(), *flowables(source("manual"), look)])


def make_handbook(path: Path) -> None:
    look = Look(COLUMN, size=10.7, accent=HexColor("#21545a"))
    book = Book(path, "Quillmere Instruments: Employee Handbook")
    foot = footer("Edition of January 2026 · For internal use")

    def page(canvas: Canvas, document: BaseDocTemplate) -> None:
        foot(canvas, document)
        canvas.drawString(MARGIN, HEIGHT - MARGIN + 14, "Quillmere Instruments")
        canvas.drawRightString(WIDTH - MARGIN, HEIGHT - MARGIN + 14, "Employee Handbook")
        canvas.line(MARGIN, HEIGHT - MARGIN + 6, WIDTH - MARGIN, HEIGHT - MARGIN + 6)

    note = "People Team · Ostrava Street 41 · valid from 1 January 2026"
    front = cover(
        "Quillmere Instruments", "Employee Handbook", "Rules and benefits", "#21545a", note
    )
    book.addPageTemplates([template("cover", front), template("page", page)])
    made = {"contents": contents_page(look)}
    text = flowables(source("handbook"), look, made)
    book.multiBuild([NextPageTemplate("page"), PageBreak(), *text])


ABSTRACT = (
    "Cheap capacitive soil moisture sensors drift by several percent within a season, and digging "
    "them out for calibration is slow. We present RainAnchor, a method that uses heavy rain as a "
    "common reference point: 36 hours after a rain of at least 12 mm, each node compares its "
    "reading with field capacity and updates its estimate of drift. On 96 nodes in three orchards "
    "and over two seasons the error falls from 4.31 to 1.87 percent of volumetric water content, "
    "without extra hardware and with 412 bytes of memory. We also report where the method fails."
)


def make_paper(path: Path) -> None:
    gap, head = 20.0, 206.0
    column = (COLUMN - gap) / 2
    look = Look(column, size=10.2, serif=True)
    book = Book(path, "RainAnchor: Drift Correction for Orchard Soil Sensors")

    def columns(height: float) -> list[Frame]:
        lefts = (MARGIN, MARGIN + column + gap)
        return [Frame(left, MARGIN, column, height, 0, 0, 0, 0) for left in lefts]

    def number(canvas: Canvas, document: BaseDocTemplate) -> None:
        canvas.setFont("Times-Roman", 9)
        canvas.drawCentredString(WIDTH / 2, MARGIN - 26, str(document.page))

    body = HEIGHT - 2 * MARGIN
    title = Frame(MARGIN, HEIGHT - MARGIN - head, COLUMN, head, 0, 0, 0, 0)
    first = PageTemplate("first", [title, *columns(body - head)], onPage=number)
    book.addPageTemplates([first, PageTemplate("page", columns(body), onPage=number)])
    big = look.body(fontName="Times-Bold", fontSize=19, leading=23, alignment=1, spaceAfter=10)
    small = look.body(alignment=1, spaceAfter=3)
    abstract = look.body(leftIndent=34, rightIndent=34, spaceBefore=8)
    story = [
        Paragraph("RainAnchor: Correcting the Drift of Orchard Soil Sensors with Rain", big),
        Paragraph("Ilva Marrenko, Tobin Ashgrove and Petra Vellacott", small),
        Paragraph("Institute for Field Sensing, Ellerby", small),
        Paragraph(f"<b>Abstract.</b> {ABSTRACT}", abstract),
        NextPageTemplate("page"),
        FrameBreak(),
    ]
    book.build(story + flowables(source("paper"), look))


INVOICE_LINES = [  # article, description, quantity, price of one in cents
    ("BK-1140", "Copy paper A4, 80 g, box of 2,500 sheets", 24, 2190),
    ("BK-2075", "Toner cartridge, black, 9,000 pages", 6, 8450),
    ("BK-2076", "Toner cartridge, cyan, 6,000 pages", 3, 9720),
    ("BK-3310", "Lever arch file, 75 mm, grey", 80, 245),
    ("BK-3482", "Index dividers 1-31, set", 60, 189),
    ("BK-4106", "Gel pen, blue, pack of 12", 15, 1380),
    ("BK-5220", "Whiteboard 120 x 90 cm, enamel", 2, 11900),
    ("BK-5229", "Whiteboard markers, 4 colours", 10, 675),
    ("BK-6018", "Desk lamp with clamp, 7 W", 8, 4295),
    ("BK-7701", "Delivery to the second floor", 1, 3500),
]
INVOICE_ADDRESS = """**Quillmere Instruments**
Accounts Payable
Ostrava Street 41
30455 Lindholt"""
INVOICE_FACTS = [
    ("Invoice number", "BOS-2026-04817"),
    ("Invoice date", "14 April 2026"),
    ("Delivery date", "9 April 2026"),
    ("Customer number", "K-20933"),
    ("Your order", "PO-77120 of 2 April 2026"),
    ("Payment due", "14 May 2026"),
]


def money(cents: int) -> str:
    return f"{cents // 100:,}.{cents % 100:02d}"


def invoice_table(look: Look) -> Flowable:
    """The positions with net sum, VAT of 20 percent and total, amounts at the right."""
    net = sum(quantity * price for _, _, quantity, price in INVOICE_LINES)
    vat = net * 20 // 100
    rows = [["Pos.", "Article", "Description", "Qty", "Unit price", "Amount"]]
    for position, (article, text, quantity, price) in enumerate(INVOICE_LINES, 1):
        row = [str(position), article, text, str(quantity), money(price), money(quantity * price)]
        rows.append(row)
    rows += [["", "", "Net amount", "", "EUR", money(net)]]
    rows += [["", "", "VAT 20 %", "", "EUR", money(vat)]]
    rows += [["", "", "Total amount due", "", "EUR", money(net + vat)]]
    style = [
        ("FONT", (0, 0), (-1, -1), "Helvetica", 9.3),
        ("FONT", (0, 0), (-1, 0), "Helvetica-Bold", 9.3),
        ("FONT", (0, -1), (-1, -1), "Helvetica-Bold", 10.5),
        ("BACKGROUND", (0, 0), (-1, 0), look.accent),
        ("TEXTCOLOR", (0, 0), (-1, 0), colors.white),
        ("ALIGN", (3, 0), (-1, -1), "RIGHT"),
        ("LINEBELOW", (0, 1), (-1, -5), 0.4, HexColor("#c9d3da")),
        ("LINEABOVE", (0, -3), (-1, -3), 1, look.accent),
        ("LINEABOVE", (0, -1), (-1, -1), 1, look.accent),
        ("TOPPADDING", (0, 0), (-1, -1), 5),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 6),
    ]
    widths = [30, 58, 218, 36, 62, COLUMN - 404]
    return Table(rows, widths, style=TableStyle(style), repeatRows=1)


def make_invoice(path: Path) -> None:
    look = Look(COLUMN, size=10, accent=HexColor("#3a3f77"))
    book = Book(path, "Invoice BOS-2026-04817")
    foot = footer("Brindleport Office Supply · Quay Road 8 · 71102 Brindleport")

    def letterhead(canvas: Canvas, document: BaseDocTemplate) -> None:
        foot(canvas, document)
        canvas.setFillColor(look.accent)
        canvas.setFont("Helvetica-Bold", 16)
        canvas.drawString(MARGIN, HEIGHT - MARGIN + 6, "Brindleport Office Supply")

    book.addPageTemplates([template("page", letterhead, top=MARGIN + 34)])
    address = Paragraph(inline(INVOICE_ADDRESS).replace("\n", "<br/>"), look.body())
    facts = Table(INVOICE_FACTS, [92, 140], style=TableStyle([("FONTSIZE", (0, 0), (-1, -1), 9.3)]))
    style = [("VALIGN", (0, 0), (-1, -1), "TOP"), ("LEFTPADDING", (0, 0), (0, 0), 0)]
    top = Table([[address, facts]], [COLUMN - 232, 232], style=TableStyle(style))
    title = Paragraph("Invoice", look.heading(1))
    story = [top, Spacer(1, 14), title, invoice_table(look), Spacer(1, 16)]
    book.build(story + flowables(source("invoice"), look))


def passengers_chart(look: Look) -> Drawing:
    """Bars of the passengers per year, in millions, with the number on each bar."""
    drawing = Drawing(look.width, 170)
    chart = VerticalBarChart()
    chart.x, chart.y, chart.width, chart.height = 30, 24, look.width - 60, 126
    chart.data = [(3.48, 3.81, 4.14, 4.35, 4.62)]
    chart.categoryAxis.categoryNames = ["2021", "2022", "2023", "2024", "2025"]
    chart.valueAxis.valueMin, chart.valueAxis.valueMax, chart.valueAxis.valueStep = 0, 5, 1
    chart.bars[0].fillColor = look.accent
    chart.bars[0].strokeColor = None
    chart.barLabelFormat = "%.2f"
    chart.barLabels.nudge = 8
    chart.groupSpacing = 24
    drawing.add(chart)
    return drawing


def facts_table(look: Look) -> Flowable:
    """Four large numbers side by side."""
    facts = [("4.62 m", "passengers"), ("187.4 m", "euros of revenue")]
    facts += [("21.9 m", "euros operating result"), ("92.6 %", "punctual sailings")]
    rows = list(zip(*facts, strict=True))
    style = [
        ("FONT", (0, 0), (-1, 0), "Helvetica-Bold", 20),
        ("FONT", (0, 1), (-1, 1), "Helvetica", 9),
        ("TEXTCOLOR", (0, 0), (-1, 0), look.accent),
        ("ALIGN", (0, 0), (-1, -1), "CENTER"),
        ("BOTTOMPADDING", (0, 0), (-1, 0), 14),
        ("BACKGROUND", (0, 0), (-1, -1), HexColor("#eef3f6")),
        ("TOPPADDING", (0, 0), (-1, 0), 14),
        ("BOTTOMPADDING", (0, 1), (-1, 1), 12),
    ]
    return Table(rows, [COLUMN / 4] * 4, style=TableStyle(style), spaceAfter=14)


def make_report(path: Path) -> None:
    look = Look(COLUMN, accent=HexColor("#12466b"))
    book = Book(path, "Northmere Ferries: Annual Report 2025", front_matter=FRONT_MATTER)
    rule = footer("Northmere Ferries · Annual Report 2025", first=1 - FRONT_MATTER)

    def roman(canvas: Canvas, document: BaseDocTemplate) -> None:
        canvas.setFont("Helvetica", 8.5)
        canvas.drawCentredString(WIDTH / 2, MARGIN - 27, "i" * document.page)

    def labelled_cover(canvas: Canvas, document: BaseDocTemplate) -> None:
        front(canvas, document)
        canvas.addPageLabel(0, style="ROMAN_LOWER", start=1)
        canvas.addPageLabel(FRONT_MATTER, style="ARABIC", start=1)

    note = "Northmere Ferries · Harbour Square 1 · Skarne"
    front = cover("Northmere Ferries", "Annual Report 2025", "Year 60", "#12466b", note)
    book.addPageTemplates(
        [template("cover", labelled_cover), template("front", roman), template("page", rule)]
    )
    chart = Table([[passengers_chart(look)], ["Figure 1: Passengers per year in millions"]])
    made = {"contents": contents_page(look), "facts": facts_table(look), "chart": chart}
    front_text, body = source("report").split("---\n\n# 1 ")
    story = [NextPageTemplate("front"), PageBreak(), *flowables(front_text, look, made)]
    story += [NextPageTemplate("page"), PageBreak(), *flowables("# 1 " + body, look, made)]
    book.multiBuild(story)


def make_letter(path: Path) -> None:
    """Print the letter, then scan it: a little askew, with specks, black and white at 200 dpi."""
    dice = random.Random(7)
    scans = [_scan(text, dice) for text in source("letter").split("===\n")]
    day = time.struct_time((2025, 10, 6, 9, 0, 0, 0, 279, 0))
    scans[0].save(
        path,
        resolution=200,
        save_all=True,
        append_images=scans[1:],
        title="Scan",
        creationDate=day,
        modDate=day,
    )


def _scan(text: str, dice: random.Random) -> Image.Image:
    """One typed page as a 1-bit image."""
    printed = io.BytesIO()
    canvas = Canvas(printed, pagesize=A4, invariant=1)
    lines = canvas.beginText(MARGIN, HEIGHT - 90)
    lines.setFont("Courier", 11.5, leading=17)
    lines.textLines(text, trim=0)
    canvas.drawText(lines)
    canvas.save()
    with pdfium.PdfDocument(printed.getvalue()) as document:
        image = document[0].render(scale=200 / 72, grayscale=True).to_pil()
    image = image.rotate(dice.uniform(0.4, 0.8), Image.Resampling.BICUBIC, fillcolor=255)
    for _ in range(160):
        image.putpixel((dice.randrange(image.width), dice.randrange(image.height)), 0)
    black_and_white: Image.Image = image.point(lambda value: 255 * (value > 150), mode="1")
    return black_and_white


SAMPLES: dict[str, Callable[[Path], None]] = {
    "manual.pdf": make_manual,
    "handbook.pdf": make_handbook,
    "paper.pdf": make_paper,
    "invoice.pdf": make_invoice,
    "report.pdf": make_report,
    "letter.pdf": make_letter,
}


def main(folder: Path = HERE / "pdfs") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in SAMPLES.items():
        make(folder / name)


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))
