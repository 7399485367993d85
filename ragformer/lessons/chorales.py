"""Bach's four-part chorales, which come with music21, as notes and as a text of notes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ragformer.lessons.pictures import need

VOICES = ("soprano", "alto", "tenor", "bass")
BAR = 16  # sixteenths
LOW, HIGH = 30, 90  # MIDI pitches, half open; the chorales' own and some to transpose to
_WIDTH = HIGH - LOW + 1  # of a voice in the alphabet: its pitches, and silence
START = BAR + len(VOICES) * _WIDTH
END = START + 1
N_SYMBOLS = END + 1
"""The alphabet: a moment in the bar, each pitch of each voice, a piece's start and its end."""


class Note(NamedTuple):
    """What a voice begins `at` a sixteenth: a MIDI pitch, or None for silence; until its next."""

    at: int
    voice: int
    pitch: int | None


def load_chorales(every: int = 1) -> Iterator[list[Note]]:
    """The chorales of four voices in 4/4, or one in so many; about 300 in half a minute."""
    need("music21")
    from music21 import corpus

    for path in corpus.getComposer("bach", fileExtensions=("xml", "mxl"))[::every]:
        score = corpus.parse(path, forceSource=True)
        beats = {time.ratioString for time in score["TimeSignature"]}
        if len(score.parts) == len(VOICES) and beats == {"4/4"} and (notes := _notes(score)):
            yield notes


def _notes(score: Any) -> list[Note]:
    """The notes of a score, or none where they do not fit bars and sixteenths."""
    found = []
    bars = list(score.parts[0].getElementsByClass("Measure"))
    first = bars[0].duration.quarterLength
    late = 4 - first if first < 4 else 0  # an upbeat stands at the end of its bar
    # A repeat may cut a bar in two; but most must begin where a bar begins.
    if sum((late + bar.offset) % 4 != 0 for bar in bars) > len(bars) / 4:
        return []
    for voice, part in enumerate(score.parts):
        for note in part.flatten().notesAndRests:
            at = (late + note.offset) * BAR / 4
            if note.isChord or at != int(at):
                return []
            if note.duration.isGrace or (note.tie is not None and note.tie.type != "start"):
                continue
            found.append(Note(int(at), voice, note.pitch.midi if note.isNote else None))
    return sorted(found, key=lambda note: note[:2])


def to_ids(notes: Sequence[Note]) -> list[int]:
    """START, then of each moment its place in the bar and what begins there, from the top voice."""
    ids = [START]
    end = notes[-1].at + 1
    moments: dict[int, list[Note]] = {
        at: [] for at in range(-(-notes[0].at // BAR) * BAR, end, BAR)
    }
    for note in notes:
        moments.setdefault(note.at, []).append(note)
    for at, begun in sorted(moments.items()):
        pitches = (LOW - 1 if note.pitch is None else note.pitch for note in begun)
        symbols = (
            BAR + n.voice * _WIDTH + p - LOW + 1 for n, p in zip(begun, pitches, strict=True)
        )
        ids += [at % BAR, *symbols]
    return [*ids, END]


def to_notes(ids: Sequence[int]) -> list[Note]:
    """The notes of a text, whatever it says; up to END. The inverse of `to_ids`."""
    notes = []
    at = -1
    for symbol in ids:
        if symbol == END:
            break
        if symbol < BAR:  # an earlier place than the last is one in the next bar
            at += (symbol - at - 1) % BAR + 1
        elif symbol < START:
            voice, place = divmod(symbol - BAR, _WIDTH)
            notes.append(Note(max(at, 0), voice, place + LOW - 1 if place else None))
    return notes


def transposed(ids: Tensor, by: int) -> Tensor:
    """The same music so many half tones higher."""
    pitched = (ids >= BAR) & (ids < START) & ((ids - BAR) % _WIDTH != 0)
    return ids + by * pitched


def sounding(notes: Sequence[Note]) -> Iterator[tuple[int, int, int, int]]:
    """Of each pitch its voice, the pitch, and the sixteenths from and to which it sounds."""
    end = max((note.at for note in notes), default=0) + BAR // 4
    for voice in range(len(VOICES)):
        own = {note.at: note for note in notes if note.voice == voice}
        for note, until in zip(own.values(), [*own, end][1:], strict=True):
            if note.pitch is not None:
                yield voice, note.pitch, note.at, until


def consonant(notes: Sequence[Note]) -> float:
    """The share of beats on which what sounds is a consonance, as music21 hears it."""
    from music21.chord import Chord

    beats: dict[int, set[int]] = {}
    for _, pitch, start, end in sounding(notes):
        for beat in range(-(-start // 4), -(-end // 4)):
            beats.setdefault(beat, set()).add(pitch)
    heard = [bool(Chord(sorted(pitches)).isConsonant()) for pitches in beats.values()]
    return sum(heard) / len(heard)


def write_midi(notes: Sequence[Note], path: Path) -> Path:
    """A MIDI file with a track for each voice."""
    from music21 import note, stream

    parts = {name: stream.Part(id=name) for name in VOICES}
    for voice, pitch, start, end in sounding(notes):
        made = note.Note(pitch, quarterLength=(end - start) * 4 / BAR)
        parts[VOICES[voice]].insert(start * 4 / BAR, made)
    stream.Score(list(parts.values())).write("midi", fp=path)
    return path


def read_midi(path: Path) -> set[tuple[int, int]]:
    """When each pitch of a MIDI file begins, in sixteenths."""
    from music21 import converter

    found = converter.parse(path, forceSource=True).flatten().notes
    return {(round(n.offset * BAR / 4), p.midi) for n in found for p in n.pitches}


def draw_roll(axes: Any, notes: Sequence[Note], title: str) -> None:
    """A piano roll: time to the right, pitch upwards, a colour for each voice."""
    for voice, pitch, start, end in sounding(notes):
        axes.barh(pitch, (end - start - 0.3) / BAR, 0.9, start / BAR, color=f"C{voice}")
    axes.set(ylabel="pitch", title=title)
    axes.set_yticks(range(36, 85, 12), [f"C{n}" for n in range(2, 7)])
    axes.grid(alpha=0.3)


def as_tensor(pieces: Sequence[Sequence[Note]]) -> Tensor:
    """All pieces as one text, one after another."""
    return torch.tensor([symbol for notes in pieces for symbol in to_ids(notes)])
