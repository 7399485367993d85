"""Language: a small GPT learns to spell, then words, then stories, one character at a time.

Nobody tells it what a word is: it only guesses the next character, a million times. Beside it a
model that counts (Kneser-Ney, the best of its kind) looks back five characters; the transformer may
look back 256. Both are measured in bits a character on stories that neither saw. Then it writes: a
low temperature plays safe, a high one goes astray, and top-p leaves out what is unlikely. The
stories are made up by chance; `--data` takes text of your own (of a few hundred kilobytes it learns
to spell, and little more).

From: Radford et al. 2018, "Improving Language Understanding by Generative Pre-Training", section
3.1; Eldan & Li 2023, "TinyStories", arXiv:2305.07759; Holtzman et al. 2019, arXiv:1904.09751.

Try next: five times the steps: does the second sentence begin to know who the first was about? A
CONTEXT of 16; one block in place of two; a sentence of your own in stories.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from ragformer.lessons.lesson import Outcome, Setting
from ragformer.lessons.ngram import KneserNey
from ragformer.lessons.pictures import canvas, draw_lines, save
from ragformer.lessons.stories import stories
from ragformer.lessons.text import paragraphs
from ragformer.nn.config import TransformerConfig
from ragformer.nn.generate import write_rows
from ragformer.nn.heads import Decoder, new_decoder
from ragformer.train.loop import Loss, fit
from ragformer.types import Sampling

CONTEXT, ORDER = 256, 5
WAYS = {  # temperature, top-p
    "as likely as it finds it (temperature 1)": (1.0, 1.0),
    "playing safe (temperature 0.3)": (0.3, 1.0),
    "daring (temperature 1.6)": (1.6, 1.0),
    "daring, but of the likeliest nine tenths (temperature 1.6, top-p 0.9)": (1.6, 0.9),
}


def texts(setting: Setting) -> tuple[str, str]:
    """To learn from, and to be measured on."""
    if setting.data is None:
        n = setting.size(1500, 300)
        return tuple(  # type: ignore[return-value]
            "\n".join(story.text for story in stories(m, seed)) for m, seed in ((n, 0), (50, 1))
        )
    lines = paragraphs(setting.data)
    cut = max(1, len(lines) // 20)
    return "\n".join(lines[:-cut]), "\n".join(lines[-cut:])


def new_model(n_letters: int) -> Decoder:
    config = TransformerConfig(
        n_letters,
        d_model=64,
        n_layers=2,
        n_heads=2,
        n_kv_heads=2,
        d_head=32,
        d_ff=128,
        max_seq_len=CONTEXT,
        qk_norm=True,
        tie_embeddings=False,
    )
    return new_decoder(config, seed=0)


def losses(model: Decoder, ids_BT: Tensor) -> Tensor:
    """Nats of each character but the first of a row, [B, T - 1]."""
    logits_BTV = model.token_logits(model.transformer(ids_BT[:, :-1]))
    return F.cross_entropy(logits_BTV.transpose(1, 2), ids_BT[:, 1:], reduction="none")


def batch(ids_N: Tensor, setting: Setting, generator: torch.Generator) -> Tensor:
    """Rows of CONTEXT characters and one more, from anywhere in the text."""
    n = setting.size(16, 8)
    starts_B = torch.randint(0, len(ids_N) - CONTEXT, (n,), generator=generator)
    return ids_N[starts_B[:, None] + torch.arange(CONTEXT + 1)]


@torch.inference_mode()
def bits_by_place(model: Decoder, ids_N: Tensor) -> Tensor:
    """Mean bits of a character after 1 to CONTEXT others, [CONTEXT]; rows lie end to end."""
    rows_BT = ids_N.unfold(0, CONTEXT + 1, CONTEXT)
    return torch.cat([losses(model, part) for part in torch.split(rows_BT, 16)]).mean(0) / math.log(
        2
    )


def run(setting: Setting) -> Iterator[str | Loss | Outcome]:
    figure, (left, right) = canvas(1, 2, size=(10, 4))
    learned, measured = texts(setting)
    letters = sorted(set(learned))
    measured = "".join(c for c in measured if c in letters)
    ids_N, unseen_N = (torch.tensor([letters.index(c) for c in t]) for t in (learned, measured))
    yield f"{len(learned):,} characters, of {len(letters)} kinds, such as: {learned[:180]}..."
    counting = KneserNey(ids_N.tolist(), len(letters), ORDER).bits(unseen_N.tolist())
    yield f"counting, {ORDER} characters back: {counting:.3f} bits a character"
    model, generator = new_model(len(letters)), torch.Generator().manual_seed(0)
    curve: list[Loss] = []
    steps = setting.size(400, 50)
    for loss in fit(
        model, lambda: losses(model, batch(ids_N, setting, generator)).mean(), steps, 1e-2
    ):
        curve.append(loss)
        yield loss
        if len(curve) in (2, 6):
            yield f"    it writes: {_written(model, letters, 80, Sampling(temperature=0.7))}"
    for way, (temperature, top_p) in WAYS.items():
        sampling = Sampling(temperature=temperature, top_p=top_p)
        yield f"{way}:\n    {_written(model, letters, setting.size(380, 60), sampling)}"
    bits_T = bits_by_place(model, unseen_N)
    seen = [loss.value / math.log(2) for loss in curve]
    draw_lines(left, {"while learning": ([loss.step for loss in curve], seen)})
    left.axhline(counting, color="gray", linestyle="--")
    left.set(xlabel="step", ylabel="bits a character (dashed: counting)", yscale="log")
    blocks = bits_T.view(-1, 16).mean(1).tolist()
    draw_lines(right, {"transformer": ([16 * i + 8 for i in range(len(blocks))], blocks)})
    right.axhline(counting, color="gray", linestyle="--")
    right.set(xlabel="characters it can look back at", ylabel="bits, unseen", ylim=(0, None))
    picture = save(figure, setting.out / "language.png")
    what = f"bits a character on unseen text, counting's {counting:.3f} the target"
    yield Outcome(what, float(bits_T.mean()), counting, (picture,), at_most=True)


def _written(model: Decoder, letters: list[str], n: int, sampling: Sampling) -> str:
    """What it goes on with after the end of a line."""
    start = letters.index("\n") if "\n" in letters else 0
    [ids] = write_rows(model, torch.tensor([[start]]), min(n, CONTEXT), sampling).tolist()
    return "".join(letters[i] for i in ids).replace("\n", " / ")
