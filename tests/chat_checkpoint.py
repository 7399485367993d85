"""A checkpoint of another family, small and random, as its own library would save it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from ragformer.answer.cited_prose import CitedProse
from ragformer.nn.families import read_family, their_tensor
from ragformer.nn.generate import generate_beside
from ragformer.nn.heads import Decoder
from ragformer.types import Sampling

SYMBOLS = ["<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content | trim }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SIZES = {
    "model_type": "qwen2",
    "hidden_act": "silu",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": True,
}


def write_checkpoint(folder: Path, texts: list[str], context: int = 512) -> Path:
    """A Qwen2 with random weights and a byte-level tokenizer of 400 pieces learned from `texts`."""
    tokenizers = pytest.importorskip("tokenizers")
    pytest.importorskip("jinja2")
    model = tokenizers.Tokenizer(tokenizers.models.BPE())
    model.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=SYMBOLS,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    model.train_from_iterator(texts, trainer)
    folder.mkdir(parents=True, exist_ok=True)
    model.save(str(folder / "tokenizer.json"))
    values = {"chat_template": TEMPLATE, "eos_token": {"content": SYMBOLS[1]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(values))
    sizes = SIZES | {"vocab_size": 400, "max_position_embeddings": context}
    (folder / "config.json").write_text(json.dumps(sizes))
    family, config = read_family(folder)
    generator = torch.Generator().manual_seed(0)
    tensors: dict[str, torch.Tensor] = {}
    for name, tensor in Decoder(config).state_dict().items():
        made = torch.empty_like(tensor).normal_(0.0, 0.2, generator=generator)

        def read(theirs: str, made: torch.Tensor = made) -> torch.Tensor:
            tensors[theirs] = made
            return made

        their_tensor(name, family, read)
    save_file(tensors, folder / "model.safetensors")
    return folder


class Quoting:
    """The grammar `state`, in which every fifth token of prose opens a quotation."""

    def __init__(self, state: CitedProse, n: int = 0) -> None:
        self.state, self.n = state, n
        self.done = state.done

    def allowed(self) -> set[int] | torch.Tensor:
        prose = self.state.quote is None and not self.state.dictated
        if prose and self.n % 5 == 4:
            return set(self.state.vocabulary.openings)
        return self.state.allowed()

    def advance(self, token: int) -> Quoting:
        return Quoting(self.state.advance(token), self.n + (self.state.quote is None))


def draw_words(patch: pytest.MonkeyPatch, n: int) -> None:
    """Imported decoders write up to n tokens, drawn from a seed that is the prompt's own, and quote
    often: the likeliest of noise is one word again and again. In float32, where who else is in a
    step hardly matters; it is said to be the quickest."""

    def drawn(batch: Any, cache: Any, first: int, _: Sampling, *, mask: Any, lookup: Any) -> Any:
        sampling = Sampling(n, temperature=8.0, seed=sum(lookup.tokens))
        return generate_beside(batch, cache, first, sampling, mask=Quoting(mask), lookup=lookup)

    patch.setattr("ragformer.answer.writer.generate_beside", drawn)
    patch.setattr("ragformer.answer.writer.quickest_form", lambda packed: "float32")
