"""Preference: shown which of two replies is liked, our decoder learns to cite by itself.

In the product a grammar makes it put a mark behind what it quotes. Left alone it answers in a few
words and then says only that this was all, again and again. So it is shown pairs: its own right
answer and behind it the mark of the passage, copied from the prompt like a word, is liked better
than what it writes there by now, than another mark, and than a whole sentence with the right mark.
Direct preference optimization (DPO) needs no judge: beside the second, the first is to be likelier
than it was at the start. As that is so where both fall, too, a second term holds on to the first.
Only LoRA adapters learn, from gaps in sentences of Python's manual. A question never shown, a gap
in another paragraph or one to the sample documents, is a win where the new reply is liked better
than the old: right before wrong; of two alike in that the one with its passage's mark; of two alike
in both the one of fewer words. A tie is half a win.

From: Rafailov et al. 2023, "Direct Preference Optimization", arXiv:2305.18290, section 4, equation
7; the second term: Pang et al. 2024, arXiv:2404.19733, section 2; pairs of its own replies: Guo et
al. 2024, arXiv:2402.04792; questions out of gaps: Lewis et al. 2019, arXiv:1906.04980, section 2.

Try next: HOLD of 0, and see what becomes of the F1; BETA of 0.01 and 1; nothing but HOLD, the pairs
left out: it learns to cite from that as well, so what are they for? One kind of KINDS alone.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ragformer.answer.reader import load_decoder
from ragformer.answer.rerank import read_as
from ragformer.eval.metrics import token_f1
from ragformer.lessons.lesson import Outcome, Setting
from ragformer.lessons.pictures import canvas, need, save
from ragformer.lessons.replies import Citing, Reply, gold, questions
from ragformer.lessons.samples import sample_library
from ragformer.lessons.text import paragraphs
from ragformer.nn.lora import add_adapters
from ragformer.text.sentences import sentence_spans
from ragformer.train.examples import Example
from ragformer.train.loop import Loss, fit
from ragformer.train.reading_batch import Row

BETA, HOLD, RANK = 0.1, 1.0, 4
KINDS = ("by now", "by now", "another mark", "sentence")
Asked = tuple[str, Example, list[str]]  # where a question is from, and its right answers


def pair(citing: Citing, example: Example, kind: str, rng: random.Random) -> list[Row]:
    """The reply that is liked, and one that is not."""
    assert example.answer is not None
    index, start, _ = example.answer
    liked = citing.row(example, index)
    if kind == "sentence":
        spans = sentence_spans(example.passages[index][1])
        whole = next(span for span in spans if span[0] <= start < span[1])
        return [liked, citing.row(replace(example, answer=(index, *whole)), index)]
    last = citing.ending(liked) if kind == "by now" else liked.targets[-1]
    if last == liked.targets[-1]:  # or it cites well already
        other = rng.choice([i for i in range(len(example.passages)) if i != index])
        last = citing.row(example, other).targets[-1]
    return [liked, replace(liked, targets=[*liked.targets[:-1], last])]


def development(setting: Setting, texts: Sequence[str]) -> list[Asked]:
    """Questions never shown, with where they are from and the right answers: gaps, and questions
    to the sample documents over what search finds."""
    gaps = questions(texts, setting.size(60, 4), seed=2)
    asked: list[Asked] = [("gaps", example, [gold(example)]) for example in gaps]
    if setting.quick:
        return asked
    with sample_library() as (library, cases):
        for case in cases:
            passages = tuple(map(read_as, library.search(case.question, k=3)))
            asked.append(("documents", Example(case.question, passages), list(case.golds)))
    return asked


def judged(asked: Asked, old: Reply, new: Reply) -> tuple[float, float, float, float, float]:
    """1 for a win of the new reply, 0.5 for a tie; cited before and after, F1 before and after."""
    golds = asked[2]
    a, b = old.liked(golds), new.liked(golds)
    win = 1.0 if b > a else 0.5 if b == a else 0.0
    return win, old.cited, new.cited, token_f1(old.text, golds), token_f1(new.text, golds)


def preference_loss(now_B: Tensor, started_B: Tensor, n_tokens_B: Tensor) -> Tensor:
    """now_B, started_B: the replies' log-probabilities, liked and disliked by turns."""
    moved_B = now_B - started_B
    held = -(now_B / n_tokens_B)[::2].mean()
    return HOLD * held - F.logsigmoid(BETA * (moved_B[::2] - moved_B[1::2])).mean()


def draw(path: Path, moves: list[Tensor], shares: dict[str, list[float]]) -> Path:
    figure, (left, right) = canvas(1, 2, size=(10, 4))
    for name, moved_S in zip(("liked", "disliked"), torch.stack(moves, dim=1), strict=True):
        left.plot(range(1, len(moves) + 1), moved_S, label=name)
    left.set(xlabel="step", ylabel="nats likelier than at the start", yscale="symlog")
    left.grid(alpha=0.3)
    left.legend(fontsize="small")
    for at, name in enumerate(("before", "after")):
        heights = [both[at] for both in shares.values()]
        bars = right.bar([3 * i + at for i in range(len(shares))], heights, label=name)
        right.bar_label(bars, fmt="%.0f")
    right.set_xticks([3 * i + 0.5 for i in range(len(shares))], list(shares))
    right.legend(fontsize="small")
    return save(figure, path)


def run(setting: Setting) -> Iterator[str | Loss | Outcome]:
    need("matplotlib")
    longest = setting.size(350, 200)
    texts = [text for text in paragraphs(None) if 150 <= len(text) <= longest]
    dev = development(setting, texts[::5])
    start, citing = (Citing(load_decoder(confidence=False)) for _ in range(2))
    learned = questions([text for i, text in enumerate(texts) if i % 5], setting.size(300, 10), 1)
    asked = [
        own for example in learned if token_f1(gold(own := start.answer(example)), [gold(example)])
    ]
    before = [start.reply(example) for _, example, _ in dev]
    rng, size, moves = random.Random(0), setting.size(4, 2), list[Tensor]()

    def loss_of() -> Tensor:
        drawn = rng.sample(asked, size)
        pairs = [pair(citing, example, rng.choice(KINDS), rng) for example in drawn]
        batch = citing.batch([row for both in pairs for row in both])
        with torch.no_grad():
            started_B = start.likelihood(batch)
        now_B = citing.likelihood(batch)
        moves.append((now_B - started_B).detach().view(-1, 2).mean(0))
        return preference_loss(now_B, started_B, (batch.targets_BA >= 0).sum(1))

    add_adapters(citing.model, RANK, seed=0)
    steps, rate = setting.size((80, 1.5e-3), (8, 6e-3))
    yield from fit(citing.model, loss_of, steps, rate, "preference")
    after = [citing.reply(example) for _, example, _ in dev]
    for i in range(0, len(dev), max(1, len(dev) // 8)):
        yield f"{dev[i][1].question}\n    {before[i]}  ->  {after[i]}"
    judged_N5 = torch.tensor([judged(*one) for one in zip(dev, before, after, strict=True)])
    shares: dict[str, list[float]] = {}
    for source in dict.fromkeys(source for source, _, _ in dev):
        here_N = torch.tensor([source == one[0] for one in dev])
        win, *rest = (100 * judged_N5[here_N].mean(0)).tolist()
        shares |= {f"cited,\n{source}": rest[:2], f"F1,\n{source}": rest[2:]}
        yield (
            f"{int(here_N.sum())} {source}: the new reply wins {win:.0f} %, rightly cited "
            f"{rest[0]:.0f} -> {rest[1]:.0f} %, F1 {rest[2]:.1f} -> {rest[3]:.1f}"
        )
    picture = draw(setting.out / "preference.png", moves, shares)
    win, *_, old_f1, new_f1 = judged_N5.mean(0).tolist()
    gain = 100 * (new_f1 - old_f1)
    what = f"share of {len(dev)} unseen questions won, 0 if F1 fell by more than 1 ({gain:+.1f})"
    yield Outcome(what, win if gain >= -1 else 0.0, 0.7, (picture,))
