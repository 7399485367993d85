"""What a form of the weights loses in writing, and what guessing from the prompt gains.

Both on real text: of the contexts of a reading file, and answers with quotes from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ragformer.answer.answer import short_form
from ragformer.answer.reader import Reader
from ragformer.bench.machine import median_of
from ragformer.bench.runtime import now, prefilled
from ragformer.eval.cases import ReadingCase
from ragformer.eval.reading import sentence_around
from ragformer.nn.cache import KVCache
from ragformer.nn.generate import generate
from ragformer.nn.heads import Decoder
from ragformer.nn.lookup import Lookup
from ragformer.text.tokenizer import Tokenizer
from ragformer.types import Sampling

A_FEW = 4
"""Tokens read at once: few enough for the packed product, which a text is otherwise not read by."""
TEXT_TOKENS = 256
Told = tuple[list[int], list[int]]
"""Tokens of a prompt, and of the answer to be written behind it."""


@torch.inference_mode()
def text_logits(model: Decoder, ids: Sequence[int]) -> Tensor:
    """Logits [T, V], float32, of what follows each token of a text, read as decode steps read."""
    weight = model.transformer.embed.weight
    cache = KVCache(model.config, 1, len(ids), weight.dtype, weight.device)
    ids_1T = torch.tensor([list(ids)], device=weight.device)
    parts = [
        model.token_logits(model.transformer(ids_1T[:, at : at + A_FEW], cache=cache))[0].float()
        for at in range(0, len(ids), A_FEW)
    ]
    return torch.cat(parts)


def loss_in(model: Decoder, exact: Decoder, texts: Sequence[Sequence[int]]) -> dict[str, float]:
    """Of all tokens behind the first of the texts: perplexity, and that of `exact`; the mean
    divergence from its distribution in nats (Kullback-Leibler); how often the best is the same."""
    nats, exact_nats, divergence, same = [], [], [], []
    for ids in texts:
        ours_TV, exact_TV = (
            torch.log_softmax(text_logits(each, ids[:-1]), -1) for each in (model, exact)
        )
        next_T1 = torch.tensor(ids[1:], device=ours_TV.device)[:, None]
        nats.append(-ours_TV.gather(1, next_T1))
        exact_nats.append(-exact_TV.gather(1, next_T1))
        divergence.append((exact_TV.exp() * (exact_TV - ours_TV)).sum(-1))
        same.append((ours_TV.argmax(-1) == exact_TV.argmax(-1)).float())
    return {
        "perplexity": float(torch.cat(nats).mean().exp()),
        "perplexity_float32": float(torch.cat(exact_nats).mean().exp()),
        "divergence_nats": float(torch.cat(divergence).mean()),
        "same_best_token": float(torch.cat(same).mean()),
    }


def texts_of(cases: Sequence[ReadingCase], tokenizer: Tokenizer) -> list[list[int]]:
    """The first tokens of each distinct context that has at least two."""
    texts = dict.fromkeys(case.sources[0][1] for case in cases)
    rows = [tokenizer.encode(text)[:TEXT_TOKENS] for text in texts]
    return [row for row in rows if len(row) > 1]


def told_answer(reader: Reader, question: str, passages: Sequence[tuple[str, str]]) -> str | None:
    """What the decoder answers, as `answer` shows it: its words, the sentences they stand in as a
    quote, and its mark. None where there is nothing to copy."""
    read = reader.read(question, passages)
    if not read.candidates:
        return None
    best = read.candidates[0]
    text = passages[best.passage][1]
    quote = sentence_around(text, best.start, best.end)
    return f"{short_form(text[best.start : best.end])}\n\n“{quote}” [{best.passage + 1}]\n"


class _Told(nn.Module):
    """A decoder that computes its logits and then writes a given text: how long it takes to write
    an answer does not depend on who thought of it."""

    def __init__(self, model: Decoder, told: Sequence[int]) -> None:
        super().__init__()
        self.model, self.transformer, self.config = model, model.transformer, model.config
        self.told, self.written = told, 0

    def token_logits(self, hidden_BTD: Tensor) -> Tensor:
        logits_BTV = self.model.token_logits(hidden_BTD)
        for row, token in enumerate(self.told[self.written :][: logits_BTV.shape[1]]):
            logits_BTV[0, row, token] = logits_BTV.new_tensor(torch.inf)
        return logits_BTV


def lookup_gain(model: Decoder, prompts: Sequence[Told]) -> dict[str, Any]:
    """Tokens a second of the processor (of the clock on a GPU) when each answer is written behind
    its prompt, with guesses from the prompt and without, in turns; `times` is how many times as
    fast guessing is, all together and a prompt each."""
    if not prompts:
        return {"n": 0}
    plain: list[float] = []
    guessed: list[float] = []
    tokens = 0
    for prompt, answer in prompts:
        ids_1T = torch.tensor([list(prompt)], device=model.transformer.embed.weight.device)
        cache, _ = prefilled(model, ids_1T[:, :-1], len(answer) + 1)
        length = cache.length
        for lookup, seconds in ((None, plain), (Lookup(prompt), guessed)):
            cache.keep(length)
            seconds.append(_seconds_to_tell(_Told(model, answer), cache, prompt[-1], lookup))
        tokens += len(answer)
    return {
        "n": len(prompts),
        "tokens_per_second": tokens / sum(plain),
        "tokens_per_second_guessing": tokens / sum(guessed),
        "times": sum(plain) / sum(guessed),
        "times_each": median_of([a / b for a, b in zip(plain, guessed, strict=True)]),
    }


def _seconds_to_tell(told: _Told, cache: KVCache, first: int, lookup: Lookup | None) -> float:
    device = told.transformer.embed.weight.device
    start = now(device)
    sampling = Sampling(max_new_tokens=len(told.told))
    # It has all that `generate` uses of a decoder.
    for token in generate(told, cache, first, sampling, lookup=lookup):  # type: ignore[arg-type]
        if token != told.told[told.written]:
            raise AssertionError("what was told was not written")
        told.written += 1
    taken = now(device).since(start)
    return taken.wall if device.type == "cuda" else taken.processor
