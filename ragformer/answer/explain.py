"""How the decoder came to an answer: what it read, and what it looked at while it wrote.

Both are worked out anew from question and passages, when somebody asks for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ragformer.answer.reader import OpenPrompt, Reader
from ragformer.answer.reading import SEGMENT_ANSWER
from ragformer.nn.constrain import Range
from ragformer.nn.watch import watched
from ragformer.text.tokenizer import ANSWER, CONTROL_SYMBOLS, MASK, PASSAGE, QUESTION

_BEFORE = {QUESTION: "", PASSAGE: "\n\n", ANSWER: "\n\n"}


@dataclass(frozen=True, slots=True)
class Looked:
    """Of each head's attention while answering the share that went to each passage given, then to
    the question, then to the answer itself: float32 [L, H, P + 2], 1 over the last."""

    shares_LHN: npt.NDArray[np.float32]


def prompt_text(reader: Reader, question: str, passages: Sequence[tuple[str, str]]) -> str:
    """The tokens the decoder reads for these passages (context line, text), as text.

    Its symbols stand as <question>, <passage>, <mark_1>, <answer>. What each word adds beside its
    token (whether the question has it, how well its sentence fits) has no text.
    """
    ids = reader.open(question, passages).reading.ids
    parts: list[str] = []
    run: list[int] = []
    within = False  # between a passage's first <passage>, on a line of its own, and its second
    for token in [*ids, ANSWER]:
        if not MASK <= token < MASK + len(CONTROL_SYMBOLS):
            run.append(token)
            continue
        parts.append(reader.tokenizer.decode(run))
        run = []
        parts.append(" " if within else _BEFORE.get(token, " "))
        parts.append(CONTROL_SYMBOLS[token - MASK])
        within ^= token == PASSAGE
    return "".join(parts[:-2]).strip()


@torch.inference_mode()
def looked_at(
    reader: Reader,
    question: str,
    passages: Sequence[tuple[str, str]],
    quote: Range | None = None,
) -> Looked:
    """What the decoder attends to at <answer>, where it chooses, and while it copies `quote`.

    quote: characters of a passage (from 0); None for an answer that quotes nothing. Each token
    counts alike.
    """
    model = reader.model.transformer
    with watched(model.blocks) as last_BHTS:
        prompt = reader.open(question, passages, anew=True)
        weights = [[layer[0]] for layer in last_BHTS]
        copied = _tokens_of(prompt, quote)
        if copied:
            start = prompt.reading.answer_position + 1
            model(
                torch.tensor([copied], device=reader.device),
                positions_BT=torch.arange(start, start + len(copied), device=reader.device)[None],
                segments_BT=torch.full((1, len(copied)), SEGMENT_ANSWER, device=reader.device),
                cache=prompt.cache.repeat(1, len(copied)),
            )
            for layer, new_BHTS in zip(weights, last_BHTS, strict=True):
                layer.append(new_BHTS[0])
    columns_SN = _columns(prompt, len(passages), len(copied)).to(reader.device)
    shares = [
        torch.cat([part_HTS @ columns_SN[: part_HTS.shape[-1]] for part_HTS in layer], 1).mean(1)
        for layer in weights
    ]
    return Looked(torch.stack(shares).cpu().numpy())


def _tokens_of(prompt: OpenPrompt, quote: Range | None) -> list[int]:
    """The prompt's tokens that touch the quote; none where its passage was not read."""
    if quote is None:
        return []
    return [
        token
        for token, place in zip(prompt.reading.ids, prompt.reading.places, strict=True)
        if place is not None
        and place[0] == quote.passage
        and place[1] < quote.end
        and quote.start < place[2]
    ]


def _columns(prompt: OpenPrompt, n_passages: int, n_copied: int) -> Tensor:
    """[S, N], 1 where a token of prompt and answer belongs to a part of `Looked`."""
    read = [source.index for source in prompt.sources]
    column_of = [n_passages, *read, n_passages + 1]  # by block: question, passages, answer
    parts = [column_of[block] for block in prompt.reading.blocks] + [n_passages + 1] * n_copied
    return nn.functional.one_hot(torch.tensor(parts), n_passages + 2).float()
