"""Prompt: what a reader makes of the same facts, told in another order, number and manner.

Each question about the sample documents is asked with the passage that answers it first, in the
middle or last among others that search found, of which there are none, few or many; once plainly
(zero-shot) and once after two solved examples (few-shot). Large models often overlook what stands
in the middle. Our decoder reads every passage from one and the same position and answers only from
them, so the order is nothing to it. To it an example is no more than words in its question; with
two it copies a little more ("21 days" for "21"), and so is right more often where the passages are
few. Where RAGFORMER_BACKEND=openai or an imported decoder is set, that one is asked, with the same
prompts.

From: Brown et al. 2020, "Language Models are Few-Shot Learners", arXiv:2005.14165, section 2; Liu
et al. 2023, "Lost in the Middle", arXiv:2307.03172, section 2.

Try next: a server of your own (OPENAI_BASE_URL); 16 passages; EXAMPLES that are wrong: of many a
model the form matters, not the facts (Min et al. 2022, arXiv:2202.12837).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ragformer.answer.prose import build_messages
from ragformer.answer.rerank import read_as
from ragformer.answer.speaker import Speaker, speaker_of
from ragformer.config import load_settings
from ragformer.eval.metrics import normalize_answer
from ragformer.lessons.lesson import Outcome, Setting
from ragformer.lessons.pictures import canvas, need, save
from ragformer.lessons.samples import found, sample_library
from ragformer.library import Library
from ragformer.types import WAITING, Passage

EXAMPLES = (
    ("When does the library close on Fridays?", "at 6 pm"),
    ("How many beds does the hospital have?", "420"),
)
PLACES = ("first", "middle", "last")
Ask = Callable[[str, Sequence[Passage], bool], str]


def among(right: Passage, others: Sequence[Passage], place: str) -> list[Passage]:
    """The passage that answers, at its place among the others."""
    at = {"first": 0, "middle": len(others) // 2, "last": len(others)}[place]
    return [*others[:at], right, *others[at:]]


def by_our_decoder(library: Library) -> Ask:
    """What it copies. Examples stand in front of the question, as it knows no other place."""
    shots = " ".join(f"{question} {answer}." for question, answer in EXAMPLES)

    def ask(question: str, passages: Sequence[Passage], few_shot: bool) -> str:
        asked = f"{shots} {question}" if few_shot else question
        best = library.reader.read(asked, list(map(read_as, passages))).candidates[0]
        return passages[best.passage].text[best.start : best.end]

    return ask


def by_speaker(speaker: Speaker) -> Ask:
    """What a model that converses writes. Examples are turns before the question."""

    def ask(question: str, passages: Sequence[Passage], few_shot: bool) -> str:
        [rules, *asked], _ = build_messages(question, passages, speaker)
        turns = [
            {"role": role, "content": said}
            for example in (EXAMPLES if few_shot else ())
            for role, said in zip(("user", "assistant"), example, strict=True)
        ]
        pieces = speaker.reply([rules, *turns, *asked], passages)
        return "".join(piece for piece in pieces if isinstance(piece, str) and piece != WAITING)

    return ask


def holds(said: str, golds: Sequence[str]) -> bool:
    """Whether the reply has all words of a right answer side by side."""
    words = f" {normalize_answer(said)} "
    return any(f" {normalize_answer(gold)} " in words for gold in golds)


def run(setting: Setting) -> Iterator[str | Outcome]:
    need("matplotlib")
    numbers = setting.size((2, 4, 8), (3,))
    with sample_library(*setting.size((), ("handbook.pdf",))) as (library, cases):
        speaker = speaker_of(load_settings(), None)
        ask = by_speaker(speaker) if speaker else by_our_decoder(library)
        yield f"asked: {speaker.name if speaker else 'the decoder in the box'}"
        asked = [
            (case, *brought)
            for case in cases[: setting.size(len(cases), 3)]
            if (brought := found(library, case, 3 * max(numbers)))
            and len(brought[1]) >= max(numbers) - 1
        ]
        columns = [(1, "alone"), *((n, place) for n in numbers for place in PLACES)]
        shares: dict[str, list[float]] = {"zero-shot": [], "few-shot": []}
        yield f"{'':9}" + "".join(f"{n:>4} {place:6}" for n, place in columns)
        for manner, row in shares.items():
            for n, place in columns:
                right = [
                    holds(
                        ask(
                            case.question,
                            among(gold, others[: n - 1], place if n > 1 else "first"),
                            manner == "few-shot",
                        ),
                        case.golds,
                    )
                    for case, gold, others in asked
                ]
                row.append(sum(right) / len(right))
            yield f"{manner:9}" + "".join(f"{share:>10.0%} " for share in row)
        yield f"shares of {len(asked)} questions; columns: passages, and where the right one stands"
    figure, axes = canvas(size=(10, 3))
    axes.imshow(list(shares.values()), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for y, row in enumerate(shares.values()):
        for x, share in enumerate(row):
            colour = "white" if share > 0.6 else "black"
            axes.text(x, y, f"{share:.0%}", ha="center", va="center", color=colour)
    axes.set_xticks(
        range(len(columns)), [f"{n} passage{'s' * (n > 1)}\n{place}" for n, place in columns]
    )
    axes.set_yticks(range(2), list(shares))
    axes.set_title("right answers, by number of passages and place of the right one")
    picture = save(figure, setting.out / "prompt.png")
    what = "share of questions answered rightly from the right passage alone, zero-shot"
    yield Outcome(what, shares["zero-shot"][0], 0.5, (picture,))
