"""Decoders are timed in every form, beside transformers with the very same weights."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from ragformer.answer.answer import short_form
from ragformer.answer.reader import load_decoder
from ragformer.bench import decode, runtime
from ragformer.bench.loss import lookup_gain, loss_in, told_answer
from ragformer.bench.peer import reference, transformers_sides
from ragformer.errors import InputError
from ragformer.nn.config import TransformerConfig
from ragformer.nn.heads import Decoder
from ragformer.nn.quantize import FORMS
from ragformer.text.sentences import sentence_spans

WORK = runtime.Work(prompt=10, new=4, batches=(1, 2), repeats=2)
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def quick_peaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "PEAK_SIZE", 32)
    monkeypatch.setattr(runtime, "copy_bandwidth", lambda device, clock: 1e9)


@pytest.fixture
def tiny_shape(monkeypatch: pytest.MonkeyPatch) -> TransformerConfig:
    """A Qwen2 of two narrow layers, called "tiny"."""
    config = TransformerConfig(
        vocab_size=90, d_model=32, n_layers=2, n_heads=4, n_kv_heads=2, d_head=8, d_ff=48,
        max_seq_len=64, qkv_bias=True,
    )  # fmt: skip
    monkeypatch.setitem(runtime.SHAPES, "tiny", config)
    return config


def test_every_side_is_timed_in_turns(tiny_shape: TransformerConfig) -> None:
    pytest.importorskip("transformers")
    told = runtime.run("tiny", FORMS, transformers_sides, WORK)
    assert json.loads(json.dumps(told)) == told
    assert list(told["sides"]) == [*FORMS, "transformers-bfloat16", "transformers-float32"]
    assert set(told["matmul_gflops"]) == {"float32", "bfloat16"}
    for name, side in told["sides"].items():
        assert side["decode_1"]["low"] > 0
        assert side["decode_1_by_processor"]["low"] > 0
        assert side["prefill_share_of_peak"] > 0
        assert set(side["times"]) == set(told["sides"]) - {name}
        assert ("decode_2" in side) == (name in FORMS)
    assert told["sides"]["float32"]["step_mb"] == 2 * told["sides"]["bfloat16"]["step_mb"]


@torch.inference_mode()
@pytest.mark.parametrize("shape", ["tiny", None])
def test_the_peer_has_the_same_weights(
    tiny_shape: TransformerConfig, tiny_models: Path, shape: str | None
) -> None:
    pytest.importorskip("transformers")
    config, weights = runtime.base_weights(shape, tiny_models / "decoder")
    if not config.qkv_bias and not config.qk_norm:
        pytest.skip("the tiny decoder is no Qwen3")
    ids_1T = torch.randint(0, config.vocab_size, (1, 12))
    model = runtime.in_form(config, weights, "float32", CPU)
    ours_V = model.token_logits(model.transformer(ids_1T))
    theirs_V = reference(config, weights, torch.float32)(ids_1T).logits * config.logit_scale
    torch.testing.assert_close(ours_V, theirs_V, atol=1e-5, rtol=1e-5)


def test_what_cannot_be_timed_is_said(tiny_shape: TransformerConfig) -> None:
    with pytest.raises(InputError, match=r"no shape is called huge; there are: qwen2-0\.5b, tiny"):
        runtime.run("huge", FORMS)
    with pytest.raises(InputError, match="are 65, the decoder reads 64; give smaller --prompt"):
        runtime.run("tiny", FORMS, work=runtime.Work(prompt=33, new=32))
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="finds no CUDA GPU here"):
            runtime.run("tiny", FORMS, device=torch.device("cuda"))
    plain = TransformerConfig(vocab_size=90)
    with pytest.raises(InputError, match="compared on Qwen2 and Qwen3 shapes only"):
        reference(plain, {}, torch.float32)


def test_a_loss_is_none_against_itself_and_some_in_fewer_bits(
    tiny_shape: TransformerConfig,
) -> None:
    config, weights = runtime.base_weights("tiny")
    exact = runtime.in_form(config, weights, "float32", CPU)
    texts = [torch.randint(0, 90, (30,)).tolist()]
    itself = loss_in(exact, exact, texts)
    assert (itself["same_best_token"], itself["divergence_nats"]) == (1.0, 0.0)
    assert itself["perplexity"] == itself["perplexity_float32"] > 1
    coarse = loss_in(runtime.in_form(config, weights, "int8", CPU), exact, texts)
    assert coarse["divergence_nats"] > 0


def test_an_answer_is_told_with_guesses_in_fewer_steps(
    tiny_shape: TransformerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, weights = runtime.base_weights("tiny")
    model: Decoder = runtime.in_form(config, weights, "bfloat16", CPU)
    steps = []
    logits = model.token_logits
    monkeypatch.setattr(model, "token_logits", lambda h: (steps.append(h.shape[1]), logits(h))[1])
    answer = list(range(5, 25))
    gain = lookup_gain(model, [([*range(40)], answer), ([1, 3, *answer, 3, 5], answer)])
    assert (gain["n"], gain["times"] > 0) == (2, True)
    alone = steps.count(1)
    assert 2 * len(answer) <= alone < 3 * len(answer)
    assert max(steps) > 4


def test_what_is_told_is_what_the_decoder_answers(tiny_models: Path) -> None:
    reader = load_decoder(tiny_models / "decoder")
    passages = [("Bees", "A hive has one queen."), ("Otters", "It swims. It eats fish.")]
    told = told_answer(reader, "What?", passages)
    assert told is not None
    parts = re.fullmatch(r"(.+)\n\n“(.+)” \[(\d)\]\n", told, re.DOTALL)
    assert parts is not None
    short, quote, mark = parts.groups()
    best = reader.read("What?", passages).candidates[0]
    text = passages[best.passage][1]
    assert int(mark) == best.passage + 1
    assert quote in (text, *(text[a:b].strip() for a, b in sentence_spans(text)))
    assert short_form(text[best.start : best.end]) == short
    assert told_answer(reader, "What?", []) is None


def test_on_a_cpu_times_are_of_the_processors_seconds(
    tiny_shape: TransformerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the clock says besides changes only what is told by the clock."""
    taken = iter([(1.0, 1.0), (9.0, 2.0)] * 3)

    def write(*given: object) -> tuple[runtime.Seconds, runtime.Seconds]:
        seconds = runtime.Seconds(*next(taken))
        return seconds, seconds

    monkeypatch.setattr(runtime, "_write", write)
    work = runtime.Work(prompt=10, new=4, batches=(1,), repeats=2)
    sides = runtime.run("tiny", ["float32", "bfloat16"], work=work)["sides"]
    assert sides["float32"]["times"]["bfloat16"]["median"] == 2.0
    assert sides["bfloat16"]["decode_1"]["median"] == pytest.approx(3 / 9)
    assert sides["bfloat16"]["decode_1_by_processor"]["median"] == pytest.approx(3 / 2)


def test_losses_are_told_of_every_form(reading_file: Path, tiny_models: Path) -> None:
    told = decode.losses(
        reading_file, ["int8"], answers=2, texts=2, decoder=tiny_models / "decoder"
    )
    assert told["int8"]["lookup"]["n"] == 2
    assert 0 <= told["int8"]["loss"]["same_best_token"] <= 1
