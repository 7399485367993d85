"""How fast do decoders read and write in each form of their weights, and what does a form lose?

    prompt -> prefill (share of the matrix-product peak) -> decode steps (share of the bandwidth)

All sides, a peer's too, take turns on the same prompt: a machine that others work on as well is as
unkind to one as to another, so compare rows of one run. Peaks are measured in the same run. On a
CPU, shares of them and times of another side count the seconds of this process on all processors
together, which others at work do not lengthen; tokens/s are by the clock, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ragformer.answer.reader import load_decoder
from ragformer.answer.writer import tokens_at_once
from ragformer.bench.machine import median_of, peak_bytes
from ragformer.errors import InputError
from ragformer.nn.cache import KVCache
from ragformer.nn.config import TransformerConfig
from ragformer.nn.device import Clock, copy_bandwidth, matmul_peak, synchronize
from ragformer.nn.generate import generate
from ragformer.nn.graph import Stepper
from ragformer.nn.heads import Decoder
from ragformer.nn.quantize import FORMS, bytes_per_step, pack
from ragformer.types import Sampling

SHAPES = {
    "qwen2-0.5b": TransformerConfig(
        vocab_size=151_936,
        d_model=896,
        n_layers=24,
        n_heads=14,
        n_kv_heads=2,
        d_head=64,
        d_ff=4864,
        max_seq_len=32_768,
        rope_theta=1_000_000.0,
        qkv_bias=True,
    )
}
"""Shapes of known checkpoints, run with random weights: their speed is the same."""
FORMS_ON = {"cpu": FORMS, "cuda": ("bfloat16", "int8", "int4")}
SHARED_PROMPT = 64
"""Tokens before the steps of a batch: its rows begin alike, and reading is timed apart."""

PROCESSOR = "_by_processor"
"""Behind a figure's name: a second of the processor, not of the clock."""

PEAK_SIZE = 1024
"""Rows and columns of the square product that is the peak: smaller and larger ones are slower."""

Weights = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Work:
    """What is timed: prompt and new tokens, how many rows at once, and how often.

    prompt: None for 512, or half of what the decoder reads.
    """

    prompt: int | None = None
    new: int = 32
    batches: tuple[int, ...] = (1, 8, 64)
    repeats: int = 3


class Seconds(NamedTuple):
    """On the clock, and of this process on all processors together."""

    wall: float
    processor: float

    def since(self, start: Seconds) -> Seconds:
        return Seconds(self.wall - start.wall, self.processor - start.processor)


@dataclass(slots=True)
class Side:
    """One way to run the weights. write: seconds up to the first of n tokens, and for the others.

    rows: seconds of n steps of B rows, None where that is not timed. step_bytes: of weights that
    a step reads. product: what its prompts are multiplied in.
    """

    name: str
    write: Callable[[Tensor, int], tuple[Seconds, Seconds]]
    rows: Callable[[Tensor, int, int], Seconds] | None
    step_bytes: int
    product: torch.dtype
    times: dict[str, list[float]] = field(default_factory=dict)


def run(
    shape: str | None,
    forms: Sequence[str],
    peer: Callable[[TransformerConfig, Weights, torch.device], list[Side]] | None = None,
    work: Work | None = None,
    device: torch.device | None = None,
    decoder: Path | None = None,
) -> dict[str, Any]:
    """Time the shipped decoder, or one of SHAPES, in each of `forms`, and `peer` beside them."""
    work, device = work or Work(), device or torch.device("cpu")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError("PyTorch finds no CUDA GPU here; leave --device out to use the CPU")
    config, weights = base_weights(shape, decoder)
    prompt = work.prompt or min(512, config.max_seq_len // 2)
    if prompt + work.new > config.max_seq_len:
        raise InputError(
            f"prompt and new tokens are {prompt + work.new}, the decoder reads"
            f" {config.max_seq_len}; give smaller --prompt or --new"
        )
    sides = [our_side(config, weights, form, device) for form in forms]
    sides += peer(config, weights, device) if peer else []
    clock: Clock = time.perf_counter if device.type == "cuda" else time.process_time
    copied = copy_bandwidth(device, clock=clock)
    peaks = {
        dtype: matmul_peak(device, PEAK_SIZE, dtype=dtype, clock=clock)
        for dtype in {side.product for side in sides}
    }
    ids_1T = torch.randint(0, config.vocab_size, (1, prompt), device=device)
    time_in_turns(sides, ids_1T, work)
    costs = _Costs(config, prompt, work.new, copied, peaks, device.type == "cuda")
    return {
        "model": shape or "shipped",
        "parameters": sum(weight.numel() for weight in weights.values()),
        "threads": torch.get_num_threads(),
        "prompt_tokens": prompt,
        "new_tokens": work.new,
        "copy_gb_per_second": copied / 1e9,
        "matmul_gflops": {_name(dtype): peak / 1e9 for dtype, peak in peaks.items()},
        "peak_memory_mb": _peak_memory(device) / 2**20,
        "sides": {side.name: _figures(side, sides, costs) for side in sides},
    }


def base_weights(
    shape: str | None, decoder: Path | None = None
) -> tuple[TransformerConfig, Weights]:
    """The shipped decoder's weights, or random ones of a known shape."""
    if shape is None:
        model = load_decoder(decoder).model.cpu()
        return model.config, model.state_dict()
    if shape not in SHAPES:
        raise InputError(f"no shape is called {shape}; there are: {', '.join(SHAPES)}")
    generator = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        model = Decoder(SHAPES[shape])
    drawn = {}
    for name, weight in model.state_dict().items():
        centre = 1.0 if "norm" in name else 0.0
        empty = torch.empty(weight.shape, dtype=torch.bfloat16)
        drawn[name] = empty.normal_(centre, 0.02, generator=generator)
    return model.config, drawn


def in_form(
    config: TransformerConfig, weights: Weights, form: str, device: torch.device
) -> Decoder:
    """A decoder of these weights in one of quantize.FORMS; float32 is float32 throughout."""
    dtype = torch.float32 if form == "float32" else torch.bfloat16
    with torch.device("meta"):
        model = Decoder(config)
    model.load_state_dict({n: w.to(device, dtype) for n, w in weights.items()}, assign=True)
    return pack(model.eval(), form)


def our_side(config: TransformerConfig, weights: Weights, form: str, device: torch.device) -> Side:
    """Our decoder in `form`, as the product runs it; on a GPU, batches by recorded steps."""
    model = in_form(config, weights, form, device)
    dtype = model.transformer.embed.weight.dtype
    return Side(
        form,
        lambda ids_1T, n: _write(model, ids_1T, n),
        lambda ids_1T, batch, n: _rows(model, ids_1T, batch, n),
        bytes_per_step(model),
        dtype,
    )


@torch.inference_mode()
def prefilled(model: Decoder, ids_1T: Tensor, room: int) -> tuple[KVCache, Tensor]:
    """A cache that holds the prompt, and the hidden state of its last token [1, 1, D]."""
    weight = model.transformer.embed.weight
    n = ids_1T.shape[1]
    cache = KVCache(model.config, 1, n + room, weight.dtype, weight.device)
    block = tokens_at_once(model.config) if weight.device.type == "cpu" else n
    for at in range(0, n, block):
        hidden_1TD = model.transformer(ids_1T[:, at : at + block], cache=cache)
    return cache, hidden_1TD[:, -1:]


@torch.inference_mode()
def _write(model: Decoder, ids_1T: Tensor, n: int) -> tuple[Seconds, Seconds]:
    start = now(ids_1T.device)
    cache, hidden_11D = prefilled(model, ids_1T, n)
    first = int(model.token_logits(hidden_11D).argmax())
    read = now(ids_1T.device)
    for _ in generate(model, cache, first, Sampling(max_new_tokens=n - 1)):
        pass
    return read.since(start), now(ids_1T.device).since(read)


@torch.inference_mode()
def _rows(model: Decoder, ids_1T: Tensor, batch: int, n: int) -> Seconds:
    one, _ = prefilled(model, ids_1T[:, :SHARED_PROMPT], 0)
    cache = one.repeat(batch, n)
    ids_B1 = torch.arange(batch, device=ids_1T.device)[:, None] % model.config.vocab_size
    start = now(ids_1T.device)
    read: Callable[[Tensor], Tensor] = partial(model.transformer, cache=cache)
    if ids_1T.is_cuda:
        read = Stepper(model.transformer, cache, plain=0).read
    for _ in range(n):
        ids_B1 = model.token_logits(read(ids_B1))[:, -1].argmax(-1, keepdim=True)
    return now(ids_1T.device).since(start)


def time_in_turns(sides: Sequence[Side], ids_1T: Tensor, work: Work) -> None:
    """Fill `times` of each side: tokens/s of prefill and decode, seconds to the first token."""
    for side in sides:
        side.write(ids_1T[:, :SHARED_PROMPT], 2)
    for _ in range(work.repeats):
        for side in sides:
            first, others = side.write(ids_1T, work.new)
            _note(side, "prefill_tokens_per_second", ids_1T.shape[1], first)
            side.times.setdefault("seconds_to_first_token", []).append(first.wall)
            if 1 in work.batches:
                _note(side, "decode_1", work.new - 1, others)
            if side.rows is None:
                continue
            for batch in work.batches:
                if batch > 1:
                    n = max(2, work.new // 4)
                    _note(side, f"decode_{batch}", batch * n, side.rows(ids_1T, batch, n))


def _note(side: Side, name: str, tokens: int, taken: Seconds) -> None:
    side.times.setdefault(name, []).append(tokens / taken.wall)
    side.times.setdefault(f"{name}{PROCESSOR}", []).append(tokens / taken.processor)


@dataclass(frozen=True, slots=True)
class _Costs:
    """What a token costs at least, and what the device does at most."""

    config: TransformerConfig
    prompt: int
    new: int
    copied: float
    peaks: Mapping[torch.dtype, float]
    on_gpu: bool

    def flops(self) -> float:
        """Of a prompt's token: two a weight of the blocks, and attention to half the prompt."""
        c = self.config
        attention = 2 * c.n_heads * c.d_head * self.prompt / 2
        return 2 * (c.n_block_weights + c.n_layers * attention)

    def step_bytes(self, side: Side) -> float:
        """That a step reads: the weights, and the keys and values of all before it."""
        c = self.config
        cached = 2 * c.n_layers * c.n_kv_heads * c.d_head * (self.prompt + self.new / 2)
        return side.step_bytes + cached * side.product.itemsize


def _figures(side: Side, sides: Sequence[Side], costs: _Costs) -> dict[str, Any]:
    figures: dict[str, Any] = {name: median_of(values) for name, values in side.times.items()}
    kind = "" if costs.on_gpu else PROCESSOR
    prefill = figures[f"prefill_tokens_per_second{kind}"]["median"]
    figures["prefill_share_of_peak"] = prefill * costs.flops() / costs.peaks[side.product]
    if "decode_1" in side.times:
        read = costs.step_bytes(side) * figures[f"decode_1{kind}"]["median"]
        figures["decode_share_of_copy_bandwidth"] = read / costs.copied
        figures["times"] = {
            other.name: _times(side, other, f"decode_1{kind}")
            for other in sides
            if other is not side
        }
    figures["step_mb"] = side.step_bytes / 2**20
    return figures


def _times(side: Side, other: Side, name: str) -> dict[str, float]:
    """How many times as fast as the other a side decodes one row, turn by turn."""
    turns = zip(side.times[name], other.times[name], strict=True)
    return median_of([ours / theirs for ours, theirs in turns])


def _peak_memory(device: torch.device) -> float:
    return torch.cuda.max_memory_allocated() if device.type == "cuda" else peak_bytes()


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def now(device: torch.device) -> Seconds:
    """Once the device has done what it was given."""
    synchronize(device)
    return Seconds(time.perf_counter(), time.process_time())
