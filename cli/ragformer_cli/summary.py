"""A document in short: summarize."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ragformer import forms
from ragformer_cli.documents import file_line, unread_line
from ragformer_cli.terminal import (
    backend_options,
    chosen_backend,
    collection_option,
    json_option,
    one_line,
    say,
    say_json,
    warn,
)

if TYPE_CHECKING:
    from ragformer.answer.summarize import Summary


@click.command()
@click.argument("name", metavar="DOC")
@click.option(
    "--sentences",
    type=click.IntRange(1, 200),
    metavar="N",
    help="How many to quote.  [default: one a section, from 5 to 12]",
)
@backend_options
@collection_option
@json_option
def summarize(
    name: str,
    sentences: int | None,
    backend: str | None,
    model: str | None,
    collection: str | None,
    as_json: bool,
) -> None:
    """Quote the central sentences of a document, from its first section to its last.

    Each is copied word for word from the page named behind it. With --backend openai the server's
    model writes a text around quotations from the same passages.

    \b
    Examples:
      ragformer summarize manual.pdf
      ragformer summarize manual.pdf --sentences 20 --json
    """
    from ragformer.library import open_library

    with open_library(collection, backend=chosen_backend(backend, model)) as library:
        summary = library.summarize(name, sentences)
        if as_json:
            said = summary.written
            form = None if said is None else forms.answer_form(library.store, said)
            say_json(forms.summary_form(summary, form))
            return
    document, written = summary.document, summary.written
    say(one_line(f"{document.title} ({file_line(forms.file_forms(document)[0])})"))
    if written is None or written.abstained:
        _say_sentences(summary)
    else:
        say(f"\n{written.text}")
    if written is not None and written.note:
        warn(written.note)
    if document.unread_pages:
        warn(f"not read: {unread_line(document.unread_pages, document.n_pages)}")


def _say_sentences(summary: Summary) -> None:
    from ragformer.answer.cite import page_name

    above: tuple[str, ...] = ()
    for said in summary.sentences:
        if said.heading_path != above:
            above = said.heading_path
            say("\n" + one_line(" › ".join(above)))
        quote, page = " ".join(said.citation.quote.split()), page_name(said.citation)
        say(f"  “{quote}” page {page}")


COMMANDS: tuple[click.Command, ...] = (summarize,)
