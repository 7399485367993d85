"""Train the encoder: bare tokens first, then the blocks, both on contrastive pairs.

    bag          the table and the token weights alone, in large batches (minutes)
    taught       optional, with a teacher: its vectors learned text by text (taught.py)
    masked       optional: predict hidden tokens
    contrastive  the blocks on top of it, in batches of near neighbours by the bag's vectors

Known: most of what a short run can teach, the table can learn, at a hundredth of the cost; blocks
want a low rate and a table that stays; batches from one source at a time give harder negatives than
mixed ones. Not known: how much a long run of the blocks would add.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ragformer.errors import InputError
from ragformer.nn.checkpoint import save_weights
from ragformer.nn.config import TransformerConfig, write_model_config
from ragformer.nn.device import pick_device
from ragformer.nn.heads import SentenceEncoder, new_encoder
from ragformer.text.tokenizer import MASK, PAD, Tokenizer
from ragformer.train.curves import Development, draw, retrieval_measure
from ragformer.train.embeddings import start_from
from ragformer.train.loop import (
    Averager,
    Budget,
    Log,
    MuonAdamW,
    bf16,
    cached_backward,
    learning_rate,
    load_state,
    reuse_memory,
    save_state,
)
from ragformer.train.pairs import WEIGHTS, Ids, Pairs, load_pairs, pad
from ragformer.train.spread import Spread, spreading
from ragformer.train.taught import (
    Goal,
    ask_teacher,
    read_taught,
    start_from_bag,
    taught_stage,
    taught_texts,
)

Vectors = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]

EMBEDDINGS_SHARE = 0.3
"""Of the counted vectors in the table; the rest is noise, which keeps pieces apart."""
NEIGHBOURS = 16
"""Rows drawn together: those whose passages lie close are negatives that are hard to tell."""
SAME_PASSAGE = 0.95
"""Cosine from which a passage is taken to answer its neighbour's question too."""
SHORT_DIMENSIONS = 128
"""The first so many are trained to be a vector too (Kusupati et al. 2022, arXiv:2205.13147)."""


@dataclass(frozen=True, slots=True)
class Config:
    """data: the folder with pairs/, qa/ and text/. out: where the weights go, tokenizer there.

    embeddings: vectors of `train embeddings` to start the table from. chunk: pairs held in memory
    at once, 0 for the whole batch. teacher: an encoder's folder to learn vectors from, asked for
    teacher_minutes. dev: a retrieval file to measure on, vectors alone, every dev_every steps.
    """

    data: Path
    out: Path
    work: Path
    embeddings: Path | None = None
    dev: Path | None = None
    dev_questions: int = 1000
    dev_every: int = 500
    d_model: int = 256
    n_layers: int = 1
    max_tokens: int = 128
    batch: int = 192
    chunk: int = 0
    teacher: Path | None = None
    teacher_minutes: float = 30.0
    taught_bag_minutes: float = 5.0
    taught_minutes: float = 30.0
    taught_rate: float = 1e-3
    taught_tokens: int = 8192
    peak_rate: float = 4e-4
    bag_minutes: float = 5.0
    bag_steps: int = 100_000
    bag_batch: int = 1024
    bag_rate: float = 3e-3
    masked_minutes: float = 0.0
    masked_steps: int = 100_000
    minutes: float = 20.0
    steps: int = 100_000
    paragraphs_per_file: int = 30_000
    save_every: int = 250
    seed: int = 0


def main(config: Config) -> Iterator[str]:
    """Train and write the weights, resuming from config.work; yields lines of the log.

    Under `torchrun` several processes share each batch, and the first one of them says so.
    """
    with spreading() as spread:
        spread.check(config.batch // 2)  # so many rows has the masked stage
        if config.teacher and spread.n > 1:
            raise InputError("one process learns from a teacher; leave out torchrun, or --teacher")
        yield from (line for line in _train(config, spread) if spread.first)


def _train(config: Config, spread: Spread) -> Iterator[str]:
    torch.manual_seed(config.seed)
    reuse_memory()
    device = pick_device()
    tokenizer = Tokenizer(config.out / "tokenizer.model")
    model = new_encoder(_transformer(config, tokenizer), tokenizer.surprisal, config.seed)
    if config.embeddings:
        start_from(model.transformer.embed.weight, config.embeddings, EMBEDDINGS_SHARE)
    model.to(device)
    sources = load_pairs(
        config.data, tokenizer, config.max_tokens, config.paragraphs_per_file, config.seed
    )
    yield "\n".join(f"{source.name}: {len(source.queries)} pairs" for source in sources)
    measure = retrieval_measure(config.dev, config.dev_questions, model, tokenizer)
    development = Development(config.work / "encoder-dev.csv", measure, config.dev_every)
    log = Log(config.work / "encoder.csv", model, device)
    bag_log = Log(config.work / "encoder.csv", model.token_weight, device)  # no matrices in it
    bag = _Stage("bag", config.bag_batch, config.bag_rate, config.bag_minutes, config.bag_steps)
    yield from _contrastive_stage(config, bag, model, sources, bag_log, development, spread)
    if config.teacher:
        yield from _learn_from_teacher(config, model, tokenizer, sources, log, development, device)
    near = [_near_order(_bag_vectors(model, source), config.seed) for source in sources]
    orders = spread.agreed(near)  # machines may round apart
    sources = [source.ordered(order) for source, order in zip(sources, orders, strict=True)]
    if config.masked_minutes and config.masked_steps:
        yield from _masked_stage(config, model, tokenizer.surprisal, sources, log, spread)
    whole = _Stage("contrastive", config.batch, config.peak_rate, config.minutes, config.steps)
    yield from _contrastive_stage(config, whole, model, sources, log, development, spread)
    if not spread.first:
        return
    write_model_config(model.config, "encoder", config.out)
    save_weights(model, config.out, torch.bfloat16)
    yield draw(log.path, development.path)
    yield f"wrote {config.out}"


def _transformer(config: Config, tokenizer: Tokenizer) -> TransformerConfig:
    return TransformerConfig(
        vocab_size=tokenizer.vocab_size,
        d_model=config.d_model,
        n_layers=config.n_layers,
        n_heads=config.d_model // 64,
        n_kv_heads=config.d_model // 64,
        d_ff=config.d_model * 11 // 4,
        max_seq_len=512,
        causal=False,
        qk_norm=True,
        logit_scale=config.d_model**-0.5,
    )


class _Masked(nn.Module):
    """The encoder with a bias for every piece, which starts as its frequency: without it the first
    thing the token states learn is that frequency, all of them the same."""

    def __init__(self, encoder: SentenceEncoder, surprisal: list[float]) -> None:
        super().__init__()
        self.encoder = encoder
        self.bias = nn.Parameter(-torch.tensor([value or 15.0 for value in surprisal]))


def _masked_stage(
    config: Config,
    encoder: SentenceEncoder,
    surprisal: list[float],
    sources: list[Pairs],
    log: Log,
    spread: Spread,
) -> Iterator[str]:
    """Predict hidden tokens of passages (Devlin et al. 2018, arXiv:1810.04805, section 3.1)."""
    device = encoder.token_weight.weight.device
    model = _Masked(encoder, surprisal).to(device)
    optimizer = MuonAdamW(model, config.peak_rate, 0.05)
    budget = Budget(config.masked_minutes, config.masked_steps)
    state = config.work / "masked.pt"
    load_state(state, model, optimizer, budget)
    texts = [passage for source in sources for passage in source.passages if len(passage) > 30]
    if not texts:
        raise InputError(f"{config.data} holds no passage of more than 30 tokens")
    rng = random.Random(config.seed + 1 + budget.step)
    while (progress := spread.agreed(budget.progress)) < 1:
        ids_BT, keep_BT = pad(rng.sample(texts, min(config.batch // 2, len(texts))), device)
        masked_BT = (torch.rand(ids_BT.shape, device=device) < 0.2) & keep_BT
        n_tokens, n_masked = int(keep_BT.sum()), masked_BT.sum()
        ids_BT, keep_BT, masked_BT = (spread.share(x) for x in (ids_BT, keep_BT, masked_BT))
        rate = learning_rate(progress, config.peak_rate)
        with bf16(device):
            hidden_BTD = encoder.hidden(ids_BT.masked_fill(masked_BT, MASK), keep_BT)
            logits_MV = encoder.token_logits(hidden_BTD[masked_BT]).float() + model.bias
            loss = F.cross_entropy(logits_MV, ids_BT[masked_BT], reduction="sum") / n_masked
        value = spread.train_step(loss, model, optimizer, rate)
        budget.step += 1
        if not spread.first:
            continue
        if line := log.add("masked", budget, value, n_tokens, rate):
            yield line
        if budget.step % config.save_every == 0 or budget.done:
            save_state(state, model, optimizer, budget)


def contrastive_loss(
    queries_BD: Tensor, passages_BD: Tensor, same_BB: Tensor, log_scale: Tensor
) -> Tensor:
    """Each query must pick its passage among the batch's, and each passage its query.

    same_BB: True where query i and passage j belong together; off the diagonal these are left
    out, not punished. Source: Radford et al. 2021 (CLIP), arXiv:2103.00020, figure 3.
    """
    logits_BB = queries_BD @ passages_BD.T * log_scale.exp()
    off_diagonal = ~torch.eye(len(logits_BB), dtype=torch.bool, device=logits_BB.device)
    logits_BB = logits_BB.masked_fill(same_BB & off_diagonal, -torch.inf)
    target_B = torch.arange(len(logits_BB), device=logits_BB.device)
    return (F.cross_entropy(logits_BB, target_B) + F.cross_entropy(logits_BB.T, target_B)) / 2


class _Contrastive(nn.Module):
    """The encoder with its temperature, so that both are saved together."""

    def __init__(self, encoder: SentenceEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.log_scale = nn.Parameter(torch.tensor(30.0).log())

    def loss(self, vectors_ND: Tensor, same_BB: Tensor) -> Tensor:
        """Of the whole vectors, and half as much of their first SHORT_DIMENSIONS.

        vectors_ND: B queries, then their B passages.
        """
        scale = self.log_scale.clamp(max=4.6)
        queries_BD, passages_BD = vectors_ND.chunk(2)
        with torch.no_grad():
            same_BB = same_BB | (passages_BD @ passages_BD.T > SAME_PASSAGE)
        loss = contrastive_loss(queries_BD, passages_BD, same_BB, scale)
        if vectors_ND.shape[1] <= SHORT_DIMENSIONS:
            return loss
        queries_BD, passages_BD = F.normalize(vectors_ND[:, :SHORT_DIMENSIONS], dim=-1).chunk(2)
        return (loss + 0.5 * contrastive_loss(queries_BD, passages_BD, same_BB, scale)) / 1.5


def _draw(n: int, batch: int, rng: random.Random) -> list[int]:
    """At most `batch` different rows, in runs of NEIGHBOURS from random places."""
    starts = [rng.randrange(n) for _ in range(-(-batch // NEIGHBOURS))]
    runs = ((start + i) % n for start in starts for i in range(NEIGHBOURS))
    return list(dict.fromkeys(runs))[:batch]


@torch.no_grad()
def _bag_vectors(encoder: SentenceEncoder, source: Pairs) -> Vectors:
    """Every passage by its bare tokens, float32 [N, D]."""
    device = encoder.token_weight.weight.device
    batches = [source.passages[i : i + 4096] for i in range(0, len(source.passages), 4096)]
    return np.concatenate(
        [encoder.bag(pad(batch, device)[0], PAD).cpu().numpy() for batch in batches]
    )


def _near_order(vectors_ND: Vectors, seed: int) -> list[int]:
    """The rows so that those side by side are alike: halved again and again along the line
    through two of them (a random-pair variant of Bentley's k-d tree, 1975)."""
    rng = np.random.default_rng(seed)

    def halved(rows: Rows) -> Iterator[int]:
        if len(rows) <= NEIGHBOURS:
            yield from rows.tolist()
            return
        a, b = vectors_ND[rng.choice(rows, 2, replace=False)]
        rows = rows[np.argsort(vectors_ND[rows] @ (a - b), kind="stable")]
        for half in np.array_split(rows, 2):
            yield from halved(half)

    return list(halved(np.arange(len(vectors_ND))))


def _embed(encoder: SentenceEncoder, device: torch.device, bag: bool, rows: list[Ids]) -> Tensor:
    """Unit vectors of the rows, float32 [N, D]."""
    ids_BT, keep_BT = pad(rows, device)
    if bag:
        return encoder.bag(ids_BT, PAD)
    with bf16(device):
        vectors_BD: Tensor = encoder(ids_BT, keep_BT)
    return vectors_BD


def _learn_from_teacher(
    config: Config,
    model: SentenceEncoder,
    tokenizer: Tokenizer,
    sources: list[Pairs],
    log: Log,
    development: Development,
    device: torch.device,
) -> Iterator[str]:
    """Ask the teacher, start from the bag's best fit to it, then learn the rest."""
    assert config.teacher
    work = config.work / "taught"
    texts = taught_texts(sources, config.seed)
    yield from ask_teacher(config.teacher, texts, tokenizer, work, config.teacher_minutes)
    taught = read_taught(texts, work, config.d_model)
    yield f"taught  texts {len(taught.texts)}  tokens {sum(map(len, taught.texts))}"
    start_from_bag(model, lambda rows: model.bag_mean(pad(rows, device)[0], PAD), taught)
    for name, minutes, rate, tokens in (
        ("taught-bag", config.taught_bag_minutes, config.bag_rate, 8 * config.taught_tokens),
        ("taught", config.taught_minutes, config.taught_rate, config.taught_tokens),
    ):
        embed = partial(_embed, model, device, name == "taught-bag")
        goal = Goal(name, Budget(minutes, config.steps), rate, tokens)
        yield from taught_stage(goal, model, embed, taught, config.work, log, development)


@dataclass(frozen=True, slots=True)
class _Stage:
    """What of the encoder is trained, on how many rows at once, how fast and how long."""

    name: Literal["bag", "contrastive"]
    batch: int
    rate: float
    minutes: float
    steps: int


def _contrastive_stage(
    config: Config,
    stage: _Stage,
    encoder: SentenceEncoder,
    sources: list[Pairs],
    log: Log,
    development: Development,
    spread: Spread,
) -> Iterator[str]:
    """Train on pairs, a source a batch, and leave the averaged weights in `encoder`."""
    device = encoder.token_weight.weight.device
    if stage.name == "contrastive" and config.bag_steps and config.bag_minutes:
        # Small batches would only blur what the bag's large ones have taught the table.
        encoder.transformer.embed.requires_grad_(False)
        encoder.token_weight.requires_grad_(False)
    model = _Contrastive(encoder).to(device)
    optimizer = MuonAdamW(model, stage.rate, 0.05)
    budget = Budget(stage.minutes, stage.steps)
    state = config.work / f"{stage.name}.pt"
    average = Averager(encoder)
    load_state(state, model, optimizer, budget, average)
    weights = [WEIGHTS.get(source.name, 1.0) for source in sources]
    rng = random.Random(config.seed + 2 + budget.step)
    embed = partial(spread.embed, partial(_embed, encoder, device, stage.name == "bag"))
    while (progress := spread.agreed(budget.progress)) < 1:
        source = rng.choices(sources, weights)[0]
        rows = _draw(len(source.queries), stage.batch, rng)
        queries, passages = ([side[i] for i in rows] for side in (source.queries, source.passages))
        keys_B = torch.tensor([source.keys[i] for i in rows], device=device)
        same_BB = keys_B[:, None] == keys_B
        size = config.chunk or len(rows)
        chunks = [
            side[i : i + size] for side in (queries, passages) for i in range(0, len(rows), size)
        ]
        rate = learning_rate(progress, stage.rate)

        def loss_of(vectors_ND: Tensor, same_BB: Tensor = same_BB) -> Tensor:
            return spread.part(model.loss(vectors_ND, same_BB), 1, spread.n)

        if config.chunk:
            value = spread.update(cached_backward(loss_of, embed, chunks), model, optimizer, rate)
        else:
            loss = loss_of(torch.cat([embed(chunk) for chunk in chunks]))
            value = spread.train_step(loss, model, optimizer, rate)
        average.update(encoder)
        budget.step += 1
        if not spread.first:
            continue
        tokens = sum(len(row) for row in queries + passages)
        if line := log.add(stage.name, budget, value, tokens, rate):
            yield line
        if budget.step % config.save_every == 0 or budget.done:
            save_state(state, model, optimizer, budget, average)
        if line := development.add(stage.name, budget, encoder, average):
            yield line
    average.copy_to(encoder)
