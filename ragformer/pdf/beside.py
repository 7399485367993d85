"""Words drawn beside the page: of a spread cut in two by crop boxes, each page has those of both.

Nobody sees them there, so they are no text of that page.
"""

from __future__ import annotations

from array import array

from ragformer.pdf.order import Rows
from ragformer.pdf.words import BOX_UNIT


def without_those_beside(text: str, words: Rows, wide: float, high: float) -> tuple[str, Rows]:
    """The text and its words but for those wholly outside the page; most pages as they are.

    words: of all the text, in its order. wide, high: of the page as displayed, in points.
    """
    right, bottom = wide * BOX_UNIT, high * BOX_UNIT
    x0s, y0s, x1s, y1s = (words[side::6] for side in range(2, 6))
    if not words or (
        min(x1s) > 0 and min(y1s) > 0 and max(x0s) < right and max(y0s) < bottom
    ):  # asked first of every page, so without a loop of our own
        return text, words
    pieces: list[str] = []
    found = array("i")
    length, last = 0, 0  # of what is kept; where its last word ended in `text`
    for at in range(0, len(words), 6):
        start, end, x0, y0, x1, y1 = words[at : at + 6]
        if x1 <= 0 or y1 <= 0 or x0 >= right or y0 >= bottom:
            continue
        between = text[last:start]
        if between.strip():  # words that are left out
            between = "\n" if "\n" in between else " "
        pieces += [between * bool(pieces), text[start:end]]
        length += len(pieces[-2])
        found.extend((length, length + end - start, x0, y0, x1, y1))
        length, last = length + end - start, end
    return "".join(pieces), found
