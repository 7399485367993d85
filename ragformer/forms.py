"""The JSON that commands print and the service sends: stable forms, one function each.

Paths are absolute. Pages count from 1; offsets are code points in the page's text; boxes are PDF
points with the origin at the top left.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ragformer.errors import NotFoundError

if TYPE_CHECKING:
    from ragformer.answer.summarize import Summary
    from ragformer.eval.calibrate import Point
    from ragformer.lessons.lesson import Result
    from ragformer.store.listing import CollectionInfo
    from ragformer.store.store import Store
    from ragformer.train.adapt import Adapted
    from ragformer.train.calibrate import Calibrated
    from ragformer.types import (
        Answer,
        Document,
        FileOutcome,
        OutlineItem,
        Page,
        Passage,
        Report,
    )

Form = dict[str, Any]
STATUSES = ("text", "ocr", "empty", "failed")


def report_form(report: Report) -> Form:
    files = [outcome_form(outcome) for outcome in report.files]
    return {"files": files, "seconds": round(report.seconds, 3)}


def outcome_form(outcome: FileOutcome) -> Form:
    return {
        "path": str(outcome.path),
        "document_id": outcome.document_id,
        "status": outcome.status,
        "reason": outcome.reason,
        "pages": outcome.pages,
        "unread_pages": list(outcome.unread_pages),
        "moved_from": None if outcome.moved_from is None else str(outcome.moved_from),
        "ocr_pages": outcome.ocr_pages,
    }


def file_forms(document: Document) -> list[Form]:
    """One object for each path of a document."""
    counts = {status: document.status_counts.get(status, 0) for status in STATUSES}
    return [
        {
            "path": str(path),
            "document_id": document.id,
            "title": document.title,
            "status": "indexed",
            "reason": "",
            "pages": document.n_pages,
            "page_counts": counts,
            "unread_pages": list(document.unread_pages),
            "language": document.language,
            "added_at": document.added_at.isoformat(),
        }
        for path in document.paths
    ]


def failure_form(outcome: FileOutcome) -> Form:
    """A file that could not be read, with the fields of `file_forms`."""
    return {
        "path": str(outcome.path),
        "document_id": None,
        "title": "",
        "status": "failed",
        "reason": outcome.reason,
        "pages": 0,
        "page_counts": dict.fromkeys(STATUSES, 0),
        "unread_pages": [],
        "language": "",
        "added_at": None,
    }


def document_form(document: Document, outline: Iterable[OutlineItem]) -> Form:
    form = file_forms(document)[0]
    form["paths"] = [str(path) for path in document.paths]
    form["outline"] = [
        {"level": item.level, "title": item.title, "page": item.page} for item in outline
    ]
    return form


def page_form(document: Document, page: Page) -> Form:
    from ragformer.answer.cite import box_form

    return {
        "path": str(document.path),
        "document_id": document.id,
        "title": document.title,
        "page": page.number,
        "page_label": page.label,
        "status": page.status,
        "reason": page.reason,
        "text": page.text,
        "words": [
            {"start": word.start, "end": word.end, "box": box_form(word.box)} for word in page.words
        ],
    }


def hit_forms(store: Store, passages: Sequence[Passage]) -> list[Form]:
    """One object for each passage; a rank is left out where the document was removed since."""
    hits = []
    for rank, passage in enumerate(passages, start=1):
        with suppress(NotFoundError):
            hits.append(_hit_form(store, rank, passage))
    return hits


def _hit_form(store: Store, rank: int, passage: Passage) -> Form:
    from ragformer.answer.cite import box_form, passage_boxes

    first = store.page(passage.document.id, passage.spans[0].page)
    return {
        "rank": rank,
        "score": round(passage.score, 6),
        "path": str(passage.document.path),
        "document_id": passage.document.id,
        "title": passage.document.title,
        "page": first.number,
        "page_label": first.label,
        "text": passage.text,
        "spans": [{"page": s.page, "start": s.start, "end": s.end} for s in passage.spans],
        "boxes": [
            {"page": page, "box": box_form(box)} for page, box in passage_boxes(store, passage)
        ],
    }


def answer_form(store: Store, answer: Answer, line_id: object = None) -> Form:
    from ragformer.answer.cite import citation_form

    return {
        "id": line_id,
        "question": answer.question,
        "answer": answer.text,
        "abstained": answer.abstained,
        "reason": answer.reason,
        "confidence": None if answer.confidence is None else round(answer.confidence, 4),
        "citations": [citation_form(citation) for citation in answer.citations],
        "passages": hit_forms(store, answer.passages),
        "backend": answer.backend,
        "model": answer.model,
        "usage": answer.usage,
        "searched_as": answer.searched_as,
        "note": answer.note,
        "dropped": {name: answer.dropped.get(name, 0) for name in ("marks", "quotes")},
    }


def summary_form(summary: Summary, written: Form | None) -> Form:
    """written: by `answer_form`, what a remote model wrote, if one was asked."""
    from ragformer.answer.cite import citation_form

    document = summary.document
    return {
        "path": str(document.path),
        "document_id": document.id,
        "title": document.title,
        "pages": document.n_pages,
        "sentences": [
            {"heading_path": list(said.heading_path)} | citation_form(said.citation)
            for said in summary.sentences
        ],
        "unread_pages": list(document.unread_pages),
        "written": written,
    }


def collection_form(info: CollectionInfo) -> Form:
    return {
        "name": info.name,
        "path": str(info.folder),
        "documents": info.documents,
        "failed": info.failed,
        "pages": info.pages,
        "chunks": info.chunks,
        "fault": info.fault,
    }


def adapted_form(adapted: Adapted) -> Form:
    return {
        "status": adapted.status,
        "encoder": adapted.encoder_id,
        "chunks": adapted.chunks,
        "questions": adapted.questions,
        "before": {name: round(value, 4) for name, value in adapted.before.items()},
        "after": {name: round(value, 4) for name, value in adapted.after.items()},
        "seconds": round(adapted.seconds, 3),
    }


def calibrated_form(calibrated: Calibrated) -> Form:
    def point(at: Point | None) -> Form | None:
        return None if at is None else dataclasses.asdict(at)

    sides = {"before": calibrated.before, "after": calibrated.after}
    return {
        "status": calibrated.status,
        "error_rate": calibrated.error_rate,
        "questions": calibrated.questions,
        "held_out": calibrated.held_out,
        **{
            name: {"points": [point(at) for at in side.points], "ece": side.ece}
            for name, side in sides.items()
        },
        "chosen": point(calibrated.chosen),
        "seconds": round(calibrated.seconds, 3),
    }


def lesson_form(result: Result) -> Form:
    outcome = result.outcome
    return {
        "lesson": result.lesson,
        "figure": outcome.figure,
        "value": outcome.value,
        "target": outcome.target,
        "at_most": outcome.at_most,
        "reached": outcome.reached,
        "seconds": round(result.seconds, 1),
        "cpu_seconds": round(result.cpu_seconds, 1),
        "peak_bytes": result.peak_bytes,
        "files": [str(path.absolute()) for path in outcome.files],
    }
