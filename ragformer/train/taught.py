"""Distillation: learn the vectors that another encoder, the teacher, gives to many texts.

    texts      queries and passages of the pairs, each once, in random order
    vectors    the teacher's, a shard after another in work/taught, until its minutes are over
    targets    the same along their main directions, so that the first numbers say most
    start      the bag's table, taken to the targets by least squares
    training   the bag alone, then every weight: as near the targets as they come

One text tells all that the teacher knows of it, with no other texts beside it; a contrastive batch
only tells which of its texts belong together. Source: Reimers & Gurevych 2020, arXiv:2004.09813.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ragformer.errors import InputError
from ragformer.nn.heads import SentenceEncoder
from ragformer.retrieve.embed import Encoder, length_sorted_batches, load_encoder
from ragformer.text.tokenizer import Tokenizer
from ragformer.train.loop import backward
from ragformer.train.pairs import Ids, Pairs
from ragformer.train.stage import Step

Vectors = npt.NDArray[np.float32]

SHARD = 4096
"""Texts embedded and saved at once."""
WINDOW = (12, 48)
"""Tokens."""
POOL = 4096
"""Texts drawn at once and laid in batches of similar length."""
RIDGE = 1e-3
"""Added to the least squares' diagonal, as a share of its mean: rare pieces are seldom seen."""


@dataclass(frozen=True, slots=True)
class Taught:
    """Texts and the unit vectors to come close to, float32 [N, D]."""

    texts: list[Ids]
    targets_ND: Vectors


def taught_texts(sources: Sequence[Pairs], seed: int) -> list[Ids]:
    """Every query and passage once, in random order; thinned sentences are no text anyone writes.

    Of three passages in four a window is taken: most sense is in a sentence or two, and the
    teacher reads twice as many texts in the same time.
    """
    rng = random.Random(seed)
    written = [source for source in sources if source.name != "mined-sentence"]
    rows = {row.tobytes(): row for source in written for row in source.queries if len(row)}
    for source in sources:
        for row in source.passages:
            if len(row) > WINDOW[0] and rng.random() < 0.75:
                start = rng.randrange(len(row) - WINDOW[0])
                row = row[start : start + rng.randint(*WINDOW)]
            rows[row.tobytes()] = row
    texts = list(rows.values())
    rng.shuffle(texts)
    return texts


def ask_teacher(
    folder: Path, texts: list[Ids], tokenizer: Tokenizer, work: Path, minutes: float
) -> Iterator[str]:
    """Save the teacher's vectors of the texts, shard after shard, for so many minutes of work.

    Shards that are there already count as done; the minutes are those of this call.
    """
    teacher = _quick(load_encoder(folder))
    work.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * minutes
    for first in range(0, len(texts), SHARD):
        path = work / f"{first // SHARD:05d}.npy"
        if path.exists():
            continue
        if time.monotonic() > end:
            break
        shard = [tokenizer.decode(row.tolist()) for row in texts[first : first + SHARD]]
        scratch = path.with_suffix(".partial")
        with scratch.open("wb") as file:
            np.save(file, teacher.encode(shard).astype(np.float16))
        scratch.replace(path)
        yield f"teacher  texts {first + len(shard)}"


def _quick(encoder: Encoder) -> Encoder:
    """The same in bfloat16, as all of training: rounding is far below what a student misses."""
    quick = Encoder(encoder.model, encoder.tokenizer, encoder.id, encoder.form)
    quick.bf16 = True
    return quick


def read_taught(texts: list[Ids], work: Path, dim: int) -> Taught:
    """What is saved, along its `dim` main directions; the rest is dropped, the length 1 again.

    Raises InputError where nothing is.
    """
    shards = [np.load(path) for path in sorted(work.glob("*.npy"))]
    if not shards:
        raise InputError("the teacher has embedded no text; give it more --teacher-minutes")
    taught_ND = np.concatenate(shards).astype(np.float32)
    _, directions_DD = np.linalg.eigh(taught_ND.T @ taught_ND)  # the strongest come last
    targets_ND = taught_ND @ directions_DD[:, ::-1][:, :dim]
    targets_ND /= np.linalg.norm(targets_ND, axis=1, keepdims=True)
    return Taught(texts[: len(targets_ND)], targets_ND)


@torch.no_grad()
def start_from_bag(
    encoder: SentenceEncoder, mean_of: Callable[[list[Ids]], Tensor], taught: Taught
) -> None:
    """Turn the table so that the bag's vectors are the targets' least squares fit.

    mean_of: unnormalised weighted means of bare tokens [N, D]. The map is linear, so it can be
    put into the table; what it does to a piece's length goes into the weight of the piece, as the
    final norm would take it away.
    """
    transformer = encoder.transformer
    gram_DD = torch.zeros(encoder.config.d_model, encoder.config.d_model)
    moment_DD = torch.zeros(encoder.config.d_model, taught.targets_ND.shape[1])
    for first in range(0, len(taught.texts), SHARD):
        means_ND = mean_of(taught.texts[first : first + SHARD]).cpu()
        gram_DD += means_ND.T @ means_ND
        moment_DD += means_ND.T @ torch.from_numpy(taught.targets_ND[first : first + SHARD])
    gram_DD += RIDGE * gram_DD.diagonal().mean() * torch.eye(len(gram_DD))
    map_DD = torch.linalg.solve(gram_DD, moment_DD).to(transformer.embed.weight.device)
    table_VD = transformer.norm(transformer.embed.weight) @ map_DD
    size_V1 = table_VD.square().mean(1, keepdim=True).sqrt().clamp(min=1e-12)
    scale = transformer.embed.weight.square().mean().sqrt()
    transformer.embed.weight.copy_(table_VD / size_V1 * scale)
    transformer.norm.weight.fill_(1.0)  # type: ignore[operator]
    encoder.token_weight.weight.add_(size_V1.log())


def batches(taught: Taught, most_tokens: int, rng: random.Random) -> Iterator[list[int]]:
    """Rows of similar length, at most `most_tokens` together, for ever."""
    while True:
        pool = rng.sample(range(len(taught.texts)), min(POOL, len(taught.texts)))
        laid = length_sorted_batches([len(taught.texts[i]) for i in pool], most_tokens)
        rng.shuffle(laid)
        for batch in laid:
            yield [pool[i] for i in batch]


def taught_step(
    embed: Callable[[list[Ids]], Tensor], taught: Taught, most_tokens: int, rng: random.Random
) -> Step:
    """Bring a batch's vectors nearer to their targets; the loss is 1 - cosine, their mean."""
    drawn = batches(taught, most_tokens, rng)

    def step() -> tuple[Tensor, int]:
        rows = next(drawn)
        texts = [taught.texts[i] for i in rows]
        vectors_BD = embed(texts)
        target_BD = torch.from_numpy(taught.targets_ND[rows]).to(vectors_BD.device)
        return backward(1 - (vectors_BD * target_BD).sum(-1).mean()), sum(map(len, texts))

    return step
