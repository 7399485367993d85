"""The folder of an imported model is there whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from ragformer.errors import InputError, StoreFullError
from ragformer.retrieve.placing import UNFINISHED, new_folder, place_for


def write(folder: Path, said: str = "whole") -> None:
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_text(said)


NO_NAMES = [
    "",
    ".",
    "..",
    ".hidden",
    "-x",
    "a/b",
    "../a",
    "a\\b",
    "C:a",
    " a",
    "a\n",
    "a\0b",
    "\x1b[2J",
]


@pytest.mark.parametrize("name", [*NO_NAMES, "\udc80", "a" * 300, "€" * 40, "\u202egnp", "box"])
def test_a_name_that_is_none_is_refused(home: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"cannot be called|in the box"):
        place_for(None, name)
    assert not home.exists()


@pytest.mark.parametrize("name", ["Qwen2.5-0.5B", "llama 3", "模型", "a" * 100])
def test_usual_names_are_folders_in_the_home(home: Path, name: str) -> None:
    assert place_for(None, name) == home / "models" / name


def test_nothing_is_there_before_all_is(home: Path) -> None:
    place = place_for(None, "model")
    with new_folder(place) as folder:
        write(folder)
        assert not place.exists()
    assert sorted(file.name for file in place.iterdir()) == ["config.json", "model.safetensors"]
    assert [path.name for path in place.parent.iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("error", "seen"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), StoreFullError),
        (OSError(errno.EIO, "Input/output error"), OSError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_what_fails_leaves_nothing(
    home: Path, error: BaseException, seen: type[BaseException]
) -> None:
    def fail() -> None:
        with new_folder(home / "models" / "model") as folder:
            write(folder)
            raise error

    with pytest.raises(seen):
        fail()
    assert not list((home / "models").iterdir())


def test_of_two_at_once_the_first_stays(home: Path) -> None:
    place = place_for(None, "model")

    def import_both() -> None:
        with new_folder(place) as late:
            write(late, "late")
            with new_folder(place) as early:
                write(early, "early")

    with pytest.raises(InputError, match="is there already"):
        import_both()
    assert {file.read_text() for file in place.iterdir()} == {"early"}
    assert [path.name for path in place.parent.iterdir()] == ["model"]


def test_an_empty_folder_of_the_users_is_kept(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    number = mine.stat().st_ino
    with new_folder(place_for(mine, "any")) as folder:
        write(folder)
    assert (mine.stat().st_ino, len(list(mine.iterdir()))) == (number, 2)


def test_what_a_killed_import_left_goes_after_a_day(home: Path) -> None:
    old, young = (home / "models" / f"{UNFINISHED}{age}" for age in ("old", "young"))
    for left in (old, young):
        left.mkdir(parents=True)
        write(left)
    os.utime(old, (0, 0))
    with new_folder(place_for(None, "model")) as folder:
        write(folder)
    assert sorted(path.name for path in old.parent.iterdir()) == [young.name, "model"]
