"""An imported decoder at work: messages in, its text as it is written, quotations by the grammar.

messages -> its chat template -> token ids -> prefill -> decode steps under `CitedProse`

A prompt is read in blocks, and whole blocks that it begins with like one before (the rules, the
same passages) are not read again. Replies written at the same time go on in steps of one batch.
"""

from __future__ import annotations

import codecs
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Event

import torch

from ragformer.answer.checkpoints import chat_of
from ragformer.answer.cited_prose import ChatVocabulary, CitedProse
from ragformer.answer.remote import Reply
from ragformer.config import model_folder
from ragformer.errors import InputError, WeightsError
from ragformer.nn.cache import KVCache
from ragformer.nn.checkpoint import load_weights, weight_files, weights_id
from ragformer.nn.config import TransformerConfig, model_config
from ragformer.nn.device import bf16_is_faster, pick_device
from ragformer.nn.generate import Batch, generate_beside
from ragformer.nn.heads import Decoder
from ragformer.nn.kept import Prefixes
from ragformer.nn.lookup import Lookup
from ragformer.nn.quantize import pack, quickest_form
from ragformer.text.chat_template import ChatTemplate
from ragformer.text.checkpoint_tokenizer import ChatTokenizer
from ragformer.types import WAITING, Passage, Sampling

LONGEST_REPLY = 512
"""Tokens: five sentences and their quotations."""
PREFILL = (64, 128, 256, 512)
"""Tokens that may be read at once. On a CPU more are no quicker, and 64 take a fifth longer than
256 (0.5 billion weights of Qwen2, bfloat16)."""
MOST_PRODUCTS = 10**11
"""Of a weight and a number, in one such block: others wait as long, 1.5 s or so on 2 cores."""
MOST_PACKED_BYTES = 4 * 2**30
"""Weights that are packed unasked; of more, a second copy is memory that nobody offered."""
KEPT_BYTES = 256 * 2**20
"""Of keys and values of prompts read before: with 0.5 billion weights of Qwen2 21,000 tokens."""


class Writer:
    """A loaded decoder that was imported. `id` names its weights."""

    def __init__(
        self,
        model: Decoder,
        tokenizer: ChatTokenizer,
        template: ChatTemplate,
        stops: Sequence[str],
        identity: str,
    ) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.template = template
        ids = [tokenizer.symbol(stop) for stop in stops]
        self.vocabulary = ChatVocabulary(tokenizer, frozenset(i for i in ids if i is not None))
        self.context = model.config.max_seq_len
        self.id = identity
        self.batch = Batch(self.model)
        self.prefixes = Prefixes(tokens_at_once(model.config), KEPT_BYTES)

    def count(self, text: str) -> int:
        """How many tokens `text` takes."""
        return len(self.tokenizer.encode(text))

    @torch.inference_mode()
    def write(
        self,
        messages: Sequence[Mapping[str, str]],
        passages: Sequence[Passage],
        enough: Event | None = None,
    ) -> Generator[str | Reply, None, None]:
        """Yield the text as it comes and, last, exactly one Reply. mark i is passages[i - 1].

        WAITING comes between two steps of the model: several replies of one Writer may be written
        by turns, each up to that, and take one step for all. Once `enough` is set, no more is
        written. Raises InputError where the messages alone fill the context.
        """
        ids = self.tokenizer.encode_parts(self.template.parts(messages))
        room = min(LONGEST_REPLY, self.context - len(ids))
        if room < 1:
            raise InputError(
                f"question and passages take {len(ids)} tokens, the model {self.context}; ask for"
                " fewer passages with -k"
            )
        weight = self.model.transformer.embed.weight
        cache = KVCache(self.model.config, 1, len(ids) + room, weight.dtype, weight.device)
        yield from self._prefill(ids, cache)
        mask = CitedProse.of(self.vocabulary, passages)
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        stopped, written = False, 0
        sampling = Sampling(max_new_tokens=room)
        lookup = Lookup(ids)
        tokens = generate_beside(self.batch, cache, ids[-1], sampling, mask=mask, lookup=lookup)
        for token in tokens:
            if token is None:
                yield WAITING
                continue
            written += 1
            stopped = token in self.vocabulary.stops
            if text := decode(self.tokenizer.token_bytes.get(token, b"")):
                yield text
            if enough is not None and enough.is_set():
                stopped = True
                break
        used = {"prompt_tokens": float(len(ids)), "completion_tokens": float(written)}
        yield Reply(self.id, used, cut=not stopped)

    def _prefill(self, ids: Sequence[int], cache: KVCache) -> Iterator[str]:
        """Read all but the last token into the empty cache, WAITING behind each block."""
        device, most = self.model.transformer.embed.weight.device, self.prefixes.block
        for at in range(self.prefixes.restore(ids, cache), len(ids) - 1, most):
            block_1T = torch.tensor([ids[at : min(at + most, len(ids) - 1)]], device=device)
            self.model.transformer(block_1T, cache=cache)
            if block_1T.shape[1] == most:
                self.prefixes.keep(ids, cache)
            yield WAITING


def tokens_at_once(config: TransformerConfig) -> int:
    """How many tokens of a prompt such a decoder reads before it is the others' turn."""
    return max(
        (n for n in PREFILL if n * config.n_block_weights <= MOST_PRODUCTS), default=PREFILL[0]
    )


def load_writer(folder: Path, dtype: str = "auto") -> Writer:
    """The imported decoder in `folder`, on the GPU where there is one.

    Its weights are mapped from their files and read as they are used; dtype: the form in which
    they are, a second time, for writing (the setting writer_dtype). Raises NotFoundError where
    there is no such folder, WeightsError for a decoder of our own or a damaged one, ConfigError
    where this machine has no product of that form.
    """
    folder = model_folder("decoder", folder)
    chat = chat_of(folder)
    if chat is None:
        raise WeightsError(f"the decoder in {folder} is our own, which reads and does not converse")
    device = pick_device()
    form, packed = dtype, True
    if dtype == "auto":
        packed = sum(file.stat().st_size for file in weight_files(folder)) <= MOST_PACKED_BYTES
        form = "bfloat16" if device.type == "cuda" else quickest_form(packed)
    half = device.type == "cuda" or form == "bfloat16" or bf16_is_faster()
    with torch.device("meta"):
        model = Decoder(model_config(folder, "decoder")).to(
            torch.bfloat16 if half and form != "float32" else torch.float32
        )
    load_weights(model, folder)
    tokenizer = ChatTokenizer(folder / "tokenizer.json")
    template = ChatTemplate(chat.template, chat.symbols)
    model = pack(model.to(device), form) if packed else model.to(device)
    return Writer(model, tokenizer, template, chat.stops, weights_id(folder))
