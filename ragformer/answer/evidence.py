"""What speaks for an answer that was found: the features of its confidence.

Known: whether the question's words stand by the answer, rather than anywhere in its passage, and
whether one sentence has most of the probability say most. What did not hold for other documents:
how well search likes the passage and how far it leads (it is a prior on where the answer starts),
how many passages hold the same answer, the rarest word that is missing, names and numbers that
are, the answer's length, and whether it is of the kind asked for.
"""

from __future__ import annotations

from collections.abc import Sequence

from ragformer.answer.confidence import features
from ragformer.answer.reader import Read, Reader
from ragformer.text.overlap import overlap, question_stems
from ragformer.text.sentences import sentence_spans


def evidence(
    question: str, read: Read, passages: Sequence[tuple[str, str]], reader: Reader
) -> tuple[float, ...]:
    """The values of FEATURES for the best answer found, of which there must be one.

    passages: (context line, text) each, those that were opened.
    """
    best = read.candidates[0]
    line, text = passages[best.passage]
    stems = question_stems(question, reader.rarity)
    found = overlap(stems, f"{line}\n{around(text, best.start, best.end)}").found
    total = sum(stems.values())
    return features(
        margin=read.margin,
        likelihood=best.log_likelihood,
        share=read.share,
        around=sum(stems[root] for root in found) / total if total else 0.0,
        passages=read.n_passages,
    )


def around(text: str, start: int, end: int) -> str:
    """The sentences that share a character with start..end, and one more on either side."""
    spans = sentence_spans(text)
    touched = [n for n, (a, b) in enumerate(spans) if a < end and start < b]
    if not touched:
        return text[start:end]
    first, last = max(0, touched[0] - 1), min(len(spans) - 1, touched[-1] + 1)
    return text[spans[first][0] : spans[last][1]]
