"""Text of others shows as it stands."""

from __future__ import annotations

import re

import pytest
from markdown_it import MarkdownIt
from ragformer_ui.plain import counted, escaped, shortened

BAIT = (
    "<script>alert(1)</script>",
    "![x](http://evil.example/x.png)",
    "[click](javascript:alert(1))",
    "https://evil.example and www.evil.example and a@evil.example",
    "# head\n\n* item\n1. one",
    "`code` $x^2$ :red[hot] :material/home: ~~gone~~ **bold** _slanted_",
    "&lt;b&gt; a|b\n-|-",
    "<img src=x onerror=alert(1)>",
)


@pytest.mark.parametrize("text", BAIT)
def test_markdown_shows_it_as_it_stands(text: str) -> None:
    html = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(escaped(text))
    assert set(re.findall(r"<(\w+)", html)) == {"p"}
    shown = html.strip().removeprefix("<p>").removesuffix("</p>").replace("\u2060", "")
    for code, character in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
        shown = shown.replace(code, character)
    assert shown == " ".join(text.split())


@pytest.mark.parametrize("text", BAIT)
def test_no_address_is_left_that_would_become_a_link(text: str) -> None:
    """GitHub's rule, which Streamlit follows, looks at the text after its marks are taken out."""
    bare = re.sub(r"\\(.)", r"\1", escaped(text))
    assert not re.search(r"(?i)https?://|www\.|[\w.+-]+@\w", bare)


def test_numbers_and_lengths() -> None:
    assert [counted(n, "page") for n in (0, 1, 1200)] == ["0 pages", "1 page", "1,200 pages"]
    assert shortened("a  b\nc", 9) == "a b c"
    assert shortened("abcdef", 4) == "abc…"
