"""Pictures, music and sounds at toy size: each learns far more than guessing would give."""

from __future__ import annotations

import math
import wave

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ragformer.lessons.chorales import (
    END,
    N_SYMBOLS,
    START,
    Note,
    read_midi,
    sounding,
    to_ids,
    to_notes,
    transposed,
    write_midi,
)
from ragformer.lessons.signals import KINDS, make_sounds, with_noise

PNG = b"\x89PNG"


def pictures(lesson):
    return [path for path in lesson.result.outcome.files if path.read_bytes()[:4] == PNG]


def test_vision_reads_digits_it_never_saw(toy):
    lesson = toy("vision")
    assert lesson.fell() < 0.6
    assert lesson.result.outcome.value > 0.5  # guessing: 0.1
    assert len(pictures(lesson)) == 2


def test_image_learns_how_ink_follows_ink(toy):
    lesson = toy("image")
    assert lesson.fell() < 0.6
    assert lesson.losses[-1].value < 1.63  # nats; 1.68 for how often each place has each shade
    assert len(pictures(lesson)) == 2


def test_diffusion_learns_to_take_noise_away(toy):
    lesson = toy("diffusion")
    assert lesson.fell() < 0.5
    assert lesson.result.outcome.value >= 0.2  # guessing: 0.1
    assert len(pictures(lesson)) == 2


def test_music_learns_which_notes_come_next(toy):
    lesson = toy("music")
    assert lesson.result.outcome.value < math.log2(N_SYMBOLS) - 1.5  # guessing: log2
    assert len(pictures(lesson)) == 1
    [midi] = [path for path in lesson.result.outcome.files if path.suffix == ".mid"]
    assert midi.read_bytes()[:4] == b"MThd"
    assert read_midi(midi)


def test_sound_tells_what_it_hears(toy):
    lesson = toy("sound")
    assert lesson.fell() < 0.9
    assert lesson.result.outcome.value > 0.22  # guessing: 0.11
    assert len(pictures(lesson)) == 2
    for path in lesson.result.outcome.files:
        if path.suffix == ".wav":
            with wave.open(str(path)) as file:
                assert file.getnframes() == 8192


PIECES = st.dictionaries(
    st.tuples(st.integers(0, 70), st.integers(0, 3)),
    st.none() | st.integers(36, 84),
    min_size=1,
).map(lambda begun: [Note(*at, pitch) for at, pitch in sorted(begun.items())])


@given(PIECES, st.integers(-6, 5))
def test_a_piece_is_its_text_and_moves_with_it(piece, by):
    piece = [note._replace(at=note.at - piece[0].at // 16 * 16) for note in piece]
    ids = torch.tensor(to_ids(piece))
    assert to_notes(ids.tolist()) == piece
    higher = [n._replace(pitch=None if n.pitch is None else n.pitch + by) for n in piece]
    assert to_notes(transposed(ids, by).tolist()) == higher


@given(st.lists(st.integers(0, N_SYMBOLS - 1), max_size=60))
def test_any_text_is_music_in_order(ids):
    notes = to_notes([START, *ids, END])
    assert [note.at for note in notes] == sorted(note.at for note in notes)
    assert all(start < end for _, _, start, end in sounding(notes))


def test_a_midi_file_holds_what_was_written(tmp_path):
    piece = [Note(0, 0, 72), Note(0, 3, 48), Note(6, 0, 74), Note(8, 3, None), Note(16, 0, 71)]
    path = write_midi(piece, tmp_path / "piece.mid")
    assert read_midi(path) == {(0, 72), (0, 48), (6, 74), (16, 71)}


def test_noise_is_as_loud_as_said():
    generator = torch.Generator().manual_seed(0)
    sounds_BT = make_sounds(torch.arange(len(KINDS)), generator)
    assert torch.allclose(sounds_BT.square().mean(1), torch.ones(()), atol=1e-4)
    for decibels in (-10.0, 0.0, 10.0):
        noisy_BT = with_noise(sounds_BT, torch.full((len(KINDS),), decibels), generator)
        power = float((noisy_BT - sounds_BT).square().mean())
        assert -10 * math.log10(power) == pytest.approx(decibels, abs=0.2)
