"""Does the decoder find the answer in what it is given, and know when there is none?

    question + its own context or passages -> the best span, its sentence, a confidence -> metrics

Beside it, as a yardstick, the sentence that shares the rarest words with the question: a decoder
that quotes the right sentence less often than that is of no use.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ragformer.answer.confidence import FEATURES, Confidence, features
from ragformer.answer.evidence import evidence
from ragformer.answer.freely import write_freely
from ragformer.answer.reader import Reader, load_decoder
from ragformer.answer.rerank import prior_of
from ragformer.errors import InputError
from ragformer.eval.cases import ReadingCase, held_out_cases, read_reading, sample
from ragformer.eval.metrics import Metric
from ragformer.eval.neighbours import Neighbours, with_neighbours
from ragformer.eval.reading_metrics import Row, reading_metrics
from ragformer.eval.result import make_result
from ragformer.text.overlap import overlap, question_stems
from ragformer.text.sentences import sentence_spans

ODDS = Confidence(bias=0.0, weights=(1.0, *(0.0,) * (len(FEATURES) - 1)), threshold=0.5)
"""For a decoder without a confidence.json: its own odds of the best answer against none."""

NOTHING = features(margin=-math.inf, likelihood=-math.inf, share=0.0, around=0.0, passages=1)
"""The features where there was nothing to copy."""

LONGEST_SOURCE = 700
"""Tokens: a longer source is read in pieces, as the reader leaves out what has no room."""


@dataclass(frozen=True, slots=True)
class Way:
    """How the questions of a file are read.

    among: passages to read in place of the question's own; None leaves those as they are in the
    file. held_out: only questions that training leaves out, where the file is one of the training
    data.
    """

    among: Neighbours | None = None
    held_out: bool = False


def run(
    paths: Sequence[Path],
    limit: int | None = None,
    seed: int = 0,
    decoder: Path | None = None,
    threshold: float | None = None,
    ways: Sequence[Way] = (Way(),),
    free: bool = False,
) -> dict[str, Any]:
    """Measure reading on reading files; of several, or several ways, each metric is told of each.

    limit: questions of each file. decoder: its folder, None for the one in the box. threshold: the
    confidence from which on an answer counts as given; None for the one stored with the decoder.
    free: see Reader; the quoted sentence and the confidence are those of the copied answer.
    """
    reader = load_decoder(decoder, free=free)
    if threshold is None:
        threshold = (reader.confidence or ODDS).threshold
    metrics: dict[str, Metric] = {}
    n = 0
    for path in paths:
        everything = read_reading(path)
        for way in ways:
            name = [path.name.split(".")[0]] if len(paths) > 1 else []
            name += [str(way.among.n)] if len(ways) > 1 and way.among else []
            rows = read_cases(_cases(path, everything, way, limit, seed), reader)
            found = reading_metrics(rows, threshold, seed)
            metrics |= {"/".join([*name, key]): metric for key, metric in found.items()}
            n += len(rows)
    return make_result("reading", n, metrics, {"decoder": reader.id})


def _cases(
    path: Path, everything: Sequence[ReadingCase], way: Way, limit: int | None, seed: int
) -> list[ReadingCase]:
    cases = sample(held_out_cases(everything) if way.held_out else everything, limit, seed)
    if not cases:
        raise InputError(f"{path} holds no question; check the file")
    return cases if way.among is None else with_neighbours(cases, everything, way.among)


def read_cases(cases: Sequence[ReadingCase], reader: Reader) -> list[Row]:
    """Every question read with its sources, answered whatever the confidence."""
    return [_read_case(case, reader) for case in cases]


def _read_case(case: ReadingCase, reader: Reader) -> Row:
    parts = [
        (index, piece)
        for index, source in enumerate(case.sources)
        for piece in pieces(*source, reader)
    ]
    passages = [piece for _, piece in parts]
    prior = prior_of(case.scores[index] for index, _ in parts if case.scores)
    started = time.perf_counter()
    prompt = reader.open(case.question, passages)
    read = reader.find(prompt, prior)
    written = write_freely(reader, prompt, prior) if reader.free else ""
    seconds = time.perf_counter() - started
    yardstick = overlap_sentence(case.question, passages, reader)
    if not read.candidates:
        return Row(case, written, "", -1, yardstick, NOTHING, 0.0, read.n_tokens, seconds)
    best = read.candidates[0]
    index, (_, text) = parts[best.passage]
    values = evidence(case.question, read, passages, reader)
    return Row(
        case,
        written or text[best.start : best.end],
        sentence_around(text, best.start, best.end),
        index,
        yardstick,
        values,
        (reader.confidence or ODDS)(values),
        read.n_tokens,
        seconds,
    )


def pieces(title: str, text: str, reader: Reader) -> list[tuple[str, str]]:
    """The source whole, or in pieces of whole sentences that each have room in the prompt."""
    count = reader.tokenizer.count
    if count(text) <= LONGEST_SOURCE:
        return [(title, text)]
    parts: list[tuple[int, int]] = []
    size = 0
    for start, end in sentence_spans(text):
        n_tokens = count(text[start:end])
        if parts and size + n_tokens <= LONGEST_SOURCE:
            parts[-1], size = (parts[-1][0], end), size + n_tokens
        else:
            parts.append((start, end))
            size = n_tokens
    return [(title, text[start:end]) for start, end in parts]


def sentence_around(text: str, start: int, end: int) -> str:
    """The sentences that share a character with start..end, from the first's start to the last's
    end."""
    touched = [(a, b) for a, b in sentence_spans(text) if a < end and start < b]
    return text[touched[0][0] : touched[-1][1]] if touched else text[start:end]


def overlap_sentence(question: str, sources: Sequence[tuple[str, str]], reader: Reader) -> str:
    """The sentence that holds the most rarity of the question's words; ties: the first."""
    stems = question_stems(question, reader.rarity)
    scored = [
        (score, text[start:end])
        for _, text in sources
        for start, end, score in overlap(stems, text).sentences
    ]
    return max(scored, key=lambda pair: pair[0], default=(0.0, ""))[1]
