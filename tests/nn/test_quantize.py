"""Packed weights give what plain ones do, to what their bits allow, and many rows exactly that."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from ragformer.errors import ConfigError
from ragformer.nn import quantize
from ragformer.nn.config import TransformerConfig
from ragformer.nn.heads import Decoder
from ragformer.nn.quantize import (
    FORMS,
    GROUP,
    MOST_ROWS,
    Packed,
    bytes_per_step,
    four_bits,
    pack,
    quickest_form,
)

ERRORS = {"float16": 1e-3, "int8": 0.02, "int4": 0.12}
"""Greatest share of the output's norm that a form may be off, with normal weights."""


def layer(seed: int = 0, bias: bool = True) -> nn.Linear:
    torch.manual_seed(seed)
    return nn.Linear(256, 128, bias=bias).requires_grad_(False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("form", ERRORS)
def test_few_rows_are_nearly_those_of_the_layer(form: str, bias: bool, dtype: torch.dtype) -> None:
    plain = layer(bias=bias)
    given = copy.deepcopy(plain).to(dtype)
    packed = Packed(given.weight, given.bias, form)
    for shape in ((1, 1, 256), (2, 3, 256), (5, 256)):
        x = torch.randn(shape)
        got, want = packed(x.to(dtype)), plain(x)
        assert (got.shape, got.dtype) == (want.shape, dtype)
        slack = 0.0 if dtype == torch.float32 else 0.01  # bfloat16 itself
        assert (got.float() - want).norm() / want.norm() < ERRORS[form] + slack


@pytest.mark.parametrize("form", ERRORS)
def test_many_rows_are_exactly_those_of_the_layer(form: str) -> None:
    plain = layer()
    x = torch.randn(MOST_ROWS[form] + 1, 256)
    packed = Packed(plain.weight, plain.bias, form)
    assert torch.equal(packed(x), plain(x))
    assert not torch.equal(packed(x[:1]), plain(x[:1]))  # or nothing is packed


@pytest.mark.parametrize("bias", [True, False])
def test_bfloat16_is_that_of_the_layer_for_any_number_of_rows(bias: bool) -> None:
    exact = layer(bias=bias).bfloat16()
    packed = Packed(exact.weight, exact.bias, "bfloat16")
    wide = exact.float()
    for n in (1, 3, 70):
        x = torch.randn(n, 256).bfloat16()
        got, want = packed(x), wide(x.float())
        assert (got.shape, got.dtype) == (want.shape, torch.bfloat16)
        assert (got.float() - want).norm() / want.norm() < 0.005


def test_an_int8_row_does_not_depend_on_those_beside_it() -> None:
    plain = layer()
    packed = Packed(plain.weight, plain.bias, "int8")
    row, loud = torch.randn(1, 256), 1000 * torch.randn(3, 256)
    torch.testing.assert_close(packed(torch.cat([row, loud]))[:1], packed(row))
    assert torch.isfinite(packed(torch.zeros(1, 256))).all()


def test_four_bits_are_the_nearest_of_sixteen_steps() -> None:
    weight = torch.randn(64, 128, generator=torch.Generator().manual_seed(0))
    steps_MK, scales = four_bits(weight)
    assert (int(steps_MK.min()), int(steps_MK.max())) == (0, 15)
    scale_MK, zero_MK = (scales[..., i].float().T.repeat_interleave(GROUP, dim=1) for i in range(2))
    back_MK = (steps_MK - 8) * scale_MK + zero_MK
    # Half a step, and what bfloat16 rounds off scale and zero.
    assert ((weight - back_MK).abs() <= 0.6 * scale_MK + 0.02).all()


@pytest.fixture
def model() -> Decoder:
    torch.manual_seed(0)
    config = TransformerConfig(
        vocab_size=256, d_model=128, n_layers=2, n_heads=4, n_kv_heads=2, d_head=32, d_ff=256
    )
    return Decoder(config).eval().requires_grad_(False)


@torch.inference_mode()
@pytest.mark.parametrize("form", ERRORS)
def test_a_packed_decoder_writes_nearly_the_same_logits(model: Decoder, form: str) -> None:
    ids_BT = torch.randint(0, 256, (1, 6), generator=torch.Generator().manual_seed(0))
    want = model.token_logits(model.transformer(ids_BT))
    packed = pack(copy.deepcopy(model), form)
    got = packed.token_logits(packed.transformer(ids_BT))
    assert 0 < (got - want).norm() / want.norm() < ERRORS[form]
    pieces = packed.token_logits(packed.transformer(ids_BT), 5)
    assert pieces.shape == (1, 6, 5)


def test_a_step_reads_fewer_bytes_the_fewer_bits_there_are(model: Decoder) -> None:
    sizes = [bytes_per_step(pack(copy.deepcopy(model), form)) for form in FORMS]
    plain, same, half, quarter, eighth = sizes
    assert (
        plain
        == same
        == sum(w.nbytes for w in model.parameters()) - model.transformer.norm.weight.nbytes
    )
    assert plain / 2 * 1.02 > half > quarter * 1.9 > eighth
    half = model.bfloat16()
    assert bytes_per_step(half) * 2 == bytes_per_step(pack(half, "bfloat16")) * 2 == plain


def test_a_shape_that_no_int4_kernel_takes_is_int8() -> None:
    odd = nn.Linear(96, 40, bias=False).requires_grad_(False)
    x = torch.randn(1, 96)
    four, eight = (Packed(odd.weight, None, form)(x) for form in ("int4", "int8"))
    assert torch.equal(four, eight)


def test_a_weight_that_float16_cannot_hold_is_multiplied_as_loaded() -> None:
    plain = layer()
    plain.weight[3, 5] = 1e5
    packed = Packed(plain.weight, plain.bias, "float16")
    assert plain.weight[3, 5] == 1e5
    x = torch.randn(1, 256)
    assert torch.equal(packed(x), plain(x))


def test_a_machine_without_the_kernel_is_told_so(
    model: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(weight: torch.Tensor) -> None:
        raise RuntimeError("no such operator\nmore")

    monkeypatch.setattr(quantize, "_int8", missing)
    with pytest.raises(ConfigError, match=r"no int8 product \(no such operator\); use bfloat16"):
        pack(model, "int8")


def test_the_quickest_form_is_one_of_those_that_lose_nothing() -> None:
    assert quickest_form(True, 64, 1) in FORMS[:3]
    assert quickest_form(False, 64, 1) in FORMS[:2]
