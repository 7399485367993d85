"""BERT: an encoder that filled gaps first needs far fewer questions to learn to answer them.

Of every sixth word of a story only a gap is left (or a wrong word), and the encoder says what stood
there, from what stands before and behind. Stories cost nothing, so it reads thousands. Answered
questions are dear: there are a few hundred. Two new outputs a word, start and end, learn from them
where in the story the answer stands, once on the encoder that filled gaps and once on a fresh one.
The gain is what reading was worth.

From: Devlin et al. 2018, "BERT", arXiv:1810.04805, sections 3.1 (masked words) and 4.2 (spans).

Try next: three times the steps of learning to answer: does the fresh one catch up? N_LABELLED of
100 and of 3,000; the pretrained weights left as they are, and the two outputs trained alone; one
word in two masked; another question in stories.py.
"""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ragformer.lessons.lesson import Outcome, Setting
from ragformer.lessons.pictures import canvas, draw_lines, save
from ragformer.lessons.stories import Question, Story, stories
from ragformer.lessons.text import PAD, Numbers, padded
from ragformer.nn.config import TransformerConfig
from ragformer.nn.heads import Decoder, new_decoder
from ragformer.nn.masks import padding_mask
from ragformer.nn.transformer import Transformer
from ragformer.train.loop import Loss, fit

MASK, BREAK, UNKNOWN = range(PAD + 1, PAD + 4)  # BREAK stands between a question and its story
N_LABELLED, MASKED = 400, 1 / 6
Labelled = tuple[Story, Question]


def words(text: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]", text)


def numbers(read: Sequence[Story]) -> Numbers:
    """Of every word of some stories and their questions."""
    texts = (t for story in read for t in (story.text, *(q.text for q in story.questions)))
    return Numbers(map(words, texts), first=UNKNOWN + 1)


def hidden(model: Transformer, ids_BT: Tensor) -> Tensor:
    states_BTD: Tensor = model(ids_BT, mask_BTS=padding_mask(ids_BT != PAD))
    return states_BTD


def gap_loss(model: Decoder, rows: list[list[int]], generator: torch.Generator) -> Tensor:
    """Of the words left out: eight in ten are gaps, one is another word, one stands as it was."""
    at_B = torch.randint(0, len(rows), (32,), generator=generator)
    ids_BT = padded([rows[i] for i in at_B.tolist()])
    chance_BT, kind_BT = torch.rand(2, *ids_BT.shape, generator=generator)
    asked_BT = (chance_BT < MASKED) & (ids_BT != PAD)
    other_BT = torch.randint(4, model.config.vocab_size, ids_BT.shape, generator=generator)
    shown_BT = torch.where(asked_BT & (kind_BT < 0.8), MASK, ids_BT)
    shown_BT = torch.where(asked_BT & (kind_BT > 0.9), other_BT, shown_BT)
    logits_NV = model.token_logits(hidden(model.transformer, shown_BT)[asked_BT])
    return F.cross_entropy(logits_NV, ids_BT[asked_BT])


class Spans(nn.Module):
    """Where an answer starts and ends."""

    def __init__(self, encoder: Transformer) -> None:
        super().__init__()
        self.encoder = encoder
        self.ends = nn.Linear(encoder.config.d_model, 2)

    def forward(self, ids_BT: Tensor) -> Tensor:
        """Logits [B, 2, T] of start and end; none of padding."""
        logits_B2T: Tensor = self.ends(hidden(self.encoder, ids_BT)).transpose(1, 2)
        return logits_B2T.masked_fill((ids_BT == PAD)[:, None], -torch.inf)


@dataclass(frozen=True)
class Asked:
    """Questions before their stories, as rows, and the places of the answers [N, 2]."""

    rows: list[list[int]]
    places_N2: Tensor

    @classmethod
    def of(cls, labelled: Sequence[Labelled], vocabulary: Numbers) -> Asked:
        rows, places = [], []
        for story, question in labelled:
            front = [*vocabulary.row(words(question.text)), BREAK]
            text, answer = words(story.text), words(question.answer)
            start = next(i for i in range(len(text)) if text[i : i + len(answer)] == answer)
            rows.append(front + vocabulary.row(words(story.text)))
            places.append([len(front) + start, len(front) + start + len(answer) - 1])
        return cls(rows, torch.tensor(places))

    def loss(self, model: Spans, generator: torch.Generator) -> Tensor:
        at_B = torch.randint(0, len(self.rows), (32,), generator=generator)
        logits_B2T = model(padded([self.rows[i] for i in at_B.tolist()]))
        return F.cross_entropy(logits_B2T.flatten(0, 1), self.places_N2[at_B].flatten())

    @torch.inference_mode()
    def said(self, model: Spans) -> Tensor:
        """Where the model says that each answer starts and ends, [N, 2]."""
        parts = [padded(self.rows[i : i + 100]) for i in range(0, len(self.rows), 100)]
        return torch.cat([model(part).argmax(-1) for part in parts])

    def right(self, model: Spans) -> float:
        return float((self.said(model) == self.places_N2).all(1).float().mean())


def labelled(n: int, seed: int) -> list[Labelled]:
    """One question to each of n stories."""
    rng = random.Random(seed)
    return [(story, rng.choice(story.questions)) for story in stories(n, seed)]


def run(setting: Setting) -> Iterator[str | Loss | Outcome]:
    figure, (left, right) = canvas(1, 2, size=(10, 4))
    read, generator = stories(setting.size(4000, 300), seed=0), torch.Generator().manual_seed(0)
    vocabulary = numbers(read)
    rows = [vocabulary.row(words(story.text)) for story in read]
    config = TransformerConfig(
        len(vocabulary),
        d_model=setting.size(64, 32),
        n_layers=2,
        d_head=16,
        d_ff=setting.size(128, 64),
        causal=False,  # this, and nothing else, makes an encoder of it
        norm="layer",
        mlp="gelu",
        tie_embeddings=False,
    )
    pretrained = new_decoder(config, seed=0)
    gaps: list[Loss] = []
    gap_loss_of = functools.partial(gap_loss, pretrained, rows, generator)
    for loss in fit(pretrained, gap_loss_of, setting.size(500, 50), 1e-2, "gaps"):
        gaps.append(loss)
        yield loss
    draw_lines(left, {"gaps": ([g.step for g in gaps], [g.value for g in gaps])})
    left.set(xlabel="step", ylabel="loss, of words left out", ylim=(0, None))
    taught = Asked.of(labelled(setting.size(N_LABELLED, 60), seed=1), vocabulary)
    unseen_questions = labelled(setting.size(300, 60), seed=2)
    unseen = Asked.of(unseen_questions, vocabulary)
    curves, reached = {}, {}
    for name, decoder in (("fresh", new_decoder(config, seed=0)), ("pretrained", pretrained)):
        model, generator = Spans(decoder.transformer), torch.Generator().manual_seed(1)
        nn.init.zeros_(model.ends.weight)
        nn.init.zeros_(model.ends.bias)
        shares: list[tuple[int, float]] = []
        loss_of = functools.partial(taught.loss, model, generator)
        for loss in fit(model, loss_of, setting.size(150, 10), 5e-3, name):
            shares.append((loss.step, unseen.right(model)))
            yield loss
        curves[name] = tuple(zip(*shares, strict=True))
        reached[name] = shares[-1][1]
        yield f"{name}: {reached[name]:.1%} of {len(unseen.rows)} unseen questions right"
    for i, (start, end) in enumerate(unseen.said(model)[:4].tolist()):
        story, question = unseen_questions[i]
        text = [*words(question.text), "", *words(story.text)]
        yield f"{story.text}\n    {question.text}  {' '.join(text[start : end + 1])}"
    draw_lines(right, curves)  # type: ignore[arg-type]
    right.set(xlabel="step of learning to answer", ylabel="unseen questions right")
    picture = save(figure, setting.out / "bert.png")
    gain = reached["pretrained"] - reached["fresh"]
    what = f"share right with {len(taught.rows)} answered questions, gain by filling gaps first"
    yield Outcome(what, gain, 0.1, (picture,))
