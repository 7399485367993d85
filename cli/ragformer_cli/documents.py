"""What is in a collection: index, list, show, rm, collections."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ragformer import forms
from ragformer_cli.terminal import (
    collection_option,
    follow,
    follow_in_turn,
    json_option,
    one_line,
    read_password,
    safe,
    say,
    say_json,
    short_path,
    warn,
)

if TYPE_CHECKING:
    from ragformer.library import Library
    from ragformer.types import Document, FileOutcome, OnRay, Page, Report


LISTED_PAGES = 12  # numbers of unread pages spelled out in a human report
LISTED_FILES = 5  # names of files in another language than English


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="PATH...")
@click.option("--prune", is_flag=True, help="Forget files below PATH that are gone or ignored.")
@click.option("--reembed", is_flag=True, help="Make all vectors anew, with the encoder there is.")
@click.option("--rechunk", is_flag=True, help="Cut the stored pages into passages anew.")
@click.option("--watch", "follows", is_flag=True, help="Then follow every change; Ctrl-C stops.")
@click.option("--ocr", is_flag=True, help="Read pages without text with Tesseract.")
@click.option("--ocr-language", default="eng", show_default=True, metavar="LANG[+LANG]")
@click.option("--progress", is_flag=True, help="Print its steps as JSON lines on stderr.")
@click.option("--wait", "waits", is_flag=True, help="While another process indexes, wait.")
@click.option("--workers", type=click.IntRange(1, 64), metavar="N", help="Reading processes.")
@click.option("--password", metavar="TEXT", help="Opens encrypted files; - asks, or reads stdin.")
@click.option("--engine", type=click.Choice(["ray"]), help="Run on a Ray cluster, into shards.")
@click.option("--address", metavar="HOST:PORT", help="The cluster.  [default: one made here]")
@click.option("--shards", type=click.IntRange(1, 10_000), metavar="N", help="Of a new collection.")
@collection_option
@json_option
def index(
    paths: tuple[Path, ...],
    prune: bool,
    reembed: bool,
    rechunk: bool,
    follows: bool,
    ocr: bool,
    ocr_language: str,
    progress: bool,
    waits: bool,
    workers: int | None,
    password: str | None,
    engine: str | None,
    address: str | None,
    shards: int | None,
    collection: str | None,
    as_json: bool,
) -> None:
    """Read PDFs, or folders of them, into a collection.

    What was indexed before costs nothing; a changed file replaces what it held, a moved one keeps
    it. One bad file is reported and stops nothing. Stop it at any time: what is done stays. Hidden
    files are passed over, and what a .ragformerignore (as .gitignore) names. With --engine ray a
    PATH that ends in .txt lists the files or folders, one a line.

    \b
    Examples:
      ragformer index ~/papers
      ragformer index ~/papers --prune
      ragformer index ~/papers --watch
      ragformer index scans --ocr --ocr-language deu+eng
      ragformer index secret.pdf --password -
      ragformer index --engine ray --address 10.0.0.1:6379 --shards 64 archive.txt -c archive
    """
    from ragformer.library import open_library

    if not paths and not (reembed or rechunk):
        raise click.UsageError("Missing argument 'PATH...'.")
    if follows and (reembed or rechunk):
        raise click.UsageError("--watch goes with neither --reembed nor --rechunk; run those first")
    on_ray = _where(engine, address, shards, follows)
    passwords = [] if password is None else [read_password(password)]
    langs = ocr_language if ocr else None
    how: dict[str, Any] = {"prune": prune, "passwords": passwords, "ocr": langs}
    with open_library(collection) as library:
        if follows:
            how["workers"] = workers or 0
            _follow_folders(library, paths, how, as_json, progress)
            return
        anew: dict[str, Any] = {"reembed": reembed, "rechunk": rechunk, "workers": workers}
        places = paths_in_lists(paths) if on_ray else paths
        run = partial(library.index, places, on_ray=on_ray, **how, **anew)
        report = follow_in_turn(run, progress)[0] if waits else follow(run(), progress)
    _tell(report, as_json)


def _where(
    engine: str | None, address: str | None, shards: int | None, follows: bool
) -> OnRay | None:
    """Which cluster the options name, None without --engine."""
    from ragformer.types import OnRay

    if engine is None and (address or shards):
        raise click.UsageError("--address and --shards go with --engine ray")
    if engine is not None and follows:
        raise click.UsageError("--watch goes with one store only, not with --engine ray")
    return None if engine is None else OnRay(address or "", shards)


def paths_in_lists(paths: Sequence[Path]) -> list[Path]:
    """The paths, and in place of a .txt those in it, one a line, seen from its folder."""
    found: list[Path] = []
    for path in paths:
        if path.suffix == ".txt":
            lines = path.read_bytes().splitlines()
            found += [path.parent / os.fsdecode(line) for line in lines if line.strip()]
        else:
            found.append(path)
    return found


def _tell(report: Report, as_json: bool) -> None:
    if as_json:
        say_json(forms.report_form(report))
    else:
        say(summary(report))
    for line in troubles(report):
        warn(line)


def _follow_folders(
    library: Library, paths: Sequence[Path], how: dict[str, Any], as_json: bool, progress: bool
) -> None:
    """The first run, in its turn, then a line for each change, until Ctrl-C."""
    from ragformer.types import FileOutcome
    from ragformer.watch import watch

    report, steps = follow_in_turn(lambda: watch(library, paths, **how), progress)
    _tell(report, as_json)
    warn("watching for changes; Ctrl-C stops")
    for outcome in steps:
        assert isinstance(outcome, FileOutcome)
        if as_json:
            say_json(forms.outcome_form(outcome))
        else:
            say(change_line(outcome))


def change_line(outcome: FileOutcome) -> str:
    """What happened to one file, on one line."""
    path = short_path(outcome.path)
    if outcome.moved_from is not None:
        return f"moved: {short_path(outcome.moved_from)} to {path}"
    if outcome.status == "failed":
        return f"failed: {path}: {one_line(outcome.reason)}"
    if outcome.status == "removed":
        return f"removed: {path}"
    unread = f", no text: {unread_line(outcome.unread_pages, outcome.pages)}"
    pages = f"{outcome.pages} page{'s' * (outcome.pages != 1)}"
    return f"{outcome.status}: {path}: {pages}" + unread * bool(outcome.unread_pages)


def summary(report: Report) -> str:
    """One line: how many files of each status, pages read, seconds."""
    counts: dict[str, int] = {}
    for outcome in report.files:
        status = "moved" if outcome.moved_from else outcome.status
        counts[status] = counts.get(status, 0) + 1
    parts = [f"{n} {status}" for status, n in sorted(counts.items())]
    pages = f"{report.pages_read:,} page{'s' * (report.pages_read != 1)} read"
    return ", ".join([*parts, pages]) + f" in {report.seconds:.1f} s"


def troubles(report: Report) -> list[str]:
    """A line for each file that failed or has pages without text or read by OCR, and one for other
    languages."""
    lines = []
    for outcome in report.files:
        if outcome.status == "failed":
            lines.append(f"failed: {short_path(outcome.path)}: {one_line(outcome.reason)}")
            continue
        if outcome.ocr_pages:
            read = f"{outcome.ocr_pages} of {outcome.pages} pages"
            lines.append(f"read by OCR: {short_path(outcome.path)}: {read}")
        if outcome.unread_pages:
            unread = unread_line(outcome.unread_pages, outcome.pages)
            lines.append(f"no text: {short_path(outcome.path)}: {unread}")
    foreign = [outcome for outcome in report.files if outcome.language not in ("", "en")]
    if foreign:
        names = [f"{short_path(o.path)} ({o.language})" for o in foreign[:LISTED_FILES]]
        names += [f"{len(foreign) - LISTED_FILES} more"] * (len(foreign) > LISTED_FILES)
        lines.append(f"not English, so search by meaning is weak: {', '.join(names)}")
    return lines


def unread_line(numbers: Sequence[int], n_pages: int) -> str:
    if len(numbers) == n_pages:
        return f"all {n_pages} pages" if n_pages > 1 else "its only page"
    shown = ", ".join(map(str, numbers[:LISTED_PAGES]))
    more = f" and {len(numbers) - LISTED_PAGES} more" if len(numbers) > LISTED_PAGES else ""
    return f"{len(numbers)} of {n_pages} pages: {shown}{more}"


@click.command("list")
@collection_option
@json_option
def list_files(collection: str | None, as_json: bool) -> None:
    """List the files of a collection, those that could not be read included.

    \b
    Example:
      ragformer list --json
    """
    from ragformer.cluster.opening import missing
    from ragformer.library import open_library

    with open_library(collection) as library:
        documents, failures = library.store.documents(), library.store.failures()
        for line in missing(library.store):
            warn(line)
    rows = [form for document in documents for form in forms.file_forms(document)]
    rows += [forms.failure_form(outcome) for outcome in failures]
    rows.sort(key=lambda row: str(row["path"]))
    if as_json:
        say_json(rows)
        return
    for row in rows:
        say(f"{short_path(Path(row['path']))}: {file_line(row)}")
    if not rows:
        warn("nothing is indexed yet; start with `ragformer index PATH`")


def file_line(row: forms.Form) -> str:
    if row["status"] == "failed":
        return f"failed: {one_line(row['reason'])}"
    unread = len(row["unread_pages"])
    parts = [f"{row['pages']} page{'s' * (row['pages'] != 1)}"]
    said = "none with text" if unread == row["pages"] else f"{unread} without text"
    parts += [said] * bool(unread)
    parts += [f"{row['page_counts']['ocr']} read by OCR"] * bool(row["page_counts"]["ocr"])
    parts += [f"in {row['language']}, search by meaning is weak"] * (
        row["language"] not in ("", "en")
    )
    return ", ".join(parts)


@click.command()
@click.argument("name", metavar="DOC[:PAGE]")
@collection_option
@json_option
def show(name: str, collection: str | None, as_json: bool) -> None:
    """Show a document, or one page's text as it was read.

    DOC is a path, its last parts, or the start of the document's id; PAGE counts from 1.

    \b
    Examples:
      ragformer show manual.pdf
      ragformer show manual.pdf:12 --json
    """
    from ragformer.library import open_library

    with open_library(collection) as library:
        document, number = _find_page(library, name)
        if number is not None:
            _show_page(document, library.store.page(document.id, number), as_json)
            return
        form = forms.document_form(document, library.store.outline(document.id))
    if as_json:
        say_json(form)
        return
    say(f"{form['title']}\n{file_line(form)}\nid {document.id[:12]}")
    for path in document.paths:
        say(short_path(path))
    for item in form["outline"]:
        say(f"{'  ' * (item['level'] + 1)}{item['title']}  {item['page']}")


def _find_page(library: Library, name: str) -> tuple[Document, int | None]:
    """The document and page meant; a name that ends in :3 is tried as a whole name first."""
    from ragformer.errors import NotFoundError

    try:
        return library.document(name), None
    except NotFoundError:
        front, colon, number = name.rpartition(":")
        if not (front and colon and number.isascii() and number.isdigit()):
            raise
        return library.document(front), int(number[:9])


def _show_page(document: Document, page: Page, as_json: bool) -> None:
    if as_json:
        say_json(forms.page_form(document, page))
    elif page.text:
        say(page.text)
    else:
        warn(f"page {page.number} of {short_path(document.path)} has no text ({page.status})")


@click.command()
@click.argument("name", metavar="DOC")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--chats", is_flag=True, expose_value=False, help="Its chats too, as always.")
@collection_option
@click.pass_context
def rm(context: click.Context, name: str, yes: bool, collection: str | None) -> None:
    """Remove a document from a collection, with all that was made from it.

    Its words, its vectors and the chats drawn from it go; the file itself stays where it is.

    \b
    Example:
      ragformer rm old-lease.pdf
    """
    from ragformer.errors import NotFoundError
    from ragformer.library import open_library

    with open_library(collection) as library:
        try:
            document = library.document(name)
        except NotFoundError:
            if not _forget_failure(library, name):
                raise
            return
        where = ", ".join(short_path(path) for path in document.paths)
        asked = f"Remove {document.title} ({where}) from the collection?"
        if not (yes or _agreed(asked)):
            context.exit(1)
        library.remove(document.id)
    say(f"removed {where}")


def _agreed(asked: str) -> bool:
    """The user's yes; anything else is said to have removed nothing."""
    try:
        if click.confirm(safe(asked, sys.stderr), err=True):
            return True
        warn("nothing was removed")
    except click.Abort as abort:
        if not isinstance(abort.__context__, EOFError):
            raise  # Ctrl-C
        warn("\nnobody answered, so nothing was removed; to remove without being asked use --yes")
    return False


def _forget_failure(library: Library, name: str) -> bool:
    """Forget the failed file of that path or name; False if there is none."""
    from ragformer.store.within import match_paths

    failed = match_paths((outcome.path for outcome in library.store.failures()), [name])
    if len(failed) != 1:
        return False
    (path,) = failed
    library.forget_failure(path)
    say(f"removed {short_path(path)}")
    return True


@click.command("collections")
@json_option
def list_collections(as_json: bool) -> None:
    """List the collections there are."""
    from ragformer.library import collections

    found = collections()
    if as_json:
        say_json([forms.collection_form(info) for info in found])
        return
    for info in found:
        counts = f"{info.documents} documents, {info.pages:,} pages, {info.failed} failed"
        say(f"{info.name}: {info.fault or counts}")
    if not found:
        warn("there is no collection yet; start with `ragformer index PATH`")


COMMANDS: tuple[click.Command, ...] = (index, list_files, show, rm, list_collections)
