"""How long does a question take from search to its last word, and is its answer always the same?

all sources of a reading file -> a library of its own, thrown away -> ask, again and again

Every question is answered, whatever the confidence: a refusal writes no quote.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ragformer.bench.machine import machine, median_of
from ragformer.config import load_settings
from ragformer.errors import InputError
from ragformer.eval.cases import CorpusItem, ReadingCase, read_reading, sample
from ragformer.eval.retrieval import fill
from ragformer.library import Library
from ragformer.store.store import Store
from ragformer.types import WAITING, Answer


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """An answer, and the seconds to its first words and to its end."""

    answer: Answer
    first: float
    whole: float


def run(path: Path, limit: int = 20, repeats: int = 1, seed: int = 0) -> dict[str, Any]:
    """Ask `limit` questions of a reading file, `repeats` times, the library opened anew each time.

    Models and passages a question are those of the configuration. distinct_answers: the most that
    one question got (the first is asked twice each time). quotes_verbatim: the share of quotes that
    are the characters at their page and span.
    """
    everything = read_reading(path)
    questions = [case.question for case in sample(everything, limit, seed)]
    if not questions:
        raise InputError(f"{path} holds no question; check the file")
    with TemporaryDirectory(prefix="ragformer-bench-") as home:
        settings = dataclasses.replace(load_settings(home=home), threshold=0.0)
        models = _fill(Library(settings), everything)
        runs: list[list[Asked]] = []
        loading: list[Asked] = []
        verbatim: list[bool] = []
        for _ in range(repeats):
            with Library(settings) as library:
                loading.append(ask(library, questions[0]))  # its time is not counted
                runs.append([ask(library, question) for question in questions])
                verbatim += [v for one in runs[-1] for v in rereads(library.store, one.answer)]
    asked = [one for some in runs for one in some]
    by_question = [[some[n] for some in runs] for n in range(len(questions))]
    by_question[0] += loading
    return {
        "suite": "ask",
        "machine": machine(),
        **models,
        "n": len(questions),
        "repeats": repeats,
        "first_words_seconds": median_of([one.first for one in asked]),
        "answer_seconds": median_of([one.whole for one in asked]),
        "distinct_answers": max(map(distinct, by_question)),
        "quotes": len(verbatim),
        "quotes_verbatim": sum(verbatim) / max(1, len(verbatim)),
    }


def _fill(library: Library, cases: Sequence[ReadingCase]) -> dict[str, Any]:
    """Store every source of the cases; the names of what it was done with."""
    sources = dict.fromkeys(source for case in cases for source in case.sources)
    corpus = [CorpusItem(str(n), title, text) for n, (title, text) in enumerate(sources)]
    with library, Store.open(library.folder, create=True) as store:
        fill(store, corpus, library.encoder)
        chunks = len(store.chunk_ids())
    return {"encoder": library.encoder.id, "decoder": library.reader.id, "chunks": chunks}


def ask(library: Library, question: str) -> Asked:
    started = time.perf_counter()
    first = 0.0
    answer: Answer | None = None
    for piece in library.stream(question):
        if piece != WAITING:
            first = first or time.perf_counter() - started
        if isinstance(piece, Answer):
            answer = piece
    assert answer is not None
    return Asked(answer, first, time.perf_counter() - started)


def distinct(asked: Sequence[Asked]) -> int:
    """How many different answers there are, down to the last digit of the confidence."""
    return len({repr(dataclasses.replace(one.answer, usage={})) for one in asked})


def rereads(store: Store, answer: Answer) -> list[bool]:
    """Of each citation, whether its quote stands at its page and span and in the answer's text."""
    return [
        store.page(c.document_id, c.page).text[c.span.start : c.span.end] == c.quote
        and f"“{c.quote.replace(chr(10), ' ')}” [{c.mark}]" in answer.text
        for c in answer.citations
    ]
