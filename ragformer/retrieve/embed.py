"""Texts to vectors with an encoder: our own, or an imported one in the same form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ragformer.config import model_folder
from ragformer.errors import WeightsError
from ragformer.nn.checkpoint import load_weights, weights_id
from ragformer.nn.config import model_config, read_config
from ragformer.nn.device import bf16_is_faster, pick_device
from ragformer.nn.heads import SentenceEncoder
from ragformer.nn.rows import Rows
from ragformer.store.rows import storable
from ragformer.text.checkpoint_tokenizer import CheckpointTokenizer
from ragformer.text.normalize import model_line
from ragformer.text.tokenizer import PAD, Tokenizer

MAX_TOKENS = 256
# On CPU what a batch works on should stay in the cache, and below the sizes for which the system
# gives fresh memory each time: 1024 or 2048 tokens are a fifth faster than 8192, and of 64 chunks
# batches of 1024 pad 4 %, of 2048 7 %, of 8192 24 %.
CPU_BATCH_TOKENS = 1024
TILE = 16
# A GPU is busy from some ten thousand; the free half of its memory bounds what a batch works on.
CUDA_BATCH_TOKENS = (4096, 1 << 17)

Vectors = npt.NDArray[np.float32]


def passage_text(title: str, heading_path: Sequence[str], text: str) -> str:
    """What is embedded for a passage: its title and headings, then its text."""
    return ". ".join([part for part in (title, *heading_path) if part] + [text])


@dataclass(frozen=True, slots=True)
class TextForm:
    """How an encoder wants its texts: "texts" in its config.json.

    query_prefix, passage_prefix: stand in front of each question, of each passage. max_tokens:
    how many count. float32: compute in it even where bfloat16 is faster, so that an imported
    encoder gives its reference's numbers.
    """

    query_prefix: str = ""
    passage_prefix: str = ""
    max_tokens: int = MAX_TOKENS
    float32: bool = False

    def __post_init__(self) -> None:
        if self.max_tokens < 3:  # a symbol, a token and a symbol
            raise WeightsError(f"an encoder that reads {self.max_tokens} tokens reads no text")

    @classmethod
    def from_dict(cls, values: Any) -> TextForm:
        """The form in a parsed config.json; a field that is unknown or no such value is refused."""
        if not isinstance(values, dict):
            raise WeightsError(f"an encoder's texts are described by {values!r}, not an object")
        defaults = {field.name: field.default for field in fields(cls)}
        for name, value in values.items():
            if name not in defaults:
                raise WeightsError(f"an encoder's texts have no {name}; there are: {[*defaults]}")
            if type(value) is not type(defaults[name]):
                raise WeightsError(f"{name} of an encoder's texts is {value!r}")
        return cls(**values)


OUR_FORM = TextForm()


class Encoder:
    """A loaded encoder. `id` names its weights: vectors of different ids are not comparable."""

    def __init__(
        self,
        model: SentenceEncoder,
        tokenizer: Tokenizer | CheckpointTokenizer,
        identity: str,
        form: TextForm = OUR_FORM,
    ) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.id = identity
        self.form = form
        self.dim = model.config.d_model
        self.device = next(model.parameters()).device

    @cached_property
    def bf16(self) -> bool:
        """Whether `encode` computes in bfloat16; a question alone need not find out."""
        return not self.form.float32 and (self.device.type == "cuda" or bf16_is_faster())

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors of passages, float32 [N, D], in their order; each one's first tokens
        count, 256 in our own encoder. Any string has a vector."""
        return self._encode(self.form.passage_prefix, texts)

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """As `encode`, for questions."""
        return self._encode(self.form.query_prefix, texts)

    def _encode(self, prefix: str, texts: Sequence[str]) -> Vectors:
        rows = [self._ids(prefix + text) for text in texts]
        vectors_ND = np.zeros((len(rows), self.dim), dtype=np.float32)
        batches = length_sorted_batches([len(row) for row in rows], self._batch_tokens())
        # Around all batches, not each: it rounds the weights once for as long as it is open, which
        # it would not do in inference mode.
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            for batch in batches:
                vectors_ND[batch] = self._forward([rows[i] for i in batch])
        return vectors_ND

    def count_tokens(self, texts: Sequence[str]) -> int:
        """How many tokens `encode` computes for these passages, padding left out."""
        return sum(len(self._ids(self.form.passage_prefix + text)) for text in texts)

    def encode_query(self, text: str) -> Vectors:
        """The unit vector of one question, float32 [D]; in float32, as one row gains nothing
        from bfloat16."""
        vector_D: Vectors = self._forward([self._ids(self.form.query_prefix + text)])[0]
        return vector_D

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer.row(model_line(storable(text)), self.form.max_tokens)

    @torch.no_grad()
    def _forward(self, rows: list[list[int]]) -> Vectors:
        if self.device.type == "cuda":
            vectors_BD = self.model.of_rows(*Rows.lay(rows, self.device))
        else:
            vectors_BD = self.model(*pad_rows(rows, self.model.config.max_seq_len))
        numbers: Vectors = vectors_BD.cpu().numpy()
        return numbers

    def _batch_tokens(self) -> int:
        """How many tokens to compute at once."""
        if self.device.type == "cpu":
            return CPU_BATCH_TOKENS
        free, _ = torch.cuda.mem_get_info(self.device)
        # Live at once in float32 at worst: the stream, its norm, queries, keys, values and what
        # they see, and two or three of the MLP's width.
        config = self.model.config
        per_token = 4 * (8 * config.d_model + 3 * config.d_ff)
        low, high = CUDA_BATCH_TOKENS
        return min(max(free // 2 // per_token, low), high)


def pad_rows(rows: Sequence[Sequence[int]], most: int) -> tuple[Tensor, Tensor]:
    """ids_BT with PAD behind the shorter rows, and keep_BT, True where a token is real.

    T of several rows is a whole number of TILEs up to `most`: for each shape of a matrix product
    the CPU's library keeps a kernel, which for every length of text would come to 300 MB.
    """
    length = max(len(row) for row in rows)
    if len(rows) > 1:
        length = max(length, min(-(-length // TILE) * TILE, most))
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


def load_encoder(path: Path | None = None) -> Encoder:
    """The encoder in the folder `path`, or the one in the box; on the GPU where there is one."""
    folder = model_folder("encoder", path)
    model = SentenceEncoder(model_config(folder, "encoder"))
    load_weights(model, folder)
    form = TextForm.from_dict(read_config(folder / "config.json").get("texts", {}))
    tokenizer = _open_tokenizer(folder)
    for what, has, most in (
        ("tokenizer knows", tokenizer.vocab_size, model.config.vocab_size),
        ("texts take", form.max_tokens, model.config.max_seq_len),
    ):
        if has > most:
            raise WeightsError(f"the {what} {has} tokens in {folder}, its transformer {most}")
    return Encoder(model.to(pick_device()), tokenizer, weights_id(folder), form)


def _open_tokenizer(folder: Path) -> Tokenizer | CheckpointTokenizer:
    imported = folder / "tokenizer.json"
    return (
        CheckpointTokenizer(imported)
        if imported.is_file()
        else Tokenizer(folder / "tokenizer.model")
    )
