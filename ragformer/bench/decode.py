"""How fast does the decoder read a prompt, write tokens, and answer from eight passages?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ragformer.answer.reader import OpenPrompt, Read, Reader, load_decoder
from ragformer.bench.loss import Told, lookup_gain, loss_in, texts_of, told_answer
from ragformer.bench.machine import machine, median_of
from ragformer.bench.runtime import base_weights, in_form, now
from ragformer.errors import InputError
from ragformer.eval.cases import ReadingCase, read_reading, sample
from ragformer.nn.constrain import Range
from ragformer.text.tokenizer import Tokenizer

PASSAGES = 8
PASSAGE_CHARACTERS = 800  # about the 200 tokens of a chunk
DECODE_STEPS = 64

Passages = list[tuple[str, str]]


def run(path: Path, limit: int = 20, seed: int = 0, decoder: Path | None = None) -> dict[str, Any]:
    """Time `limit` questions of a reading file, each with its own context and seven others.

    Each figure is the median over the questions; one row at a time, as for one user.
    """
    cases = sample(read_reading(path), limit, seed)
    if not cases:
        raise InputError(f"{path} holds no question; check the file")
    reader = load_decoder(decoder)
    prompts = [(case.question, eight_passages(cases, at)) for at, case in enumerate(cases)]
    time_question(reader, *prompts[0])  # the first one warms every cache
    times = [time_question(reader, *prompt) for prompt in prompts]
    return {
        "suite": "decode",
        "machine": machine(),
        "decoder": reader.id,
        "parameters": sum(weight.numel() for weight in reader.model.parameters()),
        "n": len(cases),
        **{name: median_of([row[name] for row in times]) for name in times[0]},
    }


def losses(
    path: Path,
    forms: Sequence[str],
    shape: str | None = None,
    answers: int = 20,
    texts: int = 8,
    seed: int = 0,
    device: torch.device | None = None,
    decoder: Path | None = None,
) -> dict[str, Any]:
    """For each form what it loses on `texts` contexts of a reading file against float32, and what
    guessing from the prompt gains when `answers` answers with quotes are written: those that our
    decoder gives to its questions, told again token by token."""
    device = device or torch.device("cpu")
    cases = sample(read_reading(path), max(answers, texts), seed)
    reader = load_decoder(decoder)
    rows = texts_of(cases[:texts], reader.tokenizer)
    told = []
    for at, case in enumerate(cases[:answers]):
        passages = eight_passages(cases, at)
        if (answer := told_answer(reader, case.question, passages)) is not None:
            ids = _prompt_ids(reader.tokenizer, case, passages)
            told.append((ids, reader.tokenizer.encode(answer)))
    config, weights = base_weights(shape, decoder)
    exact = in_form(config, weights, "float32", device)
    figures = {}
    for form in forms:
        model = in_form(config, weights, form, device)
        figures[form] = {
            "loss": loss_in(model, exact, rows),
            "lookup": lookup_gain(model, _that_fit(told, config.max_seq_len)),
        }
    return figures


def _that_fit(told: Sequence[Told], most: int) -> list[Told]:
    """Prompts cut at the end, where they are long, so that the answer has room: the passage that
    it most likely quotes comes first."""
    return [(prompt[: most - len(answer)], answer) for prompt, answer in told]


def _prompt_ids(tokenizer: Tokenizer, case: ReadingCase, passages: Passages) -> list[int]:
    """The passages behind their marks, and the question, as a text."""
    parts = [f"[{mark}] {title}\n{text}" for mark, (title, text) in enumerate(passages, 1)]
    return tokenizer.encode("\n\n".join([*parts, case.question]) + "\n")


def eight_passages(cases: Sequence[ReadingCase], at: int) -> Passages:
    """The first source of case `at` and of those behind it, in a circle, cut to a chunk's size."""
    chosen = [cases[(at + step) % len(cases)].sources[0] for step in range(PASSAGES)]
    return [(title, text[:PASSAGE_CHARACTERS]) for title, text in chosen]


def time_question(reader: Reader, question: str, passages: Passages) -> dict[str, float]:
    """Tokens of the prompt; tokens/s of prefill (cutting the text included) and of decoding; and
    seconds from the question to the end of the quote."""
    start = now(reader.device)
    prompt = reader.open(question, passages)
    opened = now(reader.device)
    read = reader.find(prompt)
    write_best(reader, prompt, read, passages)
    answered = now(reader.device)
    written = write_freely(reader, prompt)
    return {
        "prompt_tokens": float(read.n_tokens),
        "prefill_tokens_per_second": read.n_tokens / opened.since(start).wall,
        "answer_seconds": answered.since(start).wall,
        "decode_tokens_per_second": len(written) / now(reader.device).since(answered).wall,
    }


def write_best(reader: Reader, prompt: OpenPrompt, read: Read, passages: Passages) -> str:
    """The best answer and its mark, written as a quote is; "" if there was nothing to copy."""
    if not read.candidates:
        return ""
    best = read.candidates[0]
    quote = Range(best.passage, best.start, best.end)
    pieces = reader.write_quote(prompt, passages[best.passage][1], quote)
    return "".join(f"[{piece}]" if isinstance(piece, int) else piece for piece in pieces)


def write_freely(reader: Reader, prompt: OpenPrompt) -> list[int]:
    """DECODE_STEPS tokens behind the prompt, without a mask."""
    return list(reader.write(prompt, DECODE_STEPS))
