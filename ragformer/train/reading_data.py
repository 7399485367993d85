"""Questions to answer from passages, as the decoder's training examples.

Given: `qa` rows, with other contexts of the same file as distractors, `instruct` rows, and
`pairs` rows, of which only the sentence or passage that answers is known (`sentence_data`).
Made: sentences of plain text turned into questions by leaving out a name or a number
(Lewis et al. 2019, arXiv:1906.04980, section 3, noisy cloze; Ram et al. 2021, arXiv:2101.00438).
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ragformer.errors import InputError
from ragformer.text.heldout import is_held_out
from ragformer.text.sentences import sentence_spans
from ragformer.train.altered import altered_question
from ragformer.train.data import jsonl_files, read_rows
from ragformer.train.examples import Example
from ragformer.train.nearest import Nearest
from ragformer.train.sentence_data import PairSource

# Share of examples a source gives; one not named here gives none.
WEIGHTS = {
    "qa/squad-train-part": 30.0,
    "qa/own-documents": 24.0,
    "qa/fairytaleqa": 6.0,
    "qa/unanswerable-mined": 6.0,
    "qa/qamr": 6.0,
    "qa/qasrl-gs": 3.0,
    "qa/bioasq": 3.0,
    "qa/contrast-sets": 4.0,
    "qa/covid-qa": 2.0,
    "qa/selqa": 2.0,
    "qa/tat-qa": 3.0,
    "qa/wikitablequestions": 3.0,
    "qa/conditionalqa": 2.0,
    "qa/narrativeqa-part": 2.0,
    "instruct/grounded-answers": 1.0,
    "instruct/pubmedqa-long": 0.5,
    "instruct/scitldr": 0.5,
    "pairs/squad-question-sentence": 14.0,
    "pairs/squad-question-sentence-lowercase": 6.0,
    "pairs/medquad": 3.0,
    "pairs/bioasq": 3.0,
    "pairs/selqa-sentences": 2.0,
}
FIELDS = {
    "qa": ("question", "context", "answers", "answerable"),
    "instruct": ("instruction", "context", "response"),
    "pairs": ("query", "positive"),
}
LONGEST_ANSWER = 160
"""Characters: a longer answer span trains nobody to answer shortly."""
SHORTEST_PASSAGE = 300

N_DISTRACTORS = {0: 40, 1: 20, 2: 15, 3: 15, 4: 10}
"""How many contexts without the answer stand beside the gold one, and how often."""
NEAREST = 16
"""Distractors are drawn evenly from so many contexts nearest to the question."""
GOLD_REMOVED = 0.15
"""Of the rows with distractors: only these are shown, and the right answer is none."""
ALTERED = 0.16
"""Of the rows with an answer: the question is changed so that the passage no longer has it."""


class Source:
    """The usable rows of one file; `example` draws one of them.

    Nothing but its words tells the gold passage from the others: all are cut to one size at any
    place, and the others are from the same ranking as the gold one. Where search would not bring
    the gold one, the others are no nearer.
    """

    def __init__(self, name: str, rows: list[dict[str, Any]], characters: int) -> None:
        self.name, self.rows, self.characters = name, rows, characters
        title_of = {row["context"]: row.get("title", "") for row in reversed(rows)}
        self._contexts = list(title_of.items())
        self._nearest = Nearest(list(title_of))
        # A question moved to a passage that cannot answer it has its own passage near to it.
        self._moved = not any(row.get("answerable", True) for row in rows)

    def example(self, rng: random.Random) -> Example:
        row = rng.choice(self.rows)
        line = row.get("title", "") if rng.random() < 0.7 else ""
        if "response" in row:
            text = row["context"][: self.characters]
            return Example(row["instruction"], ((line, text),), response=row["response"])
        span = first_span(row)
        size = int(self.characters * rng.uniform(0.5, 1))
        text, shift = window(row["context"], *(span or _anywhere(row["context"], rng)), size, rng)
        answer = row["context"][span[0] : span[1]] if span else ""
        others = self._distractors(row, answer, size, rng)
        if span and rng.random() < ALTERED:
            question = altered_question(row["question"], row["context"], answer, rng)
            if question:
                return Example(question, _shuffled([(line, text), *others], rng))
        if span and others and rng.random() < GOLD_REMOVED:
            return Example(row["question"], tuple(others))
        passages = _shuffled([(line, text), *others], rng)
        if span is None:
            return Example(row["question"], passages)
        gold = passages.index((line, text))
        return Example(row["question"], passages, (gold, span[0] - shift, span[1] - shift))

    def _distractors(
        self, row: dict[str, Any], answer: str, size: int, rng: random.Random
    ) -> list[tuple[str, str]]:
        """Contexts without the answer, as search would bring them beside the row's own."""
        [wanted] = rng.choices(list(N_DISTRACTORS), list(N_DISTRACTORS.values()))
        if not wanted:
            return []
        near = self._nearest(row["question"], NEAREST)
        ranked = any(self._contexts[place][0] == row["context"] for place in near)
        if not ranked or self._moved:
            near = [rng.randrange(len(self._contexts)) for _ in range(NEAREST)]
        rng.shuffle(near)
        found: list[tuple[str, str]] = []
        for place in dict.fromkeys(near):
            context, title = self._contexts[place]
            text, _ = window(context, *_anywhere(context, rng), size, rng)
            if context == row["context"] or (answer and answer.lower() in text.lower()):
                continue
            found.append((title if rng.random() < 0.7 else "", text))
            if len(found) == wanted:
                break
        return found


def _anywhere(text: str, rng: random.Random) -> tuple[int, int]:
    """A place to cut a passage around."""
    place = rng.randrange(max(1, len(text)))
    return place, place + 1


def _shuffled(passages: list[tuple[str, str]], rng: random.Random) -> tuple[tuple[str, str], ...]:
    rng.shuffle(passages)
    return tuple(passages)


def first_span(row: dict[str, Any]) -> tuple[int, int] | None:
    """Start and end of the row's first literal answer, None for an unanswerable row."""
    for answer in row["answers"] if row["answerable"] else []:
        if answer["start"] >= 0 and 0 < len(answer["text"]) <= LONGEST_ANSWER:
            return answer["start"], answer["start"] + len(answer["text"])
    return None


def window(text: str, start: int, end: int, size: int, rng: random.Random) -> tuple[str, int]:
    """About `size` characters of `text` around start..end, cut at spaces; and where they begin."""
    if len(text) <= size:
        return text, 0
    low = max(0, end - size)
    left = rng.randint(low, max(low, min(start, len(text) - size)))
    if left > 0:
        space = text.rfind(" ", 0, min(left, start) + 1)
        # An answer may itself start with a space.
        left = min(space + 1, start)
    right = min(len(text), max(left + size, end))
    if right < len(text):
        space = text.find(" ", right, right + 40)
        right = min(len(text), right + 40) if space < 0 else space
    return text[left:right], left


def load_sources(data: Path, characters: int) -> list[Source | PairSource]:
    """Every file of WEIGHTS under `data`, rows that teach nothing left out."""
    sources: list[Source | PairSource] = []
    for name in WEIGHTS:
        folder, stem = name.split("/")
        for path in [p for p in jsonl_files(data / folder) if p.name.split(".")[0] == stem]:
            rows = [row for row in read_rows(path, *FIELDS[folder]) if _teaches(row)]
            kind = PairSource if folder == "pairs" else Source
            sources.append(kind(name, rows, characters))
    if not any(source.rows for source in sources):
        raise InputError(f"{data} holds no row to train on in any of {', '.join(WEIGHTS)}")
    return [source for source in sources if source.rows]


def _teaches(row: dict[str, Any]) -> bool:
    if "response" in row:
        return len(row["response"]) <= 300
    if "positive" in row:
        return not is_held_out(row["positive"])
    if is_held_out(row.get("title", ""), row["context"]):
        return False
    return not row["answerable"] or first_span(row) is not None


_NAME = r"(?:[A-Z][\w'’-]+(?: (?:of|the|and|de) (?=[A-Z])| (?=[A-Z]))?)+"
_CANDIDATE = re.compile(rf"\b(?:\d[\d,.]*\d|\d|{_NAME})\b")


def cloze_example(
    title: str, text: str, rng: random.Random, keep_sentence: float = 0.6
) -> Example | None:
    """A question made from one sentence of `text` by leaving out a name or number.

    The sentence stays in the passage with probability keep_sentence, its words thinned in the
    question; otherwise it is taken out and the answer must stand in another sentence too.
    """
    spans = sentence_spans(text)
    if len(spans) < 3:
        return None
    start, end = rng.choice(spans)
    sentence = text[start:end]
    found = [m for m in _CANDIDATE.finditer(sentence) if m.start() > 0 or m.group()[0].isdigit()]
    if not found or not 40 <= len(sentence) <= 300:
        return None
    match = rng.choice(found)
    words = (sentence[: match.start()] + sentence[match.end() :]).split()
    words = [word for word in words if rng.random() > 0.3]
    if len(words) < 3:
        return None
    question = f"{_wh(match.group(), rng)} {' '.join(words)}".rstrip(".") + "?"
    if rng.random() < keep_sentence:
        answer = (0, start + match.start(), start + match.end())
        return Example(question, ((title, text),), answer)
    rest = text[:start] + text[end:]
    place = rest.find(match.group())
    if place < 0:
        return Example(question, ((title, rest),)) if rng.random() < 0.1 else None
    return Example(question, ((title, rest),), (0, place, place + len(match.group())))


def _wh(answer: str, rng: random.Random) -> str:
    if re.fullmatch(r"1[5-9]\d\d|20\d\d", answer):
        return rng.choice(["When", "In what year", "What year"])
    if answer[0].isdigit():
        return rng.choice(["How many", "How much", "What number"])
    return rng.choice(["Who", "What", "Which", "Where", "What is the name"])


def text_passages(folder: Path, characters: int, rng: random.Random) -> Iterator[tuple[str, str]]:
    """(title, text) passages of about `characters`, for ever, the files in turn."""
    readers = [_file_passages(path, characters) for path in jsonl_files(folder)]
    while True:
        yield next(rng.choice(readers))


def _file_passages(path: Path, characters: int) -> Iterator[tuple[str, str]]:
    while True:
        empty = True
        for document in read_rows(path, "title", "sections"):
            if is_held_out(document["title"]):
                continue
            for section in document["sections"]:
                paragraphs = section["text"].split("\n\n")
                for passage in _packed(document["title"], paragraphs, characters):
                    empty = False
                    yield passage
        if empty:
            raise InputError(f"{path} holds no passage of {SHORTEST_PASSAGE} characters")


def _packed(title: str, paragraphs: Sequence[str], characters: int) -> Iterator[tuple[str, str]]:
    """Paragraphs joined up to `characters`; longer ones are cut, scraps are left out."""
    kept = ""
    for paragraph in paragraphs:
        kept = f"{kept}\n{paragraph}" if kept else paragraph
        if len(kept) >= characters:
            yield title, kept[:characters]
            kept = ""
    if len(kept) >= SHORTEST_PASSAGE:
        yield title, kept
