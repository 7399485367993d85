"""Translation: the first transformer, an encoder and a decoder, turns any date into ISO form.

"the twenty-first of June, two thousand and five" becomes 2005-06-21, and "forty-two thousand and
seven" becomes 42007. The encoder reads the words, all at once; the decoder writes one character
after another and at each looks back at the words by cross-attention. What it looked at is drawn: an
alignment that nobody taught it. A tenth of all dates and numbers is never trained on, in any form.

From: Vaswani et al. 2017, arXiv:1706.03762, section 3.1 and figure 1; the task and the alignment
after Bahdanau, Cho & Bengio 2014, arXiv:1409.0473, section 5.2.1.

Try next: write a form of date of your own in dates.py and see how many examples it takes; take the
encoder's positions away (positions_BT all 0) and ask it for 3.4.1984; train on years to 1999 alone.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ragformer.lessons import dates
from ragformer.lessons.lesson import Outcome, Setting
from ragformer.lessons.pictures import canvas, draw_weights, save
from ragformer.lessons.text import PAD, Numbers, padded
from ragformer.nn.config import TransformerConfig
from ragformer.nn.generate import write_rows
from ragformer.nn.heads import EncoderDecoder, new_encoder_decoder
from ragformer.nn.watch import watched
from ragformer.train.loop import Loss, fit
from ragformer.types import Sampling

Example = tuple[str, str]

LETTERS = "^0123456789-"  # of the plain form; ^ begins it and ends it
LENGTH = 11  # the longest plain form, 2005-06-21, and its end
SHOWN = ("the twenty-first of June, two thousand and five", "Sunday, 14 Mar 1993")


def numbers() -> Numbers:
    """Of every piece that dates and numbers are written in."""
    rng = random.Random(0)
    return Numbers((dates.pieces(dates.example(rng)[0]) for _ in range(5000)), first=PAD + 1)


def read(words: Numbers, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """ids_BS and keep_BS."""
    ids_BS = padded([words.row(dates.pieces(text)) for text in texts])
    return ids_BS, ids_BS != PAD


def examples(rng: random.Random, n: int, held_out: bool) -> list[Example]:
    found: list[Example] = []
    while len(found) < n:
        example = dates.example(rng)
        if dates.held_out(example[1]) == held_out:
            found.append(example)
    return found


def plain_ids(plain: list[str]) -> Tensor:
    """^ and each plain form and ^ up to one length, [B, 1 + LENGTH]."""
    return torch.tensor([[LETTERS.index(c) for c in f"^{p}".ljust(LENGTH + 1, "^")] for p in plain])


def new_model(n_words: int, setting: Setting) -> EncoderDecoder:
    d_model = setting.size(96, 64)
    source = TransformerConfig(
        n_words,
        d_model=d_model,
        n_layers=2,
        n_heads=4,
        n_kv_heads=4,
        d_head=d_model // 4,
        d_ff=2 * d_model,
        causal=False,
        position="sinusoidal",  # as in the paper; the decoder then can tell where a word stood
    )
    target = dataclasses.replace(
        source,
        vocab_size=len(LETTERS),
        causal=True,
        cross_attention=True,
        logit_scale=d_model**-0.5,
    )
    return new_encoder_decoder(source, target, seed=0)


def loss_on(model: EncoderDecoder, words: Numbers, rng: random.Random) -> Tensor:
    texts, plain = zip(*examples(rng, 64, held_out=False), strict=True)
    target_BT = plain_ids(list(plain))
    logits_BTV = model(*read(words, texts), target_BT[:, :-1])
    return F.cross_entropy(logits_BTV.flatten(0, 1), target_BT[:, 1:].flatten())


@torch.inference_mode()
def translate(model: EncoderDecoder, words: Numbers, texts: list[str]) -> list[str]:
    memory = model.memory(*read(words, texts))
    start_B1 = torch.zeros(len(texts), 1, dtype=torch.int64)
    rows = write_rows(model.decoder, start_B1, LENGTH, Sampling(), **memory).tolist()
    return ["".join(LETTERS[i] for i in row).partition("^")[0] for row in rows]


@torch.inference_mode()
def alignment(model: EncoderDecoder, words: Numbers, text: str, plain: str) -> Tensor:
    """What each character of the plain form looked at, the mean of all heads [T, S]."""
    with watched(model.decoder.transformer.blocks, cross=True) as last_BHTS:
        model(*read(words, [text]), plain_ids([plain])[:, :-1])
    return torch.stack(last_BHTS)[:, 0].mean((0, 1))[: len(plain)]


def run(setting: Setting) -> Iterator[str | Loss | Outcome]:
    figure, axes = canvas(1, 2, size=(10, 4.5))
    words, rng = numbers(), random.Random(1)
    model = new_model(len(words), setting)
    steps = setting.size(700, 50)
    yield from fit(model, lambda: loss_on(model, words, rng), steps, 5e-3)
    asked = examples(random.Random(2), setting.size(1000, 50), held_out=True)
    said = translate(model, words, [text for text, _ in asked])
    right = [answer == plain for answer, (_, plain) in zip(said, asked, strict=True)]
    for (text, plain), answer in list(zip(asked, said, strict=True))[:6]:
        yield f"{text}  ->  {answer}{'' if answer == plain else f'  (it is {plain})'}"
    for (text, plain), answer, fits in zip(asked, said, right, strict=True):
        if not fits:
            yield f"wrong: {text}  ->  {answer}, not {plain}"
            break
    for each, text in zip(axes, SHOWN, strict=True):
        [answer] = translate(model, words, [text])
        weights_TS = alignment(model, words, text, answer)
        draw_weights(each, weights_TS, list(answer), dates.pieces(text), f"{text} -> {answer}")
    picture = save(figure, setting.out / "translate.png")
    yield Outcome("exactly right of unseen", sum(right) / len(right), 0.99, (picture,))
