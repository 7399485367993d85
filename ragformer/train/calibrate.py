"""Fit the confidence to a collection: questions made of its own text, really searched and read.

    chunks -> questions -> half of them asked without the document they are of -> read
    -> one half fits the confidence, the other chooses the threshold and fills the table

Known: a made question shares more words with its sentence than a person's does, so the fit is held
near the decoder's own confidence, which was fitted on people's questions.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ragformer.answer.confidence import OWN_CONFIDENCE, Confidence, own_confidence
from ragformer.answer.reader import Reader, load_decoder
from ragformer.answer.rerank import RERANKED, rerank, search_score
from ragformer.cluster.opening import open_index
from ragformer.errors import InputError, WeightsError
from ragformer.eval.calibrate import Point, choose, choose_by_error, fit, sweep
from ragformer.eval.cases import ReadingCase
from ragformer.eval.metrics import Bools, Floats, expected_calibration_error
from ragformer.eval.reading import ODDS, read_cases
from ragformer.eval.reading_metrics import Row
from ragformer.library import Library, open_library
from ragformer.retrieve.retrieve import retrieve
from ragformer.store.files import disk_error
from ragformer.store.rows import context_line
from ragformer.text.sentences import sentence_spans
from ragformer.train.reading_data import cloze_example
from ragformer.types import Document, Passage

FEWEST_QUESTIONS = 40
MOST_WORDS = 10
"""Of a made question beyond its first: about as many as people ask in."""
RIDGE = 5.0
"""How firmly the fit is held to the decoder's own confidence: as some 20 questions would."""
COVERAGES = (0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True, slots=True)
class Config:
    """collection, home: as for `open_library`. error_rate: the share of given answers that may be
    wrong. questions: to make, at most."""

    collection: str | None = None
    home: Path | None = None
    error_rate: float = 0.2
    questions: int = 200
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Side:
    """A confidence on the held-out questions: a point for each of COVERAGES, and its error."""

    points: tuple[Point, ...]
    ece: float


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What came of it. chosen: what the new threshold does on the held-out half; None where no
    threshold keeps to the error rate, and then nothing was changed."""

    status: Literal["kept", "unreachable"]
    error_rate: float
    questions: int
    held_out: int
    before: Side
    after: Side
    chosen: Point | None
    seconds: float


@dataclass(frozen=True, slots=True)
class _Question:
    """A made question: the document and sentence it was made of, and the words left out."""

    text: str
    document: Document
    sentence: str
    gold: str


def main(config: Config) -> Iterator[str | Calibrated]:
    """Ask, fit, choose, write; yields lines of progress and, last, the Calibrated.

    Raises InputError where the collection gives too few questions.
    """
    started = time.monotonic()
    with open_library(config.collection, config.home) as library:
        reader = load_decoder()
        cases = list(_cases(config, library, reader))
        yield f"{len(cases)} questions made"
        rows: list[Row] = []
        for case in cases:
            rows += read_cases([case], reader)
            if len(rows) % 20 == 0:
                yield f"{len(rows)} of {len(cases)} questions read"
        fitting, held_out = rows[0::2], rows[1::2]
        fitted = fit(*_features(fitting), RIDGE, reader.confidence)
        in_use = _in_use(library, reader) or ODDS
        confidence_N, right_N, _ = _columns(held_out, fitted)
        threshold = choose_by_error(confidence_N, right_N, config.error_rate)
        chosen = None
        if threshold is not None:
            kept = dataclasses.replace(fitted, threshold=threshold)
            chosen = _point_at(held_out, kept)
            _write(library, reader, kept)
        yield Calibrated(
            "unreachable" if chosen is None else "kept",
            config.error_rate,
            len(rows),
            len(held_out),
            _side(held_out, in_use),
            _side(held_out, fitted),
            chosen,
            time.monotonic() - started,
        )


def undo(config: Config) -> bool:
    """Go back to the decoder's own confidence; False where there was nothing to undo."""
    with open_library(config.collection, config.home) as library:
        path = library.folder / OWN_CONFIDENCE
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise disk_error(library.folder, error) from error
        return True


# Questions


def _cases(config: Config, library: Library, reader: Reader) -> Iterator[ReadingCase]:
    """Made questions with the passages search finds: every second pair of them is answerable, so
    that either half of the rows holds as many of both."""
    store, encoder = library.store, library.encoder
    documents = [d for d in store.documents() if d.language in ("", "en")]
    if len(documents) < 2:
        raise InputError(
            f"collection {library.name} has {len(documents)} documents in English and it takes 2 or"
            " more, as questions are asked with and without the document they are of; index more"
        )
    index = open_index(store, encoder.id)
    everywhere = {document.id for document in documents}
    n, k = 0, library.settings.k
    for question in _questions(library, everywhere, config):
        answerable = n % 4 < 2
        within = everywhere if answerable else everywhere - {question.document.id}
        found = retrieve(store, index, encoder, question.text, max(k, RERANKED), within)
        passages = rerank(reader, question.text, found)[:k]
        if answerable or not _says(passages, question.sentence):
            n += 1
            yield _case(str(n), question, passages, answerable)
        if n == config.questions:
            return
    if n < FEWEST_QUESTIONS:
        raise InputError(
            f"the text of collection {library.name} gives {n} questions and it takes "
            f"{FEWEST_QUESTIONS} or more; index more documents first"
        )


def _questions(library: Library, documents: set[str], config: Config) -> Iterator[_Question]:
    """At most one question a chunk, the chunks in a random order."""
    rng = random.Random(config.seed)
    ids = library.store.chunk_ids(documents).tolist()
    rng.shuffle(ids)
    for start in range(0, len(ids), 100):
        for passage in library.store.passages([(key, 0.0) for key in ids[start : start + 100]]):
            made = cloze_example("", passage.text, rng, keep_sentence=1.0)
            if made is None or made.answer is None:
                continue
            _, low, high = made.answer
            sentence = _sentence_at(passage.text, low)
            gold = passage.text[low:high]
            yield _Question(_shortened(made.question, rng), passage.document, sentence, gold)


def _sentence_at(text: str, place: int) -> str:
    return next(text[a:b] for a, b in sentence_spans(text) if a <= place < b)


def _shortened(question: str, rng: random.Random) -> str:
    """The question with at most MOST_WORDS of its words behind the first, in their order."""
    first, *words = question.rstrip("?").split()
    if len(words) > MOST_WORDS:
        words = [words[at] for at in sorted(rng.sample(range(len(words)), MOST_WORDS))]
    return " ".join([first, *words]) + "?"


def _says(passages: Sequence[Passage], sentence: str) -> bool:
    """Whether a passage of another document says the very sentence: then it answers as well."""
    flat = " ".join(sentence.split())
    return any(flat in " ".join(passage.text.split()) for passage in passages)


def _case(
    key: str, question: _Question, passages: Sequence[Passage], answerable: bool
) -> ReadingCase:
    """As the decoder reads it; answerable even where search misses the document it is of."""
    sources = tuple((context_line(p.document.title, p.heading_path), p.text) for p in passages)
    own = tuple(i for i, p in enumerate(passages) if p.document.id == question.document.id)
    golds, scores = (question.gold,) if answerable else (), tuple(map(search_score, passages))
    return ReadingCase(key, question.text, sources, golds, own, scores)


# Fitting


def _features(rows: Sequence[Row]) -> tuple[list[tuple[float, ...]], Bools]:
    return [row.features for row in rows], np.array([row.right for row in rows], dtype=np.bool_)


def _columns(rows: Sequence[Row], confidence: Confidence) -> tuple[Floats, Bools, Bools]:
    """confidence, right, answerable."""
    features, right_N = _features(rows)
    answerable_N = np.array([row.case.answerable for row in rows], dtype=np.bool_)
    return np.array([confidence(values) for values in features]), right_N, answerable_N


def _in_use(library: Library, reader: Reader) -> Confidence | None:
    with contextlib.suppress(WeightsError):  # a damaged one is what this run replaces
        return own_confidence(library.folder, reader.id) or reader.confidence
    return reader.confidence


def _side(rows: Sequence[Row], confidence: Confidence) -> Side:
    confidence_N, right_N, answerable_N = _columns(rows, confidence)
    points = sweep(confidence_N, right_N, answerable_N)
    error = expected_calibration_error(confidence_N, right_N)
    return Side(tuple(choose(points, coverage) for coverage in COVERAGES), error)


def _point_at(rows: Sequence[Row], confidence: Confidence) -> Point:
    points = sweep(*_columns(rows, confidence))
    return next(p for p in reversed(points) if p.threshold >= confidence.threshold)


def _write(library: Library, reader: Reader, confidence: Confidence) -> None:
    """Put it in the collection's folder, whole or not at all, and for its owner alone."""
    path = library.folder / OWN_CONFIDENCE
    aside = path.with_name(path.name + ".new")
    values = json.loads(confidence.to_json()) | {"decoder": reader.id}
    try:
        with contextlib.suppress(FileNotFoundError):
            aside.unlink()
        with os.fdopen(os.open(aside, os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
            file.write(json.dumps(values, indent=2) + "\n")
        aside.replace(path)
    except OSError as error:
        raise disk_error(library.folder, error) from error
