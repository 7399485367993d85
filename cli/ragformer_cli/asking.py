"""Questions: ask, search, chat."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from ragformer import forms
from ragformer.errors import InputError, NotFoundError, ServerError, StoreError
from ragformer_cli.documents import troubles
from ragformer_cli.terminal import (
    backend_options,
    chosen_backend,
    collection_option,
    follow,
    is_terminal,
    json_option,
    k_option,
    say,
    say_json,
    short_path,
    warn,
    within_option,
)

if TYPE_CHECKING:
    from ragformer.library import Library
    from ragformer.types import Answer, Passage

ABSTAINED = 3
_COMMAND = re.compile("/[a-z]+")
# An answer whose reader has gone, as after `| head -1`, is finished and kept like any other.
_unread = suppress(BrokenPipeError)
_BATCH_HELP = 'Questions, one a line, or JSONL {"id", "question", "in"}; - is stdin.'
_batch_option = click.option(
    "--batch", type=click.File("rb"), metavar="FILE", help=f"{_BATCH_HELP} Prints JSON lines."
)
_decoding_option = click.option(
    "--decoding",
    type=click.Choice(["span", "free"]),
    help="The short answer: copied from one place, or in the decoder's words.  [default: span]",
)


@click.command()
@click.argument("question", required=False)
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="[PATH...]")
@within_option
@k_option("Passages to answer from.")
@backend_options
@_decoding_option
@click.option("--no-stream", is_flag=True, help="Print the answer when it is whole.")
@_batch_option
@collection_option
@json_option
@click.pass_context
def ask(
    context: click.Context,
    question: str | None,
    paths: tuple[Path, ...],
    within: tuple[str, ...],
    k: int | None,
    backend: str | None,
    model: str | None,
    decoding: str | None,
    no_stream: bool,
    batch: IO[bytes] | None,
    collection: str | None,
    as_json: bool,
) -> None:
    """Answer QUESTION from the documents, with quotes from their pages.

    With PATH, what is new there is indexed first and only those files are asked. QUESTION may be
    - for stdin. The exit code is 3 when the documents do not hold the answer.

    \b
    Examples:
      ragformer ask "What is the deposit?" lease.pdf --json
      ragformer ask --batch questions.txt --json > answers.jsonl
    """
    from ragformer.library import open_library

    if batch is not None and question is not None:
        paths = (Path(question), *paths)  # there is no QUESTION: its place holds a path
    with open_library(collection, None, chosen_backend(backend, model), decoding) as library:
        scope = _scope(library, paths, within)
        if batch is not None:
            _each_line(batch, lambda line: _answer_line(library, line, k, scope))
            return
        answer = _ask(library, _question(question), k, scope, as_json or no_stream, as_json)
        if as_json:
            with _unread:
                say_json(forms.answer_form(library.store, answer))
        _save(library, answer)
    if answer.abstained:
        context.exit(ABSTAINED)


@click.command()
@click.argument("words", nargs=-1, metavar="WORDS")
@within_option
@k_option("How many passages to print.")
@_batch_option
@collection_option
@json_option
def search(
    words: tuple[str, ...],
    within: tuple[str, ...],
    k: int | None,
    batch: IO[bytes] | None,
    collection: str | None,
    as_json: bool,
) -> None:
    """Print the passages that fit WORDS best, without answering.

    \b
    Examples:
      ragformer search late payment interest
      ragformer search "notice period" --in "contracts/*.pdf" -k 3 --json
    """
    from ragformer.library import open_library

    with open_library(collection) as library:
        if batch is not None:
            _each_line(batch, lambda line: _hits_line(library, line, k, within or None))
            return
        question = _question(" ".join(words) if words else None, "WORDS")
        passages = library.search(question, k, within or None)
        for line in _missing(library):
            warn(line)
        if as_json:
            say_json(forms.hit_forms(library.store, passages))
            return
        for rank, passage in enumerate(passages, start=1):
            say(f"{rank}. {_place(library, passage)}\n{_indented(passage.text)}\n")
    if not passages:
        warn("nothing found")


@click.command()
@within_option
@k_option("Passages to answer from.")
@backend_options
@_decoding_option
@collection_option
def chat(
    within: tuple[str, ...],
    k: int | None,
    backend: str | None,
    model: str | None,
    decoding: str | None,
    collection: str | None,
) -> None:
    """Ask question after question; "and how long is it?" is asked of what was answered before.

    /sources shows the passages of the last answer, /quit or the end of input leaves.
    """
    from ragformer.library import open_library

    last: Answer | None = None
    number: int | None = None
    saved = True
    with open_library(collection, None, chosen_backend(backend, model), decoding) as library:
        _ = library.store  # a collection that is not there is said before the first question
        for line in _prompts():
            if line == "/quit":
                break
            if line == "/sources":
                for passage in last.passages if last else ():
                    say(f"{_place(library, passage)}\n{_indented(passage.text)}\n")
                continue
            if _COMMAND.fullmatch(line):
                warn(f"{line} is no command; /sources shows passages, /quit leaves")
                continue
            try:
                last = _ask(library, line, k, within or None, last=last)
            except (InputError, NotFoundError, ServerError) as error:
                warn(str(error))
                continue
            if saved:
                number = _save(library, last, number)
                saved = number is not None
            say()


def _prompts() -> Iterator[str]:
    """What the user types, line by line, until the end of input; blank lines are left out."""
    while True:
        if is_terminal(sys.stdin):
            click.echo("> ", nl=False, err=True)
        line = sys.stdin.readline()
        if not line:
            return
        if line.strip():
            yield line.strip()


def _question(given: str | None, name: str = "QUESTION") -> str:
    if given is None:
        raise click.UsageError(f"Missing argument '{name}'.")
    return sys.stdin.read() if given == "-" else given


def _scope(
    library: Library, paths: Sequence[Path], within: Sequence[str]
) -> Sequence[str | Path] | None:
    """What to look in: the paths, indexed first, or what `--in` names; None for everything."""
    if not paths:
        return within or None
    if within:
        raise click.UsageError("give PATH or --in, not both")
    report = follow(library.index(paths))
    for line in troubles(report):
        warn(line)
    if all(outcome.status == "failed" for outcome in report.files):
        names = ", ".join(short_path(outcome.path) for outcome in report.files)
        raise InputError(f"none of the files given could be read: {names}")
    return tuple(path.absolute() for path in paths)


def _ask(
    library: Library,
    question: str,
    k: int | None,
    within: Sequence[str | Path] | None,
    whole: bool = False,
    silent: bool = False,
    last: Answer | None = None,
) -> Answer:
    """Ask, printing the answer as it is written (or when it is `whole`) unless `silent`."""
    from ragformer.types import Answer

    for piece in library.stream(question, k, within, last):
        if isinstance(piece, Answer):
            if not silent:
                with _unread:
                    say(piece.text if whole else "")
                if piece.note:
                    warn(piece.note)
            return piece
        if not whole:
            with _unread:
                say(piece, end="")
    raise AssertionError("the stream ended without an Answer")


def _save(library: Library, answer: Answer, chat_number: int | None = None) -> int | None:
    """Keep the turn and return its chat's number; where that is not possible say so."""
    if not library.exists:
        return None
    try:
        return library.chats.add(answer, chat_number)
    except StoreError as error:
        warn(f"the chat is not saved: {error}")
        return None


def _place(library: Library, passage: Passage) -> str:
    page = library.store.page(passage.document.id, passage.spans[0].page)
    return f"{short_path(passage.document.path)}, page {page.label}"


def _indented(text: str) -> str:
    return "\n".join(f"   {line}" for line in text.splitlines())


# Batches


@dataclass(frozen=True, slots=True)
class _Line:
    """One question of a batch; `within` overrides the command's."""

    id: object
    question: str
    within: tuple[str, ...] | None


def _each_line(lines: IO[bytes], answer: Callable[[_Line], forms.Form]) -> None:
    """Print one JSON object a line, in order; raises InputError at the end if any failed."""
    total, failed = 0, 0
    for number, raw in enumerate(lines, start=1):
        if not raw.strip():
            continue
        total += 1
        line: _Line | None = None
        try:
            line = _parse(raw, number)
            say_json(answer(line))
        except (InputError, NotFoundError, ServerError) as error:
            failed += 1
            question = line.question if line else raw.decode("utf-8", "replace").strip()
            say_json({"id": line.id if line else None, "question": question, "error": str(error)})
    if failed:
        raise InputError(f'{failed} of {total} lines could not be used; see their "error"')


def _parse(raw: bytes, number: int) -> _Line:
    """A line of plain text, or a JSON object if it begins with a brace."""
    text = raw.decode("utf-8-sig", "replace").strip()
    if not text.startswith("{"):
        return _Line(None, text, None)
    try:
        values = json.loads(text)
        json.dumps(values.get("id"), allow_nan=False)  # it is printed again
    except (ValueError, RecursionError) as error:
        raise InputError(f"line {number} is not JSON: {error}") from error
    question, within = values.get("question"), values.get("in")
    if not isinstance(question, str):
        raise InputError(f'line {number} has no "question" that is a text')
    within = [within] if isinstance(within, str) else within
    if within is None:
        return _Line(values.get("id"), question, None)
    if not (isinstance(within, list) and within and all(isinstance(item, str) for item in within)):
        raise InputError(f'"in" of line {number} is neither a text nor a list of one or more')
    return _Line(values.get("id"), question, tuple(within))


def _answer_line(
    library: Library, line: _Line, k: int | None, within: Sequence[str | Path] | None
) -> forms.Form:
    answer = library.ask(line.question, k, line.within or within)
    return forms.answer_form(library.store, answer, line.id)


def _hits_line(
    library: Library, line: _Line, k: int | None, within: Sequence[str | Path] | None
) -> forms.Form:
    passages = library.search(line.question, k, line.within or within)
    hits = forms.hit_forms(library.store, passages)
    form = {"id": line.id, "question": line.question, "hits": hits}
    lost = _missing(library)
    return {**form, "missing": list(lost)} if lost else form


def _missing(library: Library) -> tuple[str, ...]:
    """The shards that could not be asked."""
    from ragformer.cluster.opening import missing

    return missing(library.store)


COMMANDS: tuple[click.Command, ...] = (ask, search, chat)
