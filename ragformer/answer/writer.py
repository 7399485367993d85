"""An imported decoder at work: messages in, its text as it is written, quotations by the grammar.

messages -> its chat template -> token ids -> prefill -> decode steps under `CitedProse`
"""

from __future__ import annotations

import codecs
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

import torch

from ragformer.answer.checkpoints import chat_of
from ragformer.answer.cited_prose import ChatVocabulary, CitedProse
from ragformer.answer.remote import Reply
from ragformer.config import model_folder
from ragformer.errors import InputError, WeightsError
from ragformer.nn.cache import KVCache
from ragformer.nn.checkpoint import load_weights, weights_id
from ragformer.nn.config import model_config
from ragformer.nn.device import pick_device
from ragformer.nn.generate import generate
from ragformer.nn.heads import Decoder
from ragformer.nn.lookup import Lookup
from ragformer.retrieve.embed import bf16_is_faster
from ragformer.text.chat_template import ChatTemplate
from ragformer.text.checkpoint_tokenizer import ChatTokenizer
from ragformer.types import Passage, Sampling

LONGEST_REPLY = 512
"""Tokens: five sentences and their quotations."""
PREFILL = 1024
"""Tokens read at once: more make the scores of attention large and nothing quicker."""


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

    def count(self, text: str) -> int:
        """How many tokens `text` takes."""
        return len(self.tokenizer.encode(text))

    @torch.inference_mode()
    def write(
        self, messages: Sequence[Mapping[str, str]], passages: Sequence[Passage]
    ) -> Generator[str | Reply, None, None]:
        """Yield the text as it comes and, last, exactly one Reply. mark i is passages[i - 1].

        Raises InputError where the messages alone fill the context.
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
        for at in range(0, len(ids) - 1, PREFILL):
            block_1T = torch.tensor([ids[at : min(at + PREFILL, len(ids) - 1)]])
            self.model.transformer(block_1T.to(weight.device), cache=cache)
        mask = CitedProse.of(self.vocabulary, passages)
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        stopped, written = False, 0
        sampling = Sampling(max_new_tokens=room)
        lookup = Lookup(ids)
        for token in generate(self.model, cache, ids[-1], sampling, mask=mask, lookup=lookup):
            written += 1
            stopped = token in self.vocabulary.stops
            if text := decode(self.tokenizer.token_bytes.get(token, b"")):
                yield text
        used = {"prompt_tokens": float(len(ids)), "completion_tokens": float(written)}
        yield Reply(self.id, used, cut=not stopped)


def load_writer(path: Path | None = None) -> Writer:
    """The imported decoder in the folder `path`, or the one in use; on the GPU where there is one.

    Its weights are mapped from their files and read as they are used.
    """
    folder = model_folder("decoder", path)
    chat = chat_of(folder)
    if chat is None:
        raise WeightsError(f"the decoder in {folder} is our own, which reads and does not converse")
    device = pick_device()
    half = device.type == "cuda" or bf16_is_faster()
    with torch.device("meta"):
        model = Decoder(model_config(folder, "decoder")).to(
            torch.bfloat16 if half else torch.float32
        )
    load_weights(model, folder)
    tokenizer = ChatTokenizer(folder / "tokenizer.json")
    template = ChatTemplate(chat.template, chat.symbols)
    return Writer(model.to(device), tokenizer, template, chat.stops, weights_id(folder))
