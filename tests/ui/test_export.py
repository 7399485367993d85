"""A chat as a file: whole, with its citations, and with nothing in it that loads or runs."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

from ragformer_ui.export import to_html, to_json, to_markdown

from ragformer.store.chats import Turn
from ragformer.types import Citation, Span

BAIT = "<script>alert(1)</script> ![x](http://evil.example/x.png)"
CITATION = Citation(
    1, "0" * 64, Path(f"/docs/{BAIT.replace('/', '')}.pdf"), 3, "iii", Span(3, 5, 9), BAIT,
    ((1.0, 2.0, 3.0, 4.0),), True,
)  # fmt: skip
TURNS = [
    Turn(datetime.now(UTC), BAIT, f"Short\n\n“{BAIT}” [1]", None, 1, 0.8, (CITATION,)),
    Turn(datetime.now(UTC), "And?", "Not the", None, 2, 0.0, stopped=True),
]


def test_json_holds_every_field_of_a_citation() -> None:
    chat = json.loads(to_json("Title", TURNS))
    assert [turn["stopped"] for turn in chat["turns"]] == [False, True]
    (citation,) = chat["turns"][0]["citations"]
    assert (citation["page"], citation["start"], citation["end"]) == (3, 5, 9)
    assert citation["quote"] == BAIT
    assert citation["boxes"] == [{"page": 3, "box": [1.0, 2.0, 3.0, 4.0]}]


def test_html_loads_and_runs_nothing() -> None:
    page = to_html(BAIT, TURNS)
    assert set(re.findall(r"<(\w+)", page)) <= {
        "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "small", "blockquote",
        "br",
    }  # fmt: skip
    assert "default-src 'none'" in page
    assert "page 3 (printed iii)" in page
    assert "Quite sure (80%)" in page


def test_markdown_shows_texts_as_they_stand() -> None:
    text = to_markdown(BAIT, TURNS)
    assert "<script" not in re.sub(r"\\.", "", text)
    assert "](" not in text
    assert r"\[1\]" in text
    assert "stopped before it was finished" in text
