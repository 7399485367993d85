"""The encoder and a peer are timed on the same texts, in turns."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ragformer.bench import embed
from ragformer.errors import InputError, NotFoundError


class FakePeer:
    """Looks like a SentenceTransformer; its tokens are words."""

    max_seq_length = 4

    def __init__(self, folder: str, device: str, local_files_only: bool) -> None:
        assert local_files_only
        self.folder, self.encoded = folder, []
        self.tokenizer = self._tokenize

    def float(self) -> FakePeer:
        return self

    eval = float

    def _tokenize(self, texts: list[str], truncation: bool, max_length: int) -> dict[str, Any]:
        assert truncation
        return {"input_ids": [text.split()[:max_length] for text in texts]}

    def encode(self, texts: list[str]) -> np.ndarray:
        return np.ones((len(texts), 2))


@pytest.fixture
def peer_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "peer"
    folder.mkdir()
    (folder / "modules.json").write_text("[]")
    return folder


@pytest.fixture
def fake_library(monkeypatch: pytest.MonkeyPatch) -> None:
    library = SimpleNamespace(SentenceTransformer=FakePeer)
    monkeypatch.setitem(sys.modules, "sentence_transformers", library)


def test_paragraphs_and_tokens_a_second_are_told(reading_file, tiny_models):
    result = embed.run(reading_file, repeats=2, encoder=tiny_models / "encoder")
    assert (result["suite"], result["paragraphs"], result["repeats"]) == ("embed", 5, 2)
    assert "peer" not in result
    paragraphs, tokens = result["paragraphs_per_second"], result["tokens_per_second"]
    assert 0 < paragraphs["low"] <= paragraphs["median"] <= paragraphs["high"]
    assert result["tokens"] >= 5 * 11  # words of a paragraph
    assert tokens["high"] / paragraphs["high"] == pytest.approx(result["tokens"] / 5)
    assert json.loads(json.dumps(result)) == result


def test_a_paragraph_of_many_questions_is_embedded_once(reading_file, tiny_models):
    reading_file.write_text(reading_file.read_text() + "\n" + reading_file.read_text())
    encoder = tiny_models / "encoder"
    assert embed.run(reading_file, repeats=1, encoder=encoder)["paragraphs"] == 5
    assert embed.run(reading_file, limit=3, repeats=1, encoder=encoder)["paragraphs"] == 3
    reading_file.write_text("")
    with pytest.raises(InputError):
        embed.run(reading_file, encoder=encoder)


@pytest.mark.usefixtures("fake_library")
def test_a_peer_has_figures_of_its_own(reading_file, tiny_models, peer_folder):
    result = embed.run(reading_file, repeats=3, peer=peer_folder, encoder=tiny_models / "encoder")
    theirs = result["peer"]
    assert theirs["path"] == str(peer_folder)
    assert theirs["tokens"] == 5 * FakePeer.max_seq_length
    ratio = result["times_peer"]
    assert 0 < ratio["low"] <= ratio["median"] <= ratio["high"]
    fastest, slowest = result["paragraphs_per_second"], theirs["paragraphs_per_second"]
    assert ratio["high"] <= fastest["high"] / slowest["low"] * (1 + 1e-9)
    assert json.loads(json.dumps(result)) == result


def test_sides_take_turns_and_each_second_is_its_own():
    said: list[tuple[str, int]] = []
    now = [0.0]

    def side(name: str, seconds: float):
        def work(texts: Sequence[str]) -> None:
            said.append((name, len(texts)))
            now[0] += seconds * len(texts)

        return work

    texts = ["x"] * (embed.WARM_UP + 36)
    seconds = embed.time_in_turns([side("a", 1), side("b", 3)], texts, 3, clock=lambda: now[0])
    assert said[:2] == [("a", embed.WARM_UP), ("b", embed.WARM_UP)]
    assert said[2:] == [("a", 100), ("b", 100)] * 3
    assert seconds == [[100.0] * 3, [300.0] * 3]


def test_a_peer_that_cannot_be_had_is_refused_in_a_sentence(monkeypatch, peer_folder):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(NotFoundError, match=r"pip install 'ragformer\[bench\]'"):
        embed.load_sentence_transformer(peer_folder, "cpu")
    for folder in (peer_folder / "none", peer_folder.parent):
        with pytest.raises(InputError, match=r"there is no .*modules\.json"):
            embed.load_sentence_transformer(folder, "cpu")
