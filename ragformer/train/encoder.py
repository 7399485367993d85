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
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
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
from ragformer.train.loop import Log, backward, bf16, cached_backward, reuse_memory
from ragformer.train.neighbours import Vectors, draw_rows, near_order
from ragformer.train.pairs import WEIGHTS, Ids, Pairs, load_pairs, pad
from ragformer.train.spread import Spread, spreading
from ragformer.train.stage import Plan, Stage
from ragformer.train.taught import (
    ask_teacher,
    read_taught,
    start_from_bag,
    taught_step,
    taught_texts,
)

EMBEDDINGS_SHARE = 0.3
"""Of the counted vectors in the table; the rest is noise, which keeps pieces apart."""
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
    if min(config.batch, config.bag_batch) < 2:
        raise InputError(
            "a pair is learned by telling it from the others of its batch; give --batch and"
            " --bag-batch 2 or more"
        )
    with spreading() as spread:
        spread.check(config.batch // 2)  # so many rows has the masked stage
        if config.teacher and spread.n > 1:
            raise InputError("one process learns from a teacher; leave out torchrun, or --teacher")
        yield from (line for line in _train(config, spread) if spread.first)


@dataclass(frozen=True, slots=True)
class _Run:
    """What every stage is given."""

    config: Config
    encoder: SentenceEncoder
    device: torch.device
    log: Log
    development: Development
    spread: Spread

    def plan(
        self, name: str, minutes: float, steps: int, rate: float, weight_decay: float = 0.05
    ) -> Plan:
        state, every = self.config.work / f"{name}.pt", self.config.save_every
        return Plan(name, state, minutes, steps, rate, weight_decay, save_every=every)


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
    run = _Run(config, model, device, log, development, spread)
    bag = run.plan("bag", config.bag_minutes, config.bag_steps, config.bag_rate)
    bag_run = replace(run, log=Log(log.path, model.token_weight, device))  # no matrices in it
    yield from _contrastive_stage(bag_run, bag, config.bag_batch, sources)
    if config.teacher:
        yield from _learn_from_teacher(run, config.teacher, tokenizer, sources)
    near = [near_order(_bag_vectors(model, source), config.seed) for source in sources]
    orders = spread.agreed(near)  # machines may round apart
    sources = [source.ordered(order) for source, order in zip(sources, orders, strict=True)]
    if config.masked_minutes and config.masked_steps:
        yield from _masked_stage(run, tokenizer.surprisal, sources)
    whole = run.plan("contrastive", config.minutes, config.steps, config.peak_rate)
    yield from _contrastive_stage(run, whole, config.batch, sources)
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


def _masked_stage(run: _Run, surprisal: list[float], sources: list[Pairs]) -> Iterator[str]:
    """Predict hidden tokens of passages (Devlin et al. 2018, arXiv:1810.04805, section 3.1)."""
    config, encoder, device, spread = run.config, run.encoder, run.device, run.spread
    model = _Masked(encoder, surprisal).to(device)
    plan = run.plan("masked", config.masked_minutes, config.masked_steps, config.peak_rate)
    stage = Stage(plan, model, averaged=nn.Module())  # nothing: a start needs no average
    texts = [passage for source in sources for passage in source.passages if len(passage) > 30]
    if not texts:
        raise InputError(f"{config.data} holds no passage of more than 30 tokens")
    rng = random.Random(config.seed + 1 + stage.budget.step)

    def step() -> tuple[Tensor, int]:
        ids_BT, keep_BT = pad(rng.sample(texts, min(config.batch // 2, len(texts))), device)
        masked_BT = (torch.rand(ids_BT.shape, device=device) < 0.2) & keep_BT
        n_tokens, n_masked = int(keep_BT.sum()), masked_BT.sum()
        ids_BT, keep_BT, masked_BT = (spread.share(x) for x in (ids_BT, keep_BT, masked_BT))
        with bf16(device):
            hidden_BTD = encoder.hidden(ids_BT.masked_fill(masked_BT, MASK), keep_BT)
            logits_MV = encoder.token_logits(hidden_BTD[masked_BT]).float() + model.bias
            loss = F.cross_entropy(logits_MV, ids_BT[masked_BT], reduction="sum") / n_masked
        return backward(loss), n_tokens

    yield from stage.train(step, run.log, spread)


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


@torch.no_grad()
def _bag_vectors(encoder: SentenceEncoder, source: Pairs) -> Vectors:
    """Every passage by its bare tokens, float32 [N, D]."""
    device = encoder.token_weight.weight.device
    batches = [source.passages[i : i + 4096] for i in range(0, len(source.passages), 4096)]
    return np.concatenate(
        [encoder.bag(pad(batch, device)[0], PAD).cpu().numpy() for batch in batches]
    )


def _embed(encoder: SentenceEncoder, device: torch.device, bag: bool, rows: list[Ids]) -> Tensor:
    """Unit vectors of the rows, float32 [N, D]."""
    ids_BT, keep_BT = pad(rows, device)
    if bag:
        return encoder.bag(ids_BT, PAD)
    with bf16(device):
        vectors_BD: Tensor = encoder(ids_BT, keep_BT)
    return vectors_BD


def _learn_from_teacher(
    run: _Run, teacher: Path, tokenizer: Tokenizer, sources: list[Pairs]
) -> Iterator[str]:
    """Ask the teacher, start from the bag's best fit to it, then learn the rest."""
    config, model, device = run.config, run.encoder, run.device
    work, most = config.work / "taught", config.taught_tokens
    texts = taught_texts(sources, config.seed)
    yield from ask_teacher(teacher, texts, tokenizer, work, config.teacher_minutes)
    taught = read_taught(texts, work, config.d_model)
    yield f"taught  texts {len(taught.texts)}  tokens {sum(map(len, taught.texts))}"
    start_from_bag(model, lambda rows: model.bag_mean(pad(rows, device)[0], PAD), taught)
    for name, minutes, rate, most_tokens in (
        ("taught-bag", config.taught_bag_minutes, config.bag_rate, 8 * most),
        ("taught", config.taught_minutes, config.taught_rate, most),
    ):
        plan = run.plan(name, minutes, config.steps, rate, weight_decay=0.01)
        stage = Stage(plan, model, averaged=model)
        embed = partial(_embed, model, device, name == "taught-bag")
        step = taught_step(embed, taught, most_tokens, random.Random(stage.budget.step))
        yield from stage.train(step, run.log, run.spread, run.development)


def _contrastive_stage(run: _Run, plan: Plan, batch: int, sources: list[Pairs]) -> Iterator[str]:
    """Train on pairs, a source a batch, and leave the averaged weights in the encoder."""
    config, encoder, device, spread = run.config, run.encoder, run.device, run.spread
    bag = plan.name == "bag"
    if not bag and config.bag_steps and config.bag_minutes:
        # Small batches would only blur what the bag's large ones have taught the table.
        encoder.transformer.embed.requires_grad_(False)
        encoder.token_weight.requires_grad_(False)
    model = _Contrastive(encoder).to(device)
    stage = Stage(plan, model, averaged=encoder)
    weights = [WEIGHTS.get(source.name, 1.0) for source in sources]
    rng = random.Random(config.seed + 2 + stage.budget.step)
    embed = partial(spread.embed, partial(_embed, encoder, device, bag))

    def step() -> tuple[Tensor, int]:
        source = rng.choices(sources, weights)[0]
        rows = draw_rows(len(source.queries), batch, rng)
        sides = [[side[i] for i in rows] for side in (source.queries, source.passages)]
        keys_B = torch.tensor([source.keys[i] for i in rows], device=device)
        same_BB = keys_B[:, None] == keys_B
        size = config.chunk or len(rows)
        chunks = [side[i : i + size] for side in sides for i in range(0, len(rows), size)]

        def loss_of(vectors_ND: Tensor) -> Tensor:
            return spread.part(model.loss(vectors_ND, same_BB), 1, spread.n)

        if config.chunk:
            loss = cached_backward(loss_of, embed, chunks)
        else:
            loss = backward(loss_of(torch.cat([embed(chunk) for chunk in chunks])))
        return loss, sum(len(row) for side in sides for row in side)

    yield from stage.train(step, run.log, spread, run.development)
