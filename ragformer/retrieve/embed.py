"""Texts to vectors with our own encoder."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ragformer.config import model_folder
from ragformer.nn.checkpoint import load_weights, weights_id
from ragformer.nn.config import model_config
from ragformer.nn.device import pick_device
from ragformer.nn.heads import SentenceEncoder
from ragformer.store.rows import storable
from ragformer.text.normalize import model_line
from ragformer.text.tokenizer import PAD, Tokenizer

MAX_TOKENS = 256
BATCH_TOKENS = 8192
LONGEST_PIECE = 16
"""Characters in the longest piece of a sentencepiece vocabulary (its trainer's default)."""

Vectors = npt.NDArray[np.float32]


def passage_text(title: str, heading_path: Sequence[str], text: str) -> str:
    """What is embedded for a passage: its title and headings, then its text."""
    return ". ".join([part for part in (title, *heading_path) if part] + [text])


class Encoder:
    """A loaded encoder. `id` names its weights: vectors of different ids are not comparable."""

    def __init__(self, model: SentenceEncoder, tokenizer: Tokenizer, identity: str) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.id = identity
        self.dim = model.config.d_model
        self.device = next(model.parameters()).device
        self._bf16 = self.device.type == "cuda" or bf16_is_faster()

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, float32 [N, D], in the order of `texts`; each text's first 256 tokens
        count. Any string has a vector."""
        rows = [self._ids(text) for text in texts]
        vectors_ND = np.zeros((len(rows), self.dim), dtype=np.float32)
        for batch in length_sorted_batches([len(row) for row in rows], BATCH_TOKENS):
            vectors_ND[batch] = self._forward([rows[i] for i in batch], self._bf16)
        return vectors_ND

    def encode_query(self, text: str) -> Vectors:
        """The unit vector of one question, float32 [D]; in float32, as one row gains nothing
        from bfloat16."""
        vector_D: Vectors = self._forward([self._ids(text)], False)[0]
        return vector_D

    def _ids(self, text: str) -> list[int]:
        # Only these characters can reach the first tokens; the rest is not worth cutting.
        line = model_line(storable(text[: MAX_TOKENS * LONGEST_PIECE]))
        return self.tokenizer.encode(line)[:MAX_TOKENS]

    @torch.inference_mode()
    def _forward(self, rows: list[list[int]], bf16: bool) -> Vectors:
        ids_BT, keep_BT = (tensor.to(self.device) for tensor in pad_rows(rows))
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=bf16):
            vectors_BD: Vectors = self.model(ids_BT, keep_BT).cpu().numpy()
        return vectors_BD


def pad_rows(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """ids_BT with PAD behind the shorter rows, and keep_BT, True where a token is real."""
    length = max(len(row) for row in rows)
    ids_BT = torch.tensor([[*row, *[PAD] * (length - len(row))] for row in rows])
    lengths_B = torch.tensor([len(row) for row in rows])
    return ids_BT, torch.arange(length)[None] < lengths_B[:, None]


def length_sorted_batches(lengths: Sequence[int], most_tokens: int) -> list[list[int]]:
    """Indices in batches of similar length, each at most `most_tokens` with its padding."""
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    batches: list[list[int]] = []
    for i in order:
        if batches and (len(batches[-1]) + 1) * lengths[i] <= most_tokens:
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches


def bf16_is_faster(size: int = 512) -> bool:
    """Whether this CPU multiplies bfloat16 matrices clearly faster than float32: measured once
    at load (about 5 ms), since no flag says it on every system."""
    times = {}
    for dtype in (torch.float32, torch.bfloat16):
        a = torch.ones(size, size, dtype=dtype)
        a @ a
        start = time.perf_counter()
        for _ in range(4):
            a @ a
        times[dtype] = time.perf_counter() - start
    return times[torch.bfloat16] < 0.7 * times[torch.float32]


def load_encoder(path: Path | None = None) -> Encoder:
    """The encoder in the folder `path`, or the one in the box; on the GPU where there is one."""
    folder = model_folder("encoder", path)
    model = SentenceEncoder(model_config(folder, "encoder"))
    load_weights(model, folder)
    tokenizer = Tokenizer(folder / "tokenizer.model")
    return Encoder(model.to(pick_device()), tokenizer, weights_id(folder))
