"""A chat as a file to keep: Markdown, JSON or a page of HTML, each with its citations."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable
from typing import Any

from ragformer.answer.cite import citation_form
from ragformer.store.chats import Turn
from ragformer_ui.blocks import citation_name, sureness
from ragformer_ui.plain import escaped

_STYLE = (
    "body{font:1rem/1.5 system-ui;max-width:46rem;margin:2rem auto;padding:0 1rem}"
    "blockquote{border-left:3px solid #2f6fde;margin:0 0 .5rem;padding-left:.75rem}"
    "p{white-space:pre-wrap}small{opacity:.75}"
)


def to_json(title: str, turns: Iterable[Turn]) -> str:
    """{"title", "turns": [{"asked_at", "question", "answer", "reason", "confidence", "stopped",
    "citations": [as those of `ragformer ask --json`]}]}."""
    return json.dumps({"title": title, "turns": [_turn_form(turn) for turn in turns]}, indent=2)


def _turn_form(turn: Turn) -> dict[str, Any]:
    return {
        "asked_at": turn.asked_at.isoformat(),
        "question": turn.question,
        "answer": turn.answer,
        "reason": turn.reason,
        "confidence": turn.confidence,
        "stopped": turn.stopped,
        "citations": [citation_form(citation) for citation in turn.citations],
    }


def to_markdown(title: str, turns: Iterable[Turn]) -> str:
    """Text of documents is escaped: it shows as it stands, and nothing in it is a link."""
    parts = [f"# {escaped(title)}"]
    for turn in turns:
        parts.append(f"## {escaped(turn.question)}")
        parts += [escaped(line) for line in turn.answer.split("\n") if line.strip()]
        parts += [_remark(turn)] * bool(_remark(turn))
        parts += [
            f"- \\[{c.mark}\\] {escaped(citation_name(c))}: {escaped(c.quote)}"
            for c in turn.citations
        ]
    return "\n\n".join(parts) + "\n"


def to_html(title: str, turns: Iterable[Turn]) -> str:
    """One file that loads nothing and runs nothing."""
    parts = [f"<h1>{html.escape(title)}</h1>"]
    for turn in turns:
        parts.append(f"<h2>{html.escape(turn.question)}</h2><p>{html.escape(turn.answer)}</p>")
        if remark := _remark(turn):
            parts.append(f"<p><small>{html.escape(remark)}</small></p>")
        parts += [
            f"<blockquote>[{c.mark}] {html.escape(c.quote)}<br>"
            f"<small>{html.escape(citation_name(c))}</small></blockquote>"
            for c in turn.citations
        ]
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style>"
    )
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>'


def _remark(turn: Turn) -> str:
    sure = sureness(turn.confidence if turn.citations else None, turn.reason is not None)
    return "; ".join(filter(None, (sure, "stopped before it was finished" * turn.stopped)))
