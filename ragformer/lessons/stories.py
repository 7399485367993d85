"""Small stories, made up by chance, and questions about them.

Each has its own people, things and places, which come again from sentence to sentence: what comes
next often stands far back. Source of the idea: Eldan & Li 2023, "TinyStories", arXiv:2305.07759.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

_FRONT = str.split("Al Bel Cor Da El Fen Gor Ha Is Jo Ka Lin Mar Nel Or Pim Ro Sel Tam Wil")
_BACK = str.split("a an dra do ette fin go is ka la lo mir na nor ra ric sa ta va wen")
_THINGS = str.split(
    "basket bell book boot broom candle coat crown cup drum fiddle flute hammer hat key kite knife "
    "ladder lamp lantern map mirror pipe ring rope sack scarf spoon sword umbrella violin whistle"
)
_COLOURS = str.split("black blue brown golden green grey pink purple red silver white yellow")
_PLACES = str.split(
    "bakery barn beach bridge castle cave farm forest garden harbour island lake market meadow "
    "mill mountain palace river school station tower valley village windmill"
)
_ANIMALS = str.split(
    "badger bear beaver crow dog donkey dragon duck eagle fox frog goat goose hare hedgehog horse "
    "lion mole mouse otter owl rabbit raven sheep snail squirrel swan toad turtle wolf"
)
_SPOTS = str.split(
    "barrel bench boat box bush cart chair cupboard curtain door fence fireplace hedge log rock "
    "sofa stone stove stump table tree wall well window"
)
_FEELINGS = str.split("angry cold hungry lonely sad sleepy thirsty tired worried")
_TIMES = ("One morning", "One evening", "Last winter", "In spring", "Long ago", "On a rainy day")
_WENT = ("walked to", "went to", "travelled to", "set off for")
_CARRIED = ("carried", "had brought", "was holding", "took along")
_MET = ("they met", "they came upon", "sat", "stood")
_LOST = ("I have lost my", "I cannot find my", "Somebody has hidden my", "I miss my")
_FOUND = ("found", "discovered", "saw", "came upon")
_GAVE = ("gave it back", "returned it", "handed it over")
_HOME = ("At night", "When it grew dark", "In the end", "After supper")


@dataclass(frozen=True, slots=True)
class Question:
    """A question about a story and its answer, words that stand in it."""

    text: str
    answer: str


@dataclass(frozen=True, slots=True)
class Story:
    """A story and what can be asked about it; every answer stands in it."""

    text: str
    questions: tuple[Question, ...]


def story(rng: random.Random) -> Story:
    """Two friends, an animal that lost something, and who found it where."""
    one, two = (rng.choice(_FRONT) + rng.choice(_BACK) for _ in range(2))
    lost, *brought = rng.sample(_THINGS, 3)
    spot, wrong = rng.sample(_SPOTS, 2)
    place, animal, feeling = (rng.choice(words) for words in (_PLACES, _ANIMALS, _FEELINGS))
    kept = [f"{rng.choice(_COLOURS)} {thing}" for thing in brought]
    hero, other = rng.sample([one, two], 2)
    met = rng.choice(_MET)
    sentences = [
        f"{rng.choice(_TIMES)} {one} and {two} {rng.choice(_WENT)} the {place}.",
        f"{one} {rng.choice(_CARRIED)} a {kept[0]}, {two} a {kept[1]}.",
        f"There {met} a {feeling} {animal}.",
        f'"{rng.choice(_LOST)} {lost}," said the {animal} to {rng.choice([one, two])}.',
        f"{other} looked behind the {wrong}, but there was no {lost}.",
        f"Then {hero} {rng.choice(_FOUND)} the {lost} under the {spot} and {rng.choice(_GAVE)}.",
        f"{rng.choice(_HOME)} the {animal} was no longer {feeling}, "
        f"and {rng.choice([f'{one} still had the {kept[0]}', f'{two} still had the {kept[1]}'])}.",
    ]
    questions = (
        Question(f"Who helped the {animal}?", hero),
        Question(f"Under what was the {lost}?", spot),
        Question(f"Where were {one} and {two}?", place),
        Question(f"What did {one} bring?", kept[0]),
        Question(f"What did {two} bring?", kept[1]),
        Question(f"What was missing at the {place}?", lost),
        Question(f"Which animal was {feeling}?", animal),
        Question(f"Where did {other} search in vain?", wrong),
    )
    return Story(" ".join(sentences), questions)


def stories(n: int, seed: int) -> list[Story]:
    rng = random.Random(seed)
    return [story(rng) for _ in range(n)]
