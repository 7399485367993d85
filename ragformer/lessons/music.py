"""Music: a chorale is a text of notes, and a decoder goes on where Bach stopped.

Each moment at which a voice begins a note is written as its place in the bar, then the notes that
begin, from the soprano down. In this alphabet of some 260 symbols the decoder learns to say what
comes next, from Bach's chorales moved to all twelve keys. Beside it stands counting: how often each
symbol came after the three before it. Three symbols are less than one chord; the decoder sees 256,
some ten bars. Then it gets the first bars of a chorale it never saw and goes on, as a MIDI file to
listen to and as a piano roll beside what Bach wrote.

From: Huang et al. 2018, "Music Transformer", arXiv:1809.04281, section 4.1; Huang & Yang 2020, "Pop
Music Transformer", arXiv:2002.00212, section 3 (places in the bar as symbols).

Try next: TEMPERATURE of 0.5 or 1.2; leave out `transposed`; GIVEN of 1; give the decoder only the
soprano's notes of each moment and let it write the other three, as Bach did.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from itertools import chain

import torch
import torch.nn.functional as F
from torch import Tensor

from ragformer.lessons.chorales import (
    BAR,
    END,
    N_SYMBOLS,
    VOICES,
    Note,
    as_tensor,
    consonant,
    draw_roll,
    load_chorales,
    read_midi,
    sounding,
    to_ids,
    to_notes,
    transposed,
    write_midi,
)
from ragformer.lessons.lesson import Outcome, Setting
from ragformer.lessons.ngram import KneserNey
from ragformer.lessons.pictures import canvas, need, save
from ragformer.nn.generate import write_rows
from ragformer.nn.heads import Decoder, new_decoder
from ragformer.train.loop import Loss, fit
from ragformer.types import Sampling

CONTEXT = 256
KEYS = range(-5, 7)
GIVEN, WRITTEN = 3, 10  # bars of Bach's that the decoder goes on from, and bars in all
TEMPERATURE, TOP_P = 0.9, 0.95


def new_model(setting: Setting) -> Decoder:
    config = setting.transformer(N_SYMBOLS, max_seq_len=4 * CONTEXT, wide=(96, 48))
    return new_decoder(config, seed=0)


def nats(model: Decoder, ids_BT: Tensor, seen: int = 0) -> Tensor:
    """Mean over the symbols of each row, but for the first and `seen` more."""
    logits_BTV = model.token_logits(model.transformer(ids_BT[:, :-1])[:, seen:])
    return F.cross_entropy(logits_BTV.flatten(0, 1), ids_BT[:, 1 + seen :].flatten())


def loss_on(model: Decoder, text_N: Tensor, generator: torch.Generator) -> Tensor:
    """Of rows from anywhere in the text, each in a key drawn at random."""
    starts = torch.randint(0, len(text_N) - CONTEXT, (8,), generator=generator)
    keys = torch.randint(KEYS.start, KEYS.stop, (8,), generator=generator)
    rows = (text_N[start : start + CONTEXT + 1] for start in starts.tolist())
    return nats(
        model, torch.stack([transposed(r, int(k)) for r, k in zip(rows, keys, strict=True)])
    )


@torch.inference_mode()
def bits(model: Decoder, text_N: Tensor) -> float:
    """Mean bits a symbol, each said after at least half of CONTEXT."""
    rows_BT = text_N.unfold(0, CONTEXT + 1, CONTEXT // 2)
    return float(nats(model, rows_BT, seen=CONTEXT // 2)) / math.log(2)


def go_on(model: Decoder, piece: Sequence[Note]) -> list[Note]:
    """The first GIVEN bars of a piece, and what the decoder writes up to WRITTEN bars."""
    ids = to_ids([note for note in piece if note.at < GIVEN * BAR])[:-1]
    sampling = Sampling(temperature=TEMPERATURE, top_p=TOP_P, seed=0)
    written = write_rows(model, torch.tensor([ids]), 3 * CONTEXT // 2, sampling)[0].tolist()
    return [note for note in to_notes([*ids, *written, END]) if note.at < WRITTEN * BAR]


def run(setting: Setting) -> Iterator[str | Loss | Outcome]:
    need("matplotlib")
    pieces = list(load_chorales(every=setting.size(2, 30)))
    random.Random(0).shuffle(pieces)
    n_test = max(1, len(pieces) // 10)
    test, train = pieces[:n_test], pieces[n_test:]
    train_N, test_N = as_tensor(train), as_tensor(test)
    yield f"{len(train)} chorales of {len(train_N):,} symbols to learn from, {n_test} others"
    everywhere = chain.from_iterable(transposed(train_N, key).tolist() for key in KEYS)
    counted = KneserNey(list(everywhere), N_SYMBOLS, order=3).bits(test_N.tolist())
    model, generator = new_model(setting), torch.Generator().manual_seed(0)
    steps = setting.size(400, 40)
    yield from fit(model, lambda: loss_on(model, train_N, generator), steps, 1e-2)
    own, unseen = bits(model, train_N[: len(test_N)]), bits(model, test_N)
    yield f"bits a symbol: {unseen:.3f} on unseen chorales and {own:.3f} on those learned from"
    yield f"counting what came after three symbols: {counted:.3f} on the unseen ones"

    bach = [note for note in test[0] if note.at < WRITTEN * BAR]
    ours = go_on(model, test[0])
    yield f"beats in consonance: {consonant(ours):.0%} as continued, {consonant(bach):.0%} in Bach"
    midi = write_midi(ours, setting.out / "chorale.mid")
    begun = {(start, pitch) for _, pitch, start, _ in sounding(ours)}
    yield f"{len(begun & read_midi(midi))} of {len(begun)} notes read back from the MIDI file"
    figure, axes = canvas(2, 1, size=(11, 6))
    draw_roll(axes[0], ours, f"continued by the decoder after bar {GIVEN}")
    draw_roll(axes[1], bach, "Bach")
    axes[0].axvline(GIVEN, color="black", linestyle="--")
    axes[1].set(xlabel="bars")
    for voice, name in enumerate(VOICES):
        axes[1].barh(0, 0, color=f"C{voice}", label=name)
    axes[1].legend(ncols=4, fontsize="small", loc="upper right")
    for ax in axes:
        ax.set(xlim=(0, WRITTEN), ylim=(34, 88))
    files = (save(figure, setting.out / "music.png"), midi)
    yield Outcome("bits a symbol on unseen chorales", unseen, counted, files, at_most=True)
