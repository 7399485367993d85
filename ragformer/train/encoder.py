"""Train the encoder: a masked-language stage, then contrastive pairs.

Known: a learned weight per token in the mean starts as the tokenizer's rarity and moves little;
batches from one source at a time give harder negatives than mixed ones. Not known: how much a
longer masked stage, hard negatives or a teacher would add.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
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
from ragformer.train.embeddings import start_from
from ragformer.train.loop import (
    TILE,
    Averager,
    Budget,
    Log,
    MuonAdamW,
    bf16,
    learning_rate,
    load_state,
    save_state,
    train_step,
)
from ragformer.train.pairs import WEIGHTS, Ids, Pairs, load_pairs

EMBEDDINGS_SHARE = 0.3
"""Of the counted vectors in the table; the rest is noise, which keeps pieces apart."""
NEIGHBOURS = 8
"""Rows side by side in a source are mostly of one document: negatives that are hard to tell."""


@dataclass(frozen=True, slots=True)
class Config:
    """data: the folder with pairs/, qa/ and text/. out: where the weights go, tokenizer there.

    embeddings: vectors of `train embeddings` to start the table from.
    """

    data: Path
    out: Path
    work: Path
    embeddings: Path | None = None
    d_model: int = 256
    n_layers: int = 3
    max_tokens: int = 128
    batch: int = 192
    peak_rate: float = 1e-3
    masked_minutes: float = 3.0
    masked_steps: int = 100_000
    minutes: float = 40.0
    steps: int = 100_000
    paragraphs_per_file: int = 30_000
    save_every: int = 250
    seed: int = 0


def main(config: Config) -> Iterator[str]:
    """Train and write the weights, resuming from config.work; yields lines of the log."""
    torch.manual_seed(config.seed)
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
    log = Log(config.work / "encoder.csv", model, device)
    yield from _masked_stage(config, model, tokenizer.surprisal, sources, log, device)
    yield from _contrastive_stage(config, model, sources, log, device)
    write_model_config(model.config, "encoder", config.out)
    save_weights(model, config.out, torch.bfloat16)
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


def pad(rows: list[Ids], device: torch.device) -> tuple[Tensor, Tensor]:
    """ids_BT and keep_BT of rows of different lengths, the rest PAD; T is a multiple of TILE."""
    lengths = np.array([max(1, len(row)) for row in rows])
    width = -(-int(lengths.max()) // TILE) * TILE
    ids = np.full((len(rows), width), PAD, dtype=np.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
    keep = np.arange(ids.shape[1])[None] < lengths[:, None]
    return torch.from_numpy(ids).to(device), torch.from_numpy(keep).to(device)


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
    device: torch.device,
) -> Iterator[str]:
    """Predict hidden tokens of passages (Devlin et al. 2018, arXiv:1810.04805, section 3.1)."""
    model = _Masked(encoder, surprisal).to(device)
    optimizer = MuonAdamW(model, config.peak_rate, 0.05)
    budget = Budget(config.masked_minutes, config.masked_steps)
    state = config.work / "masked.pt"
    load_state(state, model, optimizer, budget)
    texts = [passage for source in sources for passage in source.passages if len(passage) > 30]
    if not texts:
        raise InputError(f"{config.data} holds no passage of more than 30 tokens")
    rng = random.Random(config.seed + 1 + budget.step)
    while not budget.done:
        ids_BT, keep_BT = pad(rng.sample(texts, min(config.batch // 2, len(texts))), device)
        masked_BT = (torch.rand(ids_BT.shape, device=device) < 0.2) & keep_BT
        rate = learning_rate(budget.progress, config.peak_rate)
        with bf16(device):
            hidden_BTD = encoder.hidden(ids_BT.masked_fill(masked_BT, MASK), keep_BT)
            logits_MV = encoder.token_logits(hidden_BTD[masked_BT]).float() + model.bias
            loss = F.cross_entropy(logits_MV, ids_BT[masked_BT])
        value = train_step(loss, model, optimizer, rate)
        budget.step += 1
        if line := log.add("masked", budget, value, int(keep_BT.sum()), rate):
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


def _draw(n: int, batch: int, rng: random.Random) -> list[int]:
    """At most `batch` different rows, in runs of NEIGHBOURS from random places."""
    starts = [rng.randrange(n) for _ in range(-(-batch // NEIGHBOURS))]
    runs = ((start + i) % n for start in starts for i in range(NEIGHBOURS))
    return list(dict.fromkeys(runs))[:batch]


def _contrastive_stage(
    config: Config, encoder: SentenceEncoder, sources: list[Pairs], log: Log, device: torch.device
) -> Iterator[str]:
    model = _Contrastive(encoder).to(device)
    optimizer = MuonAdamW(model, config.peak_rate, 0.05)
    budget = Budget(config.minutes, config.steps)
    state = config.work / "contrastive.pt"
    average = Averager(encoder)
    load_state(state, model, optimizer, budget, average)
    weights = [WEIGHTS.get(source.name, 1.0) for source in sources]
    rng = random.Random(config.seed + 2 + budget.step)
    while not budget.done:
        source = rng.choices(sources, weights)[0]
        rows = _draw(len(source.queries), config.batch, rng)
        query_ids, query_keep = pad([source.queries[i] for i in rows], device)
        passage_ids, passage_keep = pad([source.passages[i] for i in rows], device)
        keys_B = torch.tensor([source.keys[i] for i in rows], device=device)
        rate = learning_rate(budget.progress, config.peak_rate)
        with bf16(device):
            queries_BD = encoder(query_ids, query_keep)
            passages_BD = encoder(passage_ids, passage_keep)
        same_BB = keys_B[:, None] == keys_B[None]
        loss = contrastive_loss(queries_BD, passages_BD, same_BB, model.log_scale.clamp(max=4.6))
        value = train_step(loss, model, optimizer, rate)
        average.update(encoder)
        budget.step += 1
        tokens = int(query_keep.sum() + passage_keep.sum())
        if line := log.add("contrastive", budget, value, tokens, rate):
            yield line
        if budget.step % config.save_every == 0 or budget.done:
            save_state(state, model, optimizer, budget, average)
    average.copy_to(encoder)
