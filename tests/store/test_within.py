"""What `--in` names."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragformer.store.within import match_paths

FILES = [
    "/docs/2024/a.pdf",
    "/docs/2024/b.pdf",
    "/docs/2025/deep/a.pdf",
    "/docs/report[1].pdf",
    "/docs/report1.pdf",
    "/other/2024.pdf",
]


@pytest.mark.parametrize(
    ("within", "expected"),
    [
        (["a.pdf"], [0, 2]),
        (["2024/a.pdf"], [0]),
        (["/docs/2024/a.pdf"], [0]),
        (["/docs/2024"], [0, 1]),
        (["/docs/2024/"], [0, 1]),
        (["2024"], [0, 1]),
        (["/docs"], [0, 1, 2, 3, 4]),
        (["/"], [0, 1, 2, 3, 4, 5]),
        (["2024/*.pdf"], [0, 1]),
        (["202?/*.pdf"], [0, 1]),
        (["/docs/*/*.pdf"], [0, 1]),
        (["/docs/**/a.pdf"], [0, 2]),
        (["docs/**/*.pdf"], [0, 1, 2, 3, 4]),
        (["report[1].pdf"], [3]),
        (["report[0-9].pdf"], [4]),
        (["a.pdf", "2024.pdf"], [0, 2, 5]),
        (["a"], []),
        (["ocs/2024/a.pdf"], []),
        (["/2024/a.pdf"], []),
        ([""], []),
        ([], []),
    ],
)
def test_within(within, expected):
    found = match_paths([Path(file) for file in FILES], within)
    assert found == {Path(FILES[i]) for i in expected}


def test_two_spellings_of_one_letter_are_one_name():
    decomposed = Path("/docs/cafe\u0301.pdf")
    assert match_paths([decomposed], ["caf\u00e9.pdf"]) == {decomposed}


part = st.text(st.sampled_from("ab*?[].é"), min_size=1, max_size=4).filter(
    lambda name: name not in {".", ".."}
)
path = st.lists(part, min_size=1, max_size=4).map(lambda parts: Path("/", *parts))


@given(st.lists(path, min_size=1, max_size=6), st.data())
def test_a_files_own_name_always_names_it_and_only_it(paths, data):
    chosen = data.draw(st.sampled_from(paths))
    assert match_paths(paths, [str(chosen)]) == {chosen}
    assert chosen in match_paths(paths, [chosen.name])
    assert chosen in match_paths(paths, ["/"])


@given(st.lists(path, max_size=6), st.lists(st.text(max_size=12), max_size=3))
def test_any_pattern_names_some_of_the_files(paths, within):
    assert match_paths(paths, within) <= set(paths)
