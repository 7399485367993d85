"""Explain: three ways to ask our decoder why it gave an answer, on a real one from real pages.

Attention rollout follows what was looked at through all blocks down to the words; on the page, the
darker a word, the more of it arrives. Leaving one passage out and reading again shows which of them
the answer hangs on: that is no guess, but it costs a reading each. The logit lens takes the states
between the blocks for those at the end, and shows when the place of the answer becomes the
likeliest. Where the three disagree, believe the second: what is looked at need not be what decides.

From: Abnar & Zuidema 2020, "Quantifying Attention Flow in Transformers", arXiv:2005.00928, section
3; Li et al. 2016, "Understanding Neural Networks through Representation Erasure", arXiv:1612.08220;
nostalgebraist 2020, "interpreting GPT: the logit lens"; that attention explains little: Jain &
Wallace 2019, arXiv:1902.10186.

Try next: another QUESTION, one that is answered wrongly above all; leave out single sentences; the
answer's last word in place of its first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ragformer.answer.reader import Candidate, OpenPrompt, Reader
from ragformer.answer.reading import block_mask
from ragformer.answer.rerank import read_as
from ragformer.lessons.lesson import Outcome, Setting
from ragformer.lessons.pictures import canvas, draw_passage, draw_weights, save
from ragformer.lessons.samples import sample_library
from ragformer.nn.watch import rollout, watched
from ragformer.text.sentences import sentence_spans

QUESTION = "How many days of annual leave does a full-time employee have?"
K = 4  # passages read
Texts = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Seen:
    """What goes on at <answer>. rolled: how much of each token of the prompt is in its last state,
    [S]. lens: how likely the answer starts at each by the states before and behind each block,
    [1 + L, S]."""

    prompt: OpenPrompt
    rolled_S: Tensor
    lens_LS: Tensor

    def of_characters(self, passage: int, start: int, end: int) -> float:
        """The share of the rollout that the tokens over these characters have."""
        return sum(
            float(self.rolled_S[i])
            for i, at in enumerate(self.prompt.reading.places)
            if at and at[0] == passage and at[1] < end and start < at[2]
        )

    def of_passage(self, passage: int) -> float:
        """The share of the rollout that a passage has, its context line and mark included."""
        block = [source.index for source in self.prompt.sources].index(passage) + 1
        inside_S = torch.tensor(self.prompt.reading.blocks) == block
        return float(self.rolled_S[inside_S].sum())


@torch.inference_mode()
def look(reader: Reader, question: str, texts: Texts) -> Seen:
    """Read the prompt in one piece and note everything on the way."""
    prompt = reader.open(question, texts)
    reading, model = prompt.reading, reader.model
    blocks_1S = torch.tensor([reading.blocks], device=reader.device)
    states: list[Tensor] = []
    hooks = [
        block.register_forward_hook(lambda _, given, out: states.extend((given[0], out)))
        for block in model.transformer.blocks
    ]
    with watched(model.transformer.blocks) as looked:
        model.transformer(
            torch.tensor([reading.ids], device=reader.device),
            positions_BT=torch.tensor([reading.positions], device=reader.device),
            segments_BT=torch.tensor([reading.segments], device=reader.device),
            mask_BTS=block_mask(blocks_1S, blocks_1S[:, -1]),
        )
    for hook in hooks:
        hook.remove()
    passage_S = torch.tensor([place is not None for place in reading.places], device=reader.device)
    lens = []
    for state_1SD in [states[0], *states[1::2]]:
        normed_1SD = model.transformer.norm(state_1SD)
        places_S = model.place_logits(normed_1SD[:, -1:], normed_1SD)[0, 0]
        lens.append(places_S.masked_fill(~passage_S, -torch.inf).softmax(-1).cpu())
    return Seen(prompt, rollout(looked)[0, -1].cpu(), torch.stack(lens))


def answer_of(reader: Reader, question: str, texts: Texts) -> tuple[int, str, dict[str, float]]:
    """The passage the best answer is from, the answer, and how likely each candidate is."""
    likely: dict[str, float] = {}
    candidates = reader.read(question, texts).candidates
    for one in candidates:
        said = " ".join(texts[one.passage][1][one.start : one.end].split())
        likely[said] = likely.get(said, 0.0) + math.exp(one.log_likelihood)
    return candidates[0].passage, next(iter(likely)), likely


def left_out(reader: Reader, question: str, texts: Texts) -> list[tuple[float, str]]:
    """For each passage how much likelier the answer is with it, and what is said without."""
    _, said, whole = answer_of(reader, question, texts)
    rows = []
    for i in range(len(texts)):
        _, instead, likely = answer_of(reader, question, [*texts[:i], *texts[i + 1 :]])
        rows.append((whole[said] - likely.get(said, 0.0), instead))
    return rows


def words_around(seen: Seen, answer: Candidate, texts: Texts) -> tuple[list[int], list[str]]:
    """The places in the prompt of the sentence that holds the answer, and their words."""
    text = texts[answer.passage][1]
    spans = sentence_spans(text)
    low, high = next((a, b) for a, b in spans if a <= answer.start < b)
    at = [
        (i, text[place[1] : place[2]].strip())
        for i, place in enumerate(seen.prompt.reading.places)
        if place and place[0] == answer.passage and low < place[2] and place[1] < high
    ]
    return [i for i, _ in at], [word for _, word in at]


def run(setting: Setting) -> Iterator[str | Outcome]:
    figure, (rolled, erased, lens, on_page) = canvas(2, 2, size=(13, 8))
    with sample_library(*setting.size((), ("handbook.pdf",))) as (library, cases):
        reader = library.reader
        passages = library.search(QUESTION, k=K)
        texts = list(map(read_as, passages))
        seen = look(reader, QUESTION, texts)
        quoted, said, likely = answer_of(reader, QUESTION, texts)
        yield f'{QUESTION} "{said}", from passage {quoted + 1}, {likely[said]:.2f} likely'
        names = [f"[{i + 1}] {line.split(' › ')[-1][:24]}" for i, (line, _) in enumerate(texts)]
        without = left_out(reader, QUESTION, texts)
        for name, (cost, instead) in zip(names, without, strict=True):
            yield f'without {name}: {-cost:+.2f}, and it says "{instead}"'
        rolled.barh(names, [seen.of_passage(i) for i in range(len(texts))])
        rolled.set(title="rollout: share of the last state at <answer>", xlim=(0, None))
        erased.barh(names, [cost for cost, _ in without])
        erased.set(title="left out: how much less likely the answer is")
        answer = reader.read(QUESTION, texts).candidates[0]
        at, words = words_around(seen, answer, texts)
        depth = ["tokens", *(f"block {i + 1}" for i in range(len(seen.lens_LS) - 1))]
        draw_weights(lens, seen.lens_LS[:, at], depth, words, "lens: where the answer starts")
        share_of = partial(seen.of_characters, quoted)
        draw_passage(on_page, library.store, passages[quoted], share_of, answer.start, answer.end)
        on_page.set_title("rollout, on the page; framed: the answer")
        for axes in (rolled, erased):
            axes.invert_yaxis()
        for name, shares_S in zip(depth, seen.lens_LS, strict=True):
            best = seen.prompt.reading.places[int(shares_S.argmax())]
            assert best is not None
            word = texts[best[0]][1][best[1] : best[2]].strip()
            sure = f"with {float(shares_S.max()):.2f}"
            yield f'lens, {name}: the likeliest start is "{word}" in passage {best[0] + 1} {sure}'
        picture = save(figure, setting.out / "explain.png")
        agree: dict[str, list[bool]] = {"left out": [], "rollout": []}
        for case in cases[: setting.size(len(cases), 1)]:
            texts = [read_as(passage) for passage in library.search(case.question, k=K)]
            quoted, _, _ = answer_of(reader, case.question, texts)
            seen = look(reader, case.question, texts)
            costs = [cost for cost, _ in left_out(reader, case.question, texts)]
            shares = [seen.of_passage(i) for i in range(len(texts))]
            agree["left out"].append(costs[quoted] == max(costs))
            agree["rollout"].append(shares[quoted] == max(shares))
        share = {name: sum(rows) / len(rows) for name, rows in agree.items()}
        yield (
            f"of {len(agree['rollout'])} answers the passage quoted is first by leaving out in "
            f"{share['left out']:.0%}, by rollout in {share['rollout']:.0%}"
        )
    what = "share of answers where leaving out the quoted passage costs most"
    yield Outcome(what, share["left out"], 0.9, (picture,))
