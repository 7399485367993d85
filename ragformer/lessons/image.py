"""Image: a decoder writes pictures as it writes text, one pixel after another.

The shades of a handwritten digit, 64 of them from the top left to the bottom right, are a text in
an alphabet of 17 letters; before them stands a word for which digit it is. A decoder learns to say
the next letter, and then draws: ask for a 3, and let it write 64 pixels. A judge that is no
transformer and has learned from real digits reads what was drawn. The second picture gives the
decoder the upper half of digits it never saw, and lets it go on four times.

From: Chen et al. 2020, "Generative Pretraining from Pixels" (Image GPT), ICML 2020, section 2;
van den Oord et al. 2016, "Pixel Recurrent Neural Networks", arXiv:1601.06759, section 2.

Try next: TOP_P of 1 or 0.5; write the pixels in a fixed random order; give the upper half of a 3
with the word for 8; train five times as long, and watch both the loss on unseen digits and how near
the drawn ones come to those trained on: when does it begin to know them by heart?
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ragformer.lessons.digits import (
    LEVELS,
    SIDE,
    Digits,
    Judge,
    draw_digit,
    draw_table,
    load_digits,
    nearest,
)
from ragformer.lessons.lesson import Outcome, Setting
from ragformer.lessons.pictures import canvas, save
from ragformer.nn.generate import write_rows
from ragformer.nn.heads import Decoder, new_decoder
from ragformer.train.loop import Loss, fit
from ragformer.types import Sampling

N_PIXELS = SIDE * SIDE
TOP_P = 0.9


def new_model(setting: Setting) -> Decoder:
    # The vocabulary: the shades, then a word for each digit.
    config = setting.transformer(LEVELS + 10, max_seq_len=1 + N_PIXELS, position="learned")
    return new_decoder(config, seed=0)


def as_text(digits: Digits) -> Tensor:
    """int64 [N, 65]: the word for the digit, then its pixels."""
    return torch.cat([LEVELS + digits.label[:, None], digits.ink.flatten(1)], dim=1)


def loss_on(model: Decoder, ids_BT: Tensor) -> Tensor:
    """Nats a pixel."""
    logits_BTV = model.token_logits(model.transformer(ids_BT[:, :-1]))
    return F.cross_entropy(logits_BTV.flatten(0, 1), ids_BT[:, 1:].flatten())


def draw(model: Decoder, given_BT: Tensor, seed: int) -> Tensor:
    """Pictures [B, 8, 8] that begin as `given_BT`: the word for the digit, and any pixels."""
    sampling = Sampling(temperature=1.0, top_p=TOP_P, seed=seed)
    written_BT = write_rows(model, given_BT, 1 + N_PIXELS - given_BT.shape[1], sampling)
    ink_BT = torch.cat([given_BT[:, 1:], written_BT], dim=1).clamp(max=LEVELS - 1)
    return ink_BT.view(-1, SIDE, SIDE)


def draw_halves(model: Decoder, test: Digits) -> Any:
    """The upper half of ten digits, four ways in which the decoder went on, and the whole."""
    some = torch.stack([(test.label == kind).nonzero()[0, 0] for kind in range(10)])
    ids_BT = as_text(Digits(test.ink[some], test.label[some]))
    half_BT = ids_BT[:, : 1 + N_PIXELS // 2]
    rows = [F.pad(half_BT[:, 1:].reshape(10, -1, SIDE), (0, 0, 0, SIDE // 2))]
    rows += [draw(model, half_BT, seed) for seed in range(4)]
    rows.append(test.ink[some])
    figure, axes = canvas(6, 10, size=(8, 5.4))
    for at, ax in enumerate(axes):
        draw_digit(ax, rows[at // 10][at % 10])
    figure.suptitle("first row: what was given; last: what it was; between: as the decoder saw it")
    return figure


def run(setting: Setting) -> Iterator[str | Loss | Outcome]:
    train, test = load_digits()
    model, generator = new_model(setting), torch.Generator().manual_seed(0)
    ids_NT = as_text(train)

    def loss() -> Tensor:
        return loss_on(model, ids_NT[torch.randint(0, len(ids_NT), (32,), generator=generator)])

    yield from fit(model, loss, setting.size(600, 110), 1e-2)
    with torch.inference_mode():
        for name, digits in {"trained on": train, "never seen": test}.items():
            bits = float(loss_on(model, as_text(digits)[: len(test.ink)])) / math.log(2)
            yield f"{bits:.3f} bits a pixel on digits {name}"
    each = setting.size(50, 10)
    asked_N = torch.arange(10).repeat(each)
    ink_NYX = draw(model, LEVELS + asked_N[:, None], seed=0)
    judge = Judge(train, test)
    right = judge.share_right(Digits(ink_NYX, asked_N))
    yield f"the judge reads {judge.right:.1%} of unseen real digits and {right:.1%} of those drawn"
    far = [float(nearest(ink, train).mean()) for ink in (ink_NYX, test.ink)]
    yield (
        f"from the most similar digit trained on, a drawn one is {far[0]:.2f} shades a pixel away, "
        f"an unseen real one {far[1]:.2f}"
    )
    figure, (left, other) = canvas(1, 2, size=(10.5, 4.8))
    draw_table(left, ink_NYX[:100], 10, "drawn by the decoder, asked for 0 to 9 in each row")
    real = torch.stack([train.ink[train.label == kind][:10] for kind in range(10)], dim=1)
    draw_table(other, real.flatten(0, 1), 10, "written by people")
    files = (
        save(figure, setting.out / "image.png"),
        save(draw_halves(model, test), setting.out / "halves.png"),
    )
    yield Outcome("share of drawn digits that the judge reads right", right, 0.8, files)
