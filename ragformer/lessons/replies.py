"""Replies of our decoder that end in a mark, and questions made to ask it for them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ragformer.answer.reader import Reader
from ragformer.answer.reading import SEGMENT_ANSWER
from ragformer.eval.metrics import normalize_answer
from ragformer.text.tokenizer import FIRST_MARK, QUOTE, mark_id
from ragformer.train.decoder import answer_logits, token_losses
from ragformer.train.examples import Example
from ragformer.train.reading_batch import Batch, Collator, Row
from ragformer.train.reading_data import cloze_example


@dataclass(frozen=True, slots=True)
class Reply:
    """What was answered, and whether the mark of its passage came behind it."""

    text: str
    cited: bool

    def __str__(self) -> str:
        text = " ".join(self.text.split())
        return f'"{text}"{" and its mark" if self.cited else ""}'

    def liked(self, golds: Sequence[str]) -> tuple[bool, bool, int]:
        """Greater is better: right before cited before short."""
        words = f" {normalize_answer(self.text)} "
        right = any(f" {normalize_answer(gold)} " in words for gold in golds)
        return right, self.cited, -len(words.split())


class Citing:
    """A reader whose answers go on behind <quote>, by no grammar."""

    def __init__(self, reader: Reader) -> None:
        self.reader, self.model = reader, reader.model
        self.collator = Collator(reader.tokenizer)

    def answer(self, example: Example) -> Example:
        """The question with the reader's own answer."""
        best = self.reader.read(example.question, example.passages).candidates[0]
        return replace(example, answer=(best.passage, best.start, best.end))

    def row(self, example: Example, mark: int) -> Row:
        """The answer, <quote>, and the mark of passage `mark`, copied from the prompt."""
        row = self.collator.row(example)
        assert row is not None  # an answer falls on tokens
        reading = row.reading
        marks = [reading.ids.index(mark_id(i + 1)) for i in range(len(example.passages))]
        for i, at in enumerate(marks):
            reading.places[at] = i, 0, 0  # may be copied too
        reading.ids.append(QUOTE)
        reading.positions.append(reading.positions[-1] + 1)
        reading.segments.append(SEGMENT_ANSWER)
        reading.blocks.append(reading.blocks[-1])
        reading.places.append(None)
        place = self.collator.tokenizer.vocab_size + marks[mark]
        return replace(row, previous=[*row.previous, -1], targets=[*row.targets, place])

    def batch(self, rows: Sequence[Row]) -> Batch:
        return self.collator.batch(rows, self.reader.device)

    @torch.inference_mode()
    def ending(self, row: Row) -> int:
        """The likeliest last target in place of the row's own."""
        best = int(answer_logits(self.model, self.batch([row]))[0, -1].argmax())
        return best if best < FIRST_MARK else best - FIRST_MARK + self.model.config.vocab_size

    def reply(self, example: Example) -> Reply:
        said = self.answer(example)
        assert said.answer is not None
        passage, start, end = said.answer
        row = self.row(said, passage)
        return Reply(said.passages[passage][1][start:end], self.ending(row) == row.targets[-1])

    def likelihood(self, batch: Batch) -> Tensor:
        """Log-probability of each row's reply, [B]."""
        logits_BAC = answer_logits(self.model, batch)
        return -token_losses(logits_BAC, batch, self.model.config.vocab_size).sum(1)


def questions(texts: Sequence[str], n: int, seed: int) -> list[Example]:
    """Gaps of n texts, each among one or two others in any order; before some stands a line, as
    the title and headings do before a passage of a document."""
    rng, found = random.Random(seed), list[Example]()
    while len(found) < n:
        drawn = rng.sample(texts, rng.randint(2, 3))
        lines = [" ".join(rng.choice(texts).split()[: rng.choice((0, 0, 3, 8))]) for _ in drawn]
        passages = tuple(zip(lines, drawn, strict=True))
        at = rng.randrange(len(passages))
        gap = cloze_example(*passages[at], rng, keep_sentence=1.0)
        if gap and gap.answer:
            found.append(Example(gap.question, passages, (at, *gap.answer[1:])))
    return found


def gold(example: Example) -> str:
    assert example.answer is not None
    index, start, end = example.answer
    return example.passages[index][1][start:end]
