"""Sounds made from sums: instruments, and vowels as a throat makes them; and how a sound looks."""

from __future__ import annotations

import math
import wave
from pathlib import Path

import torch
from torch import Tensor

RATE, LENGTH = 8000, 8192
"""Values a second, and how many a sound has: about a second."""
KINDS = ("flute", "clarinet", "violin", "guitar", "bell", "drum", "ah", "ee", "oo")
# The three resonances of a throat that says it, Hz. Peterson & Barney 1952, table II (men).
_FORMANTS = {"ah": (730, 1090, 2440), "ee": (270, 2290, 3010), "oo": (300, 870, 2240)}
_BELL = (0.56, 0.92, 1.19, 1.71, 2.0, 2.74, 3.0, 3.76)  # partials of a bell, Risset 1969
_TIME = torch.arange(LENGTH) / RATE
_MELS, _FRAMES, _HOP = 64, 64, 128


def make_sounds(kinds_B: Tensor, generator: torch.Generator) -> Tensor:
    """One of each kind [B, LENGTH], with its own pitch, start and touch; root mean square 1."""
    sounds_BT = torch.stack([_sound(KINDS[kind], generator) for kind in kinds_B.tolist()])
    return sounds_BT / sounds_BT.square().mean(1, keepdim=True).sqrt()


def with_noise(sounds_BT: Tensor, decibels_B: Tensor, generator: torch.Generator) -> Tensor:
    """The sounds, so many decibels above noise of every pitch alike."""
    noise_BT = torch.randn(sounds_BT.shape, generator=generator)
    return sounds_BT + noise_BT * 10 ** (-decibels_B[:, None] / 20)


def spectrogram(sounds_BT: Tensor) -> Tensor:
    """Loudness of 64 bands, low to high, over 64 moments [B, 64, 64]; 0 and 1 on average.

    Bands are evenly spaced in mel, as an ear tells pitches apart (Stevens et al. 1937).
    """
    window = torch.hann_window(512)
    states_BFT = torch.stft(sounds_BT, 512, _HOP, window=window, return_complex=True)
    loud_BFT = (_bands() @ states_BFT.abs().square()[..., :_FRAMES] + 1e-3).log()
    loud_BFT = loud_BFT - loud_BFT.mean((1, 2), keepdim=True)
    return loud_BFT / loud_BFT.std((1, 2), keepdim=True)


def write_wav(sound_T: Tensor, path: Path) -> Path:
    """A sound to listen to."""
    values = (sound_T / sound_T.abs().max() * 30_000).to(torch.int16)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(values.numpy().astype("<i2").tobytes())
    return path


def _bands() -> Tensor:
    """Triangles over the 257 frequencies of a window of 512, [64, 257]."""
    top = 2595 * math.log10(1 + RATE / 2 / 700)
    edges = 700 * (10 ** (torch.linspace(0, top, _MELS + 2) / 2595) - 1)
    hertz = torch.linspace(0, RATE / 2, 257)
    up = (hertz - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    down = (edges[2:, None] - hertz) / (edges[2:] - edges[1:-1])[:, None]
    return torch.minimum(up, down).clamp(min=0)


def _sound(kind: str, generator: torch.Generator) -> Tensor:
    """One sound [LENGTH], which begins within its first quarter."""
    a, b, c, late = torch.rand(4, generator=generator).tolist()
    if kind in _FORMANTS:
        sound = _voice(_FORMANTS[kind], a, b, c)
    elif kind == "drum":
        hiss = torch.randn(LENGTH, generator=generator) * (-_TIME * (15 + 15 * b)).exp()
        fall = 60 + 60 * a + 150 * (-_TIME * 30).exp()  # a skin's pitch falls as it comes to rest
        sound = _wave(fall) * (-_TIME * 8).exp() + 0.5 * hiss
    elif kind == "bell":
        pitch = 300 * 2 ** (1.5 * a)
        partials = (
            (_TIME * 2 * math.pi * pitch * r).sin() * (-_TIME * r * (1 + b)).exp() for r in _BELL
        )
        sound = torch.stack(list(partials)).sum(0)
    else:
        sound = _instrument(kind, 150 * 2 ** (1.5 * a), b, c, generator)
    start = int(late * LENGTH / 4)
    return torch.cat([torch.zeros(start), sound[: LENGTH - start]])


def _instrument(kind: str, pitch: float, b: float, c: float, generator: torch.Generator) -> Tensor:
    n = torch.arange(1, 21)[:, None]
    if kind == "guitar":  # every harmonic dies away, the high ones sooner
        fade = (-_TIME * n * (0.6 + b)).exp()
        return _harmonics(torch.full_like(_TIME, pitch), fade / n)
    swing = 0.03 * (0.3 + c) * (2 * math.pi * (5 + b) * _TIME).sin()
    rise = 1 - (-_TIME * (8 + 30 * b)).exp()
    if kind == "violin":
        return rise * _harmonics(pitch * (1 + swing), 1 / n)
    if kind == "clarinet":  # a pipe closed at one end has the odd harmonics only
        return rise * _harmonics(torch.full_like(_TIME, pitch), (n % 2) / n)
    breath = 0.1 * torch.randn(LENGTH, generator=generator)
    return rise * (_harmonics(2 * pitch * (1 + swing / 3), 0.2 ** (n - 1)) + breath)


def _voice(formants: tuple[int, int, int], a: float, b: float, c: float) -> Tensor:
    """Pulses of a gliding pitch through the throat's resonances, which differ by speaker."""
    n = torch.arange(1, 41)[:, None]
    pitch = 90 + 120 * a + (c - 0.5) * 60 * _TIME
    hertz = n * pitch
    size = 0.9 + 0.2 * b
    shapes = (1 / (1 + ((hertz - f * size) / (60 + f * 0.04)) ** 2) / f**0.5 for f in formants)
    return _harmonics(pitch, sum(shapes, start=torch.zeros(())))


def _harmonics(pitch_T: Tensor, loud_NT: Tensor) -> Tensor:
    """Waves of 1, 2, 3... times a pitch in Hz, as loud as said; none above what RATE can hold."""
    n = torch.arange(1, len(loud_NT) + 1)[:, None]
    held = n * pitch_T < RATE / 2
    return (_phase(pitch_T) * n).sin().mul(loud_NT * held).sum(0)


def _wave(pitch_T: Tensor) -> Tensor:
    return _phase(pitch_T).sin()


def _phase(pitch_T: Tensor) -> Tensor:
    return 2 * math.pi * pitch_T.cumsum(0) / RATE
