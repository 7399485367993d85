"""Tables in a page's text: rows are lines whose cells are apart by tabs (see order.py).

The box of a cell is that of its words.
"""

from __future__ import annotations

import re

MIN_ROWS = 3
BETWEEN = 2  # lines without a tab that do not end a table: a label of two lines, a subheading
_LINE = re.compile(r"[^\n]*\S[^\n]*")
_YEAR = re.compile(r"(?:\D*\b(?:19|20)\d\d\b\D*)+")

Part = tuple[int, int]


def headers(text: str) -> list[tuple[Part, int]]:
    """For each table of a page that names its columns: that row's (start, end), the table's end."""
    found = []
    rows: list[Part] = []
    missing = 0
    for match in [*_LINE.finditer(text), None]:
        said = match.group().strip() if match is not None else ""
        if match is not None and "\t" in said:
            start = match.start() + match.group().index(said)
            rows.append((start, start + len(said)))
            missing = 0
            continue
        missing += 1
        if match is None or missing > BETWEEN:
            if len(rows) >= MIN_ROWS and _names_columns(text[slice(*rows[0])]):
                found.append((rows[0], rows[-1][1]))
            rows = []
    return found


def _names_columns(row: str) -> bool:
    """Whether the cells after the first hold words, or years, but no amounts."""
    cells = row.split("\t")[1:]
    return all(_YEAR.fullmatch(cell) or not any(map(str.isdigit, cell)) for cell in cells)
