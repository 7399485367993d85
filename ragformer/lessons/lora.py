"""LoRA: a model of 7.5 million numbers learns a narrow task in the 1 % that are added to it.

The decoder that answers from PDFs was never told stories, and of small made-up ones it answers a
quarter of the questions. Full tuning moves all its weights: another model comes out, as large as
the first. LoRA leaves them as they are and puts beside each matrix the product of two thin ones, of
which nothing is seen at first, for one starts at zero. Only these learn. Their gradients and the
optimizer's averages, too, are a hundredth, and a hundred tasks fit beside one model. In the end
they can be added to the weights, and then they cost no time either.

From: Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", arXiv:2106.09685,
section 4.1; it puts them beside queries and values alone.

Try next: RANK of 1 and of 16; the adapters of one block only; ask a sample document's question of
both, and see which has forgotten more.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from ragformer.answer.reader import Reader, load_decoder
from ragformer.eval.metrics import exact_match
from ragformer.lessons.lesson import Outcome, Setting
from ragformer.lessons.pictures import canvas, draw_lines, need, save
from ragformer.lessons.stories import stories
from ragformer.nn.lora import add_adapters, merge_adapters
from ragformer.train.decoder import reading_loss
from ragformer.train.examples import Example
from ragformer.train.loop import Loss, fit
from ragformer.train.reading_batch import Collator

RANK = 4
RATES = {"full": 1e-3, "lora": 3e-3}
AVERAGES = 2  # numbers that Adam keeps beside each that learns; Muon keeps one

Curve = tuple[Sequence[float], Sequence[float]]


def questions(n: int, seed: int) -> list[Example]:
    """One question to each of n stories, and where its answer stands first."""
    rng, found = random.Random(seed), []
    for story in stories(n, seed):
        asked = rng.choice(story.questions)
        start = story.text.index(asked.answer)
        place = 0, start, start + len(asked.answer)
        found.append(Example(asked.text, (("", story.text),), place))
    return found


def right(reader: Reader, examples: Sequence[Example]) -> float:
    """The share of the questions for which the reader copies just the answer."""
    found = 0.0
    for example in examples:
        assert example.answer is not None
        [(_, text)], (_, start, end) = example.passages, example.answer
        best = reader.read(example.question, example.passages).candidates[0]
        found += exact_match(text[best.start : best.end], [text[start:end]])
    return found / len(examples)


def tune(reader: Reader, steps: int, batch: int, name: str) -> Iterator[Loss]:
    """Learn from stories with those weights that may move."""
    collator, rng, device = Collator(reader.tokenizer), random.Random(0), reader.device
    drawn = (collator.row(example) for example in questions(batch * steps // 2, seed=1))
    rows = [row for row in drawn if row is not None]

    def loss_of() -> Tensor:
        return reading_loss(reader.model, collator.batch(rng.sample(rows, batch), device))

    yield from fit(reader.model, loss_of, steps, RATES[name], name)


def draw(setting: Setting, curves: Mapping[str, Curve], reached: dict[str, float]) -> Path:
    figure, (left, middle) = canvas(1, 2, size=(10, 4))
    draw_lines(left, curves)
    left.set(xlabel="step", ylabel="loss", ylim=(0, None), title="learning")
    bars = middle.bar(list(reached), list(reached.values()), width=0.6)
    middle.bar_label(bars, [f"{share:.1%}" for share in reached.values()])
    middle.set(ylim=(0, 1.1), title="unseen questions right")
    return save(figure, setting.out / "lora.png")


def run(setting: Setting) -> Iterator[str | Loss | Outcome]:
    need("matplotlib")
    unseen = questions(setting.size(200, 6), seed=2)
    reader = load_decoder(confidence=False)
    reached, curves = {"as it was": right(reader, unseen)}, {}
    yield f"as it was: {reached['as it was']:.1%} of {len(unseen)} unseen questions right"
    for name in RATES:
        reader = load_decoder(confidence=False)
        weights = total = list(reader.model.parameters())
        if name == "lora":
            weights = add_adapters(reader.model, RANK, seed=0)
        losses: list[Loss] = []
        for loss in tune(reader, setting.size(60, 6), setting.size(16, 4), name):
            losses.append(loss)
            yield loss
        merge_adapters(reader.model)  # where there are none, nothing happens
        reached[name] = right(reader, unseen)
        curves[name] = [loss.step for loss in losses], [loss.value for loss in losses]
        n, share = count(weights), count(weights) / count(total)
        yield (
            f"{name}: {reached[name]:.1%} right. {n:,} numbers learn, {share:.2%}; their gradients "
            f"and averages take {4 * (1 + AVERAGES) * n / 2**20:.1f} MiB beside the model's "
            f"{4 * count(total) / 2**20:.0f}, a file of them {2 * n / 2**20:.2f} MiB"
        )
    picture = draw(setting, curves, reached)
    behind = 100 * (reached["full"] - reached["lora"])
    what = f"points of 100 that full tuning is ahead of {share:.1%} of its numbers"
    yield Outcome(what, behind, 2.0, (picture,), at_most=True)


def count(weights: Sequence[Tensor]) -> int:
    return sum(weight.numel() for weight in weights)
