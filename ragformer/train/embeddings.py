"""Count which pieces stand near which in plain text, and factorise: token vectors to start from.

A table so begun knows that "March" and "April" go together before the first gradient. Source:
positive pointwise mutual information, factorised (Levy, Goldberg & Dagan 2015, TACL 3, sections
2.1 and 3, with context smoothing), contexts weighted by 1/distance (Pennington et al. 2014, GloVe).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ragformer.errors import InputError
from ragformer.text.normalize import model_line
from ragformer.text.tokenizer import Tokenizer
from ragformer.train.data import jsonl_files, read_rows

SMOOTHING = 0.75
"""Power of the context counts: rare contexts would otherwise look too telling."""


@dataclass(frozen=True, slots=True)
class Config:
    """data: the folder with text/. tokenizer: a tokenizer.model. out: a .safetensors to write."""

    data: Path
    tokenizer: Path
    out: Path
    d_model: int = 256
    window: int = 8
    tokens_per_file: int = 5_000_000
    seed: int = 0


def main(config: Config) -> Path:
    """Write config.out and return its path."""
    tokenizer = Tokenizer(config.tokenizer)
    counts_VV = torch.zeros(tokenizer.vocab_size, tokenizer.vocab_size)
    for path in jsonl_files(config.data / "text"):
        left = config.tokens_per_file
        for ids_N in _documents(path, tokenizer):
            add_counts(counts_VV, ids_N, config.window)
            left -= len(ids_N)
            if left < 0:
                break
    torch.manual_seed(config.seed)
    config.out.parent.mkdir(parents=True, exist_ok=True)
    save_file({"vectors": factorise(counts_VV, config.d_model)}, config.out)
    return config.out


def _documents(path: Path, tokenizer: Tokenizer, size: int = 500_000) -> Iterator[Tensor]:
    """The tokens of a file, some `size` at a time: counting goes faster over many."""
    ids: list[int] = []
    for document in read_rows(path, "sections"):
        for section in document["sections"]:
            ids += tokenizer.encode(model_line(section["text"]))
        if len(ids) >= size:
            yield torch.tensor(ids)
            ids = []
    yield torch.tensor(ids, dtype=torch.int64)


def add_counts(counts_VV: Tensor, ids_N: Tensor, window: int) -> None:
    """Add 1/k to counts[a, b] wherever b stands k places after a, for k from 1 to `window`."""
    flat = counts_VV.view(-1)
    for distance in range(1, min(window, len(ids_N) - 1) + 1):
        pairs_M = ids_N[:-distance] * counts_VV.shape[1] + ids_N[distance:]
        flat.index_add_(0, pairs_M, torch.full((len(pairs_M),), 1 / distance))


def factorise(counts_VV: Tensor, dim: int) -> Tensor:
    """Vectors [V, dim] of root mean square 1, zero for a piece that was never seen.

    What follows a piece and what precedes it are told apart: both say what kind of word it is.
    """
    both_VC = torch.cat([_positive_information(counts_VV), _positive_information(counts_VV.T)], 1)
    left_VD, strength_D, _ = torch.svd_lowrank(both_VC, q=dim, niter=3)
    vectors_VD = left_VD * strength_D.sqrt()
    seen_V = both_VC.any(dim=1)
    vectors_VD = vectors_VD - vectors_VD[seen_V].mean(0)
    size_V1 = vectors_VD.square().mean(1, keepdim=True).sqrt()
    return vectors_VD / size_V1.clamp(min=1e-12) * seen_V[:, None]


def _positive_information(counts_VC: Tensor) -> Tensor:
    """max(0, log p(context | piece) / p(context)), contexts smoothed."""
    pieces_V1 = counts_VC.sum(1, keepdim=True)
    contexts_C = counts_VC.sum(0).pow(SMOOTHING)
    expected_VC = pieces_V1 * (contexts_C / contexts_C.sum())
    return (counts_VC / expected_VC.clamp(min=1e-12)).clamp(min=1.0).log()


def start_from(table_VD: Tensor, path: Path, share: float = 1.0) -> None:
    """Give the rows of an embedding table that the file has vectors for that share of them.

    share: of a row's variance; the rest is what stood there. The table keeps its scale.
    """
    try:
        vectors_VD = load_file(path)["vectors"]
    except (SafetensorError, KeyError) as error:
        raise InputError(f"{path} is no file of `ragformer train embeddings`: {error}") from error
    if vectors_VD.shape != table_VD.shape:
        raise InputError(
            f"{path} holds vectors {list(vectors_VD.shape)}, not {list(table_VD.shape)}"
        )
    seen_V1 = vectors_VD.any(dim=1, keepdim=True)
    with torch.no_grad():
        mixed_VD = share**0.5 * vectors_VD * table_VD.std() + (1 - share) ** 0.5 * table_VD
        table_VD.copy_(torch.where(seen_V1, mixed_VD, table_VD))
