"""Train the decoder: a stage of writing and cloze reading on plain text, then questions.

Known: with little data, match features and a pointer carry most of the reading; the language
model loss keeps the vocabulary side alive. Not known: what ten times the tokens would do.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from ragformer.answer.reading import N_SEGMENTS, block_mask
from ragformer.errors import InputError
from ragformer.nn.checkpoint import save_weights
from ragformer.nn.config import TransformerConfig, write_model_config
from ragformer.nn.device import pick_device
from ragformer.nn.heads import Decoder, new_decoder
from ragformer.text.normalize import model_line
from ragformer.text.tokenizer import FIRST_MARK, Tokenizer
from ragformer.train.curves import Development, draw, reading_measure
from ragformer.train.deepen import load_deepened
from ragformer.train.embeddings import start_from
from ragformer.train.examples import Example
from ragformer.train.loop import Log, backward, bf16, prefetched, reuse_memory
from ragformer.train.parts import in_parts, load_parts, save_parts, whole_weights
from ragformer.train.reading_batch import IGNORE, MAX_TOKENS, Batch, Collator, Row
from ragformer.train.reading_data import (
    SHORTEST_PASSAGE,
    WEIGHTS,
    cloze_example,
    load_sources,
    text_passages,
)
from ragformer.train.spread import Spread, spreading
from ragformer.train.stage import Plan, Stage

NextLoss = Callable[[], tuple[Tensor, int]]


@dataclass(frozen=True, slots=True)
class Config:
    """data: the folder with text/, qa/ and instruct/. out: weights and tokenizer.model.

    stage "pretrain" starts from nothing, "answer" from the weights in `out`, which may be of fewer
    layers. embeddings: vectors of `train embeddings` for "pretrain" to start its table from.
    cloze_share: rows of "answer" made of plain text. dev: a reading file to measure on every
    dev_every steps. in_parts: under torchrun, each process holds a part of the weights only.
    """

    data: Path
    out: Path
    work: Path
    stage: Literal["pretrain", "answer"] = "pretrain"
    embeddings: Path | None = None
    dev: Path | None = None
    dev_questions: int = 100
    dev_every: int = 250
    d_model: int = 256
    n_layers: int = 4
    characters: int = 700
    batch: int = 32
    writing_share: float = 0.2
    writing_tokens: int = 192
    cloze_share: float = 0.1
    peak_rate: float = 1e-3
    minutes: float = 20.0
    steps: int = 1_000_000
    save_every: int = 250
    in_parts: bool = False
    seed: int = 0


def main(config: Config) -> Iterator[str]:
    """Train one stage and write the weights, resuming from config.work; yields log lines.

    Under `torchrun` several processes share each batch, and the first one of them says so.
    """
    with spreading() as spread:
        spread.check(config.batch)
        if config.in_parts and (config.dev or not dist.is_torchelastic_launched()):
            raise InputError(
                "--in-parts is for several processes: use torchrun, and leave out --dev"
            )
        yield from _train(config, spread)


def _train(config: Config, spread: Spread) -> Iterator[str]:
    if config.characters < SHORTEST_PASSAGE:  # nothing would be left out of so short a passage
        raise InputError(
            f"a passage of {config.characters} characters is too short to learn reading from; give"
            f" --characters {SHORTEST_PASSAGE} or more"
        )
    torch.manual_seed(config.seed)
    reuse_memory()
    device = pick_device()
    tokenizer = Tokenizer(config.out / "tokenizer.model")
    model = new_decoder(_transformer(config, tokenizer), config.seed)
    if config.stage == "answer":
        load_deepened(model, config.out)
    elif config.embeddings:
        start_from(model.transformer.embed.weight, config.embeddings)
    model.to(device)
    log = Log(config.work / "decoder.csv", model, device)
    run = in_parts(model) if config.in_parts else _call
    stage = _stage(config, model)
    measure = reading_measure(config.dev, config.dev_questions, model, tokenizer)
    development = Development(config.work / "decoder-dev.csv", measure, config.dev_every)
    seed = config.seed + stage.budget.step
    next_loss = _losses(config, model, tokenizer, seed, device, spread)

    def step() -> tuple[Tensor, int]:
        with bf16(device):
            loss, n_tokens = run(next_loss)
        return backward(loss), n_tokens

    yield from stage.train(step, log, spread, development)
    _write(config, model, spread)
    if spread.first:
        yield draw(log.path, development.path)
        yield f"wrote {config.out}"


class _StageInParts(Stage):
    """Each process saves its part of the weights."""

    def save(self, spread: Spread) -> None:
        save_parts(_parts(self.plan), self.model, self.optimizer, self.budget, self.average)


def _stage(config: Config, model: Decoder) -> Stage:
    state = config.work / f"{config.stage}.pt"
    if config.in_parts and state.exists():
        raise InputError(f"{state} is of a run without --in-parts; go on so, or delete it")
    plan = Plan(
        config.stage,
        state,
        config.minutes,
        config.steps,
        config.peak_rate,
        decay=0.998,
        save_every=config.save_every,
    )
    stage = (_StageInParts if config.in_parts else Stage)(plan, model, averaged=model)
    if not stage.resumed:
        load_parts(_parts(plan), model, stage.optimizer, stage.budget, stage.average)
    return stage


def _parts(plan: Plan) -> Path:
    return plan.state.with_suffix(".parts")


def _write(config: Config, model: Decoder, spread: Spread) -> None:
    """The averaged weights, put together where they are in parts."""
    whole = whole_weights(model) if config.in_parts else {}
    if not spread.first:
        return
    if whole:
        model = new_decoder(model.config, config.seed)
        model.load_state_dict(whole)
    write_model_config(model.config, "decoder", config.out)
    save_weights(model, config.out, torch.bfloat16)


def _call(work: NextLoss) -> tuple[Tensor, int]:
    return work()


def _transformer(config: Config, tokenizer: Tokenizer) -> TransformerConfig:
    return TransformerConfig(
        vocab_size=tokenizer.vocab_size,
        d_model=config.d_model,
        n_layers=config.n_layers,
        n_heads=config.d_model // 64,
        n_kv_heads=config.d_model // 64,
        d_ff=config.d_model * 11 // 4,
        max_seq_len=1024,
        qk_norm=True,
        logit_scale=config.d_model**-0.5,
        n_segments=N_SEGMENTS,
        d_pointer=config.d_model,
    )


def _losses(
    config: Config,
    model: Decoder,
    tokenizer: Tokenizer,
    seed: int,
    device: torch.device,
    spread: Spread,
) -> NextLoss:
    """A function that draws the stage's next batch and gives its part of the loss and its tokens,
    all processes' together."""
    # Reading batches are made in a thread: what it draws from, nobody else may.
    rng, reading_rng = random.Random(seed), random.Random(seed + 1)
    passages = text_passages(config.data / "text", config.characters, reading_rng)
    if config.stage == "pretrain":
        examples = _cloze_examples(passages, reading_rng)
    else:
        examples = _question_examples(config, reading_rng, passages)
    batches = prefetched(_batches(examples, Collator(tokenizer), config.batch, device, spread))
    writing = text_passages(config.data / "text", config.characters, random.Random(seed + 2))

    def next_loss() -> tuple[Tensor, int]:
        if config.stage == "pretrain" and rng.random() < config.writing_share:
            return _writing_loss(config, model, tokenizer, writing, device, spread)
        batch = next(batches)
        loss = reading_loss(model, batch)
        part = spread.part(loss, len(batch.ids_BT), config.batch)
        return part, batch.n_tokens * spread.n

    return next_loss


def _cloze_examples(passages: Iterator[tuple[str, str]], rng: random.Random) -> Iterator[Example]:
    for title, text in passages:
        if example := cloze_example(title if rng.random() < 0.7 else "", text, rng):
            yield example


def _question_examples(
    config: Config, rng: random.Random, passages: Iterator[tuple[str, str]]
) -> Iterator[Example]:
    """Rows of the question files and cloze rows, so that plain text stays in sight."""
    sources = load_sources(config.data, config.characters)
    weights = [WEIGHTS[source.name] for source in sources]
    cloze = _cloze_examples(passages, rng)
    while True:
        if rng.random() < config.cloze_share:
            yield next(cloze)
        else:
            yield rng.choices(sources, weights)[0].example(rng)


def _batches(
    examples: Iterator[Example],
    collator: Collator,
    size: int,
    device: torch.device,
    spread: Spread,
) -> Iterator[Batch]:
    """This process's rows of batches of rows of similar length: eight batches' rows are sorted
    before they are cut."""
    while True:
        rows: list[Row] = []
        while len(rows) < 8 * size:
            row = collator.row(next(examples))
            if row and len(row.reading.ids) <= MAX_TOKENS:
                rows.append(row)
        # Written answers need the whole vocabulary's logits: they share a batch.
        rows.sort(key=lambda row: (row.writes, len(row.reading.ids)))
        groups = [rows[i : i + size] for i in range(0, len(rows), size)]
        # Any order but sorted: the rate falls while a run of batches lasts.
        for group in groups[::2] + groups[1::2]:
            batch = collator.batch(spread.share(group), device)
            # What competes with the places is the whole batch's, whoever has the row that writes.
            yield replace(batch, writes=any(row.writes for row in group))


def reading_loss(model: Decoder, batch: Batch) -> Tensor:
    """How unlikely each row's answer is, in nats: every token written or copied from a place, or
    where only that is known, a start anywhere in the right sentence.

    Source: Gu et al. 2016, arXiv:1603.06393, with the place given, not summed over.
    """
    logits_BAC = answer_logits(model, batch)
    loss_BA = token_losses(logits_BAC, batch, model.config.vocab_size)
    total = (loss_BA * batch.weights_BA).sum()
    rows_B = batch.somewhere_BT.any(dim=1)
    if rows_B.any():
        places_RT = logits_BAC[rows_B, 0, -batch.ids_BT.shape[1] :]
        right_RT = places_RT.masked_fill(~batch.somewhere_BT[rows_B], -torch.inf)
        total += (logits_BAC[rows_B, 0].logsumexp(-1) - right_RT.logsumexp(-1)).sum()
    return total / len(logits_BAC)


def answer_logits(model: Decoder, batch: Batch) -> Tensor:
    """Of what stands behind each answer input, float32 [B, A, N + T]: N pieces, then T places.

    Where nothing is written, of the vocabulary only the control symbols compete with the places.
    """
    n_pieces = model.config.vocab_size if batch.writes else FIRST_MARK
    hidden_BTD = model.transformer(
        batch.ids_BT,
        positions_BT=batch.positions_BT,
        segments_BT=batch.segments_BT,
        mask_BTS=block_mask(batch.blocks_BT, batch.answer_block_B),
    )
    index_BAD = batch.answer_BA[..., None].expand(-1, -1, hidden_BTD.shape[-1])
    answer_BAD = hidden_BTD.gather(1, index_BAD)
    places_BAT = model.place_logits(answer_BAD, hidden_BTD, batch.previous_BA).float()
    places_BAT = places_BAT.masked_fill(~batch.copyable_BT[:, None], -torch.inf)
    pieces_BAN = model.token_logits(answer_BAD, n_pieces).float()
    return torch.cat([pieces_BAN, places_BAT], dim=-1)


def token_losses(logits_BAC: Tensor, batch: Batch, vocab_size: int) -> Tensor:
    """How unlikely each target is by `answer_logits`, in nats [B, A]; 0 where there is none."""
    n_pieces = logits_BAC.shape[-1] - batch.ids_BT.shape[1]
    targets_BA = batch.targets_BA
    targets_BA = targets_BA.where(targets_BA < vocab_size, targets_BA - vocab_size + n_pieces)
    return F.cross_entropy(
        logits_BAC.transpose(1, 2),
        targets_BA,
        ignore_index=IGNORE,
        reduction="none",
    )


def _writing_loss(
    config: Config,
    model: Decoder,
    tokenizer: Tokenizer,
    passages: Iterator[tuple[str, str]],
    device: torch.device,
    spread: Spread,
) -> tuple[Tensor, int]:
    """This process's part of the next-token cross-entropy on plain text, causal."""
    rows: list[list[int]] = []
    while len(rows) < config.batch:
        ids = tokenizer.encode(model_line(next(passages)[1]))
        if len(ids) > config.writing_tokens:
            rows.append(ids[: config.writing_tokens + 1])
    ids_BT = torch.tensor(spread.share(rows), device=device)
    hidden_BTD = model.transformer(ids_BT[:, :-1])
    logits_BTV = model.token_logits(hidden_BTD)
    loss = F.cross_entropy(logits_BTV.flatten(0, 1).float(), ids_BT[:, 1:].flatten())
    # Scaled so that a page of text does not drown the few answer tokens of a reading batch.
    part = spread.part(0.5 * loss, len(ids_BT), len(rows))
    return part, ids_BT[:, 1:].numel() * spread.n
