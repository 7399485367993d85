"""A question among passages that do not answer it, as search would bring them.

all sources of the file -> a store of its own, words only -> the question's best matches
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ragformer.eval.cases import CorpusItem, ReadingCase
from ragformer.eval.reading_metrics import holds_gold
from ragformer.eval.retrieval import fill
from ragformer.retrieve.words import search_words
from ragformer.store.store import Store

Source = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Neighbours:
    """How many passages a question gets, and whether one of them is gold."""

    n: int
    gold: bool = True


def with_neighbours(
    cases: Sequence[ReadingCase], everything: Sequence[ReadingCase], how: Neighbours
) -> list[ReadingCase]:
    """The cases with `how.n` passages each, fewer where words find no more.

    Neighbours are what the question's words find best among the sources of `everything`, those
    left out that hold one of its golds word for word. The question's own passage stands where
    search ranks it, last when it does not. Without gold it is left out and no case is answerable;
    an unanswerable question keeps its own passage, the hardest of its neighbours, in any case.
    """
    sources = list(dict.fromkeys(source for case in everything for source in case.sources))
    corpus = [CorpusItem(str(n), title, text) for n, (title, text) in enumerate(sources)]
    with (
        TemporaryDirectory(prefix="ragformer-eval-") as folder,
        Store.open(Path(folder), create=True) as store,
    ):
        items = fill(store, corpus)
        item_of = dict(zip(store.chunk_ids().tolist(), items, strict=True))
        return [
            _among(case, _ranked(store, item_of, case.question, 4 * how.n + 20), how)
            for case in cases
        ]


def _ranked(
    store: Store, item_of: dict[int, CorpusItem], question: str, k: int
) -> Iterator[Source]:
    for key, _ in search_words(store, question, k):
        yield item_of[key].title, item_of[key].text


def _among(case: ReadingCase, ranked: Iterator[Source], how: Neighbours) -> ReadingCase:
    golds = [case.sources[index] for index in case.gold_sources]
    own = (golds or case.sources)[0]
    kept = [
        source
        for source in ranked
        if source == own or (source not in golds and not holds_gold(source[1], case.golds))
    ]
    if golds and not how.gold:
        kept = [source for source in kept if source != own][: how.n]
        return dataclasses.replace(case, sources=tuple(kept), golds=(), gold_sources=())
    if own not in kept[: how.n]:
        kept = [*[source for source in kept if source != own][: how.n - 1], own]
    kept = kept[: how.n]
    gold_sources = (kept.index(own),) if golds else ()
    return dataclasses.replace(case, sources=tuple(kept), gold_sources=gold_sources)
