"""What a document says of itself: its title, its author and its table of contents."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from ragformer.pdf.clean import clean
from ragformer.pdf.lines import page_lines
from ragformer.types import OutlineItem, Page

MAX_TITLE = 200
_LEFTOVER = re.compile(
    r"(microsoft (office )?(word|powerpoint|excel)|untitled|unbenannt|sans titre|(no )?title$"
    r"|(document|presentation|slide|book|layout|doc|print)\s*\d*$|powerpoint[- ]pr|unknown$"
    r"|\(?unspecified|full page|https?://|file:|[a-z]:\\|/)"
    r"|.*\.(docx?|pptx?|xlsx?|indd|qxd|tex|dvi|pdf|rtf|od[tps]|pmd|fm|cdr|ai|eps|wpd|txt|html?)$",
    re.IGNORECASE,
)
_HEADING = re.compile(r"(table of )?contents|introduction|abstract|summary|index", re.IGNORECASE)


_NOBODY = re.compile(
    r"(admin(istrator)?|author|default|(pc|the )?user\w*|owner|unknown|anonymous|none|n/a"
    r"|microsoft.*|adobe \w+ \d.*|.*@.*|.*[a-z]{2}://.*)$",
    re.IGNORECASE,
)


def plain_line(text: str) -> str:
    """Text from a PDF's own records on one clean line."""
    return " ".join(clean(text).text.split())


def choose_title(recorded: str, pages: Iterable[Page], path: Path) -> str:
    """The title the file records if it means something, else its largest words, else its name."""
    title = plain_line(recorded)[:MAX_TITLE]
    if not _LEFTOVER.match(title) and _says_something(title):
        return title
    first = next(iter(pages), None)
    largest = _largest_text(first) if first is not None else ""
    return largest or plain_line(path.stem) or "untitled"


def choose_author(recorded: str) -> str:
    """The author the file records, "" for what is no name but an account, a machine or a program:
    "admin", "WIN7", "ADMS"."""
    author = plain_line(recorded)[:MAX_TITLE]
    account = " " not in author and (author.upper() == author or any(map(str.isdigit, author)))
    cased = author.upper() != author.lower()
    return "" if (account and cased) or _NOBODY.match(author) else author


def _says_something(title: str) -> bool:
    """Three letters in a row of an alphabet, or two of a script that writes words in one or two."""
    return re.search(r"[^\W\d_]{3}|[\u3040-\u9fff\uac00-\ud7af]{2}", title) is not None


def _largest_text(page: Page) -> str:
    """The first page's lines of the largest size, where that stands out from the rest."""
    lines = [line for line in page_lines(page) if line.height]
    if len(lines) < 2:
        return ""
    heights = sorted(line.height for line in lines)
    usual = heights[len(heights) // 2]
    readable = [line for line in lines if _says_something(page.text[line.start : line.end])]
    largest = max((line.height for line in readable), default=0.0)
    if largest < 1.2 * usual:
        return ""
    found = [i for i, line in enumerate(lines) if line.height >= 0.95 * largest]
    if found[-1] - found[0] >= len(found):
        return ""  # not one block of lines but several: headings, then, and no title
    block = lines[found[0] : found[-1] + 1]
    title = plain_line(" ".join(page.text[line.start : line.end] for line in block))
    return title if len(title) <= MAX_TITLE and not _HEADING.match(title) else ""


def outline_items(records: Iterable[tuple[int, str, int]], n_pages: int) -> tuple[OutlineItem, ...]:
    """The recorded headings that have words and lead to a page, levels from 0 without gaps up."""
    items: list[OutlineItem] = []
    for level, title, page in records:
        words = plain_line(title)[:MAX_TITLE]
        if words and 1 <= page <= n_pages:
            deepest = items[-1].level + 1 if items else 0
            items.append(OutlineItem(max(0, min(level, deepest)), words, page))
    return tuple(items)
