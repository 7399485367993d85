"""Recurrence: two LSTMs beside a transformer, putting numbers in order.

All three read up to ten numbers and write them sorted. The first LSTM must squeeze what it read
into one state; the second may look back at every number it read, the step that led to attention;
the transformer has nothing but attention, and reads all numbers at once. All get the same examples,
the LSTMs more weights. Then come rows three times as long as any they learned from: a state that
was never so full fails, while looking for the next larger number stays what it was. The LSTMs are
quicker here, as rows are short; on long ones they cannot read all numbers at once.

From: Sutskever, Vinyals & Le 2014, arXiv:1409.3215, section 2 (LSTM to LSTM); Bahdanau, Cho &
Bengio 2014, arXiv:1409.0473, section 3.1 (looking back); Vinyals, Bengio & Kudlur 2015, "Order
Matters", arXiv:1511.06391, section 4.3 (sorting).

Try next: repeat numbers; train on rows of up to thirty and compare the seconds; give the
transformer no positions (positions_BT all 0): what does it need them for here?
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ragformer.lessons.lesson import Outcome, Setting
from ragformer.lessons.pictures import canvas, save
from ragformer.nn.config import TransformerConfig
from ragformer.nn.heads import EncoderDecoder, new_encoder_decoder
from ragformer.nn.transformer import attend
from ragformer.train.loop import Loss, fit

N_NUMBERS, SHORTEST, TRAINED = 100, 2, 10
START = N_NUMBERS  # comes before the first number written
NAMES = ("LSTM", "LSTM that looks back", "transformer")


class Recurrent(nn.Module):
    """An LSTM reads, another writes, from the first one's last state."""

    def __init__(self, d_model: int, looks_back: bool) -> None:
        super().__init__()
        self.embed = nn.Embedding(N_NUMBERS + 1, d_model)
        self.read = nn.LSTM(d_model, d_model, batch_first=True)
        self.write = nn.LSTM(d_model, d_model, batch_first=True)
        self.join = nn.Linear(2 * d_model, d_model) if looks_back else None
        self.head = nn.Linear(d_model, N_NUMBERS)

    def forward(self, ids_BS: Tensor, target_BT: Tensor) -> Tensor:
        """Logits of what follows each target [B, T, V]."""
        memory_BSD, state = self.read(self.embed(ids_BS))
        hidden_BTD, _ = self.write(self.embed(target_BT), state)
        if self.join is not None:
            q_B1TD, k_B1SD = hidden_BTD[:, None], memory_BSD[:, None]
            seen_BTD = attend(q_B1TD, k_B1SD, k_B1SD)[:, 0]
            hidden_BTD = self.join(torch.cat([hidden_BTD, seen_BTD], dim=-1)).tanh()
        logits_BTV: Tensor = self.head(hidden_BTD)
        return logits_BTV


class Attending(nn.Module):
    """The encoder-decoder of nn/."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        sizes = {"d_model": d_model, "d_ff": 2 * d_model, "n_layers": 2, "max_seq_len": 64}
        heads = {"n_heads": 4, "n_kv_heads": 4, "d_head": d_model // 4}
        both = {**sizes, **heads, "tie_embeddings": False}
        source = TransformerConfig(N_NUMBERS + 1, causal=False, **both)  # type: ignore[arg-type]
        target = TransformerConfig(N_NUMBERS + 1, cross_attention=True, **both)  # type: ignore[arg-type]
        self.model: EncoderDecoder = new_encoder_decoder(source, target, seed=0)

    def forward(self, ids_BS: Tensor, target_BT: Tensor) -> Tensor:
        """As `Recurrent`; all numbers are of the row, none is padding."""
        logits_BTV: Tensor = self.model(ids_BS, torch.ones_like(ids_BS).bool(), target_BT)
        return logits_BTV[..., :N_NUMBERS]


def new_model(name: str, setting: Setting) -> nn.Module:
    torch.manual_seed(0)  # nn.LSTM draws its first weights from the global generator
    if name == "transformer":
        return Attending(setting.size(64, 32))
    return Recurrent(setting.size(128, 64), looks_back=name != "LSTM")


def rows(n: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Different numbers in any order, and the same sorted, each [n, length]."""
    order_BV = torch.rand(n, N_NUMBERS, generator=generator).argsort(dim=1)
    ids_BS = order_BV[:, :length]
    return ids_BS, ids_BS.sort(dim=1).values


def logits(model: nn.Module, ids_BS: Tensor, sorted_BT: Tensor) -> Tensor:
    """Of each number, given those before it."""
    before_BT = F.pad(sorted_BT[:, :-1], (1, 0), value=START)
    out_BTV: Tensor = model(ids_BS, before_BT)
    return out_BTV


def loss_on(model: nn.Module, generator: torch.Generator) -> Tensor:
    length = int(torch.randint(SHORTEST, TRAINED + 1, (1,), generator=generator))
    ids_BS, sorted_BT = rows(64, length, generator)
    return F.cross_entropy(logits(model, ids_BS, sorted_BT).flatten(0, 1), sorted_BT.flatten())


@torch.inference_mode()
def accuracy(model: nn.Module, length: int) -> float:
    """The share of numbers right, each after the right ones before it."""
    ids_BS, sorted_BT = rows(300, length, torch.Generator().manual_seed(7))
    return float((logits(model, ids_BS, sorted_BT).argmax(-1) == sorted_BT).float().mean())


def run(setting: Setting) -> Iterator[str | Loss | Outcome]:
    figure, (left, right) = canvas(1, 2, size=(10, 4))
    long, lengths = {}, (2, 5, 10, 15, 20, 25, 30)
    for name in NAMES:
        model, generator = new_model(name, setting), torch.Generator().manual_seed(0)
        weights = sum(parameter.numel() for parameter in model.parameters())
        began = time.process_time()
        curve: list[Loss] = []
        for loss in fit(
            model, functools.partial(loss_on, model, generator), setting.size(600, 80), 5e-3, name
        ):
            curve.append(loss)
            yield loss
        seconds = time.process_time() - began
        shares = [accuracy(model, length) for length in lengths]
        long[name] = shares[-1]
        left.plot([loss.step for loss in curve], [loss.value for loss in curve], label=name)
        right.plot(lengths, shares, marker=".", label=f"{name}, {seconds:.0f} s of computing")
        yield (
            f"{name}, {weights:,} weights, {seconds:.0f} s of computing: {shares[2]:.1%} of "
            f"numbers right in rows of {TRAINED}, {shares[-1]:.1%} in rows of {3 * TRAINED}"
        )
    left.set(xlabel="step", ylabel="loss", ylim=(0, None))
    right.axvline(TRAINED, color="gray", linestyle="--")
    right.set(xlabel="numbers in a row (trained up to the dashed line)", ylabel="numbers right")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    picture = save(figure, setting.out / "rnn.png")
    ahead = long["transformer"] - max(long[name] for name in NAMES[:2])
    what = f"numbers right in rows of {3 * TRAINED}, the transformer's share less the better LSTM's"
    yield Outcome(what, ahead, 0.05, (picture,))
