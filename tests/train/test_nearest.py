"""Texts that share the question's rare words come first."""

from __future__ import annotations

import pytest

from ragformer.train.nearest import Nearest

TEXTS = ["Otters swim in rivers.", "The heron fishes in the river.", "Bread is baked at dawn."]


def test_the_best_match_is_first_and_others_stay_out():
    nearest = Nearest(TEXTS)
    assert nearest("Where do the herons fish?", 3) == [1]
    assert nearest("Which river has otters?", 3)[0] == 0
    assert nearest("Which river has otters?", 1) == [0]


@pytest.mark.parametrize("question", ["", "?!", '"', "NEAR(", "a" * 5000, "日本", "quantum flux"])
def test_any_question_is_harmless(question):
    assert Nearest(TEXTS)(question, 3) == []
