"""Weights a second time in a form that few rows are quickly multiplied with.

A decode step multiplies a row or a few by every weight, so what it costs is fetching them: forms
are smaller (int8, int4), or lie in the order in which they are read (float16, whose sums are
float32 and whose weights are bfloat16's or finer; on CPU 2 to 3 times PyTorch's own product).
Many rows, a prompt, are multiplied with the weights as they were loaded, so that reading loses
nothing: those of bfloat16, on CPU, in oneDNN's order, which is 1.3 to 1.8 times PyTorch's own
product for few rows and no slower for many. What writing loses, `ragformer bench decode` prints.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ragformer.errors import ConfigError
from ragformer.nn.heads import Decoder
from ragformer.nn.transformer import MLP, Attention

FORMS = ("float32", "bfloat16", "float16", "int8", "int4")
"""What a decoder is run in. The first two: all of it, and no weight is rounded."""
GROUP = 32
"""Weights of a row that share a scale and a zero in int4."""
MOST_ROWS = {"bfloat16": 0, "float16": 6, "int8": 64, "int4": 12}
"""Past so many rows the weight as loaded takes no longer (2 cores with AVX-512, bfloat16)."""

Product = Callable[[Tensor], Tensor]
"""Rows [N, K] by the packed weight: [N, M]."""


class Packed(nn.Module):
    """A linear layer that multiplies few rows with its packed weight; n_bytes: what that reads."""

    def __init__(self, weight: Tensor, bias: Tensor | None, form: str) -> None:
        """weight, bias: of the layer it stands for. form: all of FORMS but the first."""
        super().__init__()
        self.bias = bias
        form = _form_that_holds(weight, form)
        self.most_rows = MOST_ROWS[form]
        self._many, self.n_bytes = _as_loaded(weight.detach(), bias), weight.nbytes
        if form != "bfloat16":
            pack = {"float16": _float16, "int8": _int8, "int4": _int4}[form]
            self._few, self.n_bytes = pack(weight.detach())

    def forward(self, x: Tensor) -> Tensor:
        if math.prod(x.shape[:-1]) > self.most_rows:
            return self._many(x)
        out = self._few(x.flatten(0, -2)).to(x.dtype).view(*x.shape[:-1], -1)
        return out if self.bias is None else out + self.bias


@torch.no_grad()
def pack(model: Decoder, form: str) -> Decoder:
    """Have every linear layer of the blocks, and the table of the logits, packed in `form`.

    float32 changes nothing, nor bfloat16 where it has no order of its own. In int4 the table is
    int8: it is as fast and its roundings fall on the logits themselves. Raises ConfigError where
    this machine has no kernel.
    """
    if form == "float32" or (form == "bfloat16" and not _has_order(model.transformer.embed.weight)):
        return model
    if form == "float16" and model.transformer.embed.weight.is_cuda:
        raise ConfigError("float16 is packed on a CPU; a GPU runs bfloat16, int8 or int4")
    for part in [p for p in model.transformer.modules() if isinstance(p, Attention | MLP)]:
        for name, layer in list(part.named_children()):
            if isinstance(layer, nn.Linear):
                setattr(part, name, _packed(layer.weight, layer.bias, form))
    table = model.transformer.embed if model.lm_head is None else model.lm_head
    model.packed_head = _packed(table.weight, None, "int8" if form == "int4" else form)
    return model


def _packed(weight: Tensor, bias: Tensor | None, form: str) -> Packed:
    try:
        return Packed(weight, bias, form)
    except (RuntimeError, AttributeError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"this machine's PyTorch has no {form} product ({reason}); use bfloat16 or float32"
        ) from error


def bytes_per_step(model: Decoder) -> int:
    """Bytes of weights that a decode step of few rows reads, each once."""
    head = model.packed_head
    table = model.transformer.embed if model.lm_head is None else model.lm_head
    total = head.n_bytes if isinstance(head, Packed) else table.weight.nbytes
    packed = [part for part in model.transformer.blocks.modules() if isinstance(part, Packed)]
    rest = model.transformer.blocks.parameters()
    return total + sum(part.n_bytes for part in packed) + sum(weight.nbytes for weight in rest)


@cache
def quickest_form(packed: bool = True, size: int = 4096, times: int = 3) -> str:
    """Which of the forms that lose nothing worth telling multiplies one row fastest here.

    packed: whether weights are packed, and float16 may be the answer; it has to win clearly, as
    it takes memory of its own. Measured once, in a third of a second, on a matrix too large for
    most caches; the best of `times` in turns counts.
    """
    weight = torch.ones(size, size)
    half = weight.bfloat16()
    by_half = _as_loaded(half) if packed else partial(F.linear, weight=half)
    products: dict[str, Product] = {
        "float32": lambda x: F.linear(x, weight),
        "bfloat16": lambda x: by_half(x.bfloat16()),
    }
    if packed and "fbgemm" in torch.backends.quantized.supported_engines:
        products["float16"] = _float16(weight)[0]
    row = torch.ones(1, size)
    best = dict.fromkeys(products, math.inf)
    with torch.inference_mode():
        for _ in range(times):
            for name, product in products.items():
                start = time.perf_counter()
                product(row)
                best[name] = min(best[name], time.perf_counter() - start)
    if best.get("float16", math.inf) < 0.8 * min(best["float32"], best["bfloat16"]):
        return "float16"
    return "bfloat16" if best["bfloat16"] < best["float32"] else "float32"


def _has_order(weight: Tensor) -> bool:
    """Whether oneDNN packs such a weight here: a bfloat16 one, on a CPU that multiplies those."""
    if weight.device.type != "cpu" or weight.dtype != torch.bfloat16:
        return False
    return hasattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported") and bool(
        torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )


def _as_loaded(weight: Tensor, bias: Tensor | None = None) -> Product:
    """By the weight unrounded. Packed by oneDNN it stands for the plain one, which may be freed."""
    if not _has_order(weight):
        return partial(F.linear, weight=weight, bias=bias)
    packed = torch.ops.mkldnn._reorder_linear_weight(weight)

    def product(x: Tensor) -> Tensor:
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")
        return out

    return product


def _form_that_holds(weight: Tensor, form: str) -> str:
    """`form`, or another for a shape that int4's kernels do not take, for numbers past float16's
    (packing cuts those off, in `weight` itself where that is float32)."""
    rows, columns = weight.shape
    if form == "int4" and (rows % 64 or columns % 128):
        return "int8"
    if form == "float16" and weight.abs().max() > torch.finfo(torch.float16).max:
        return "bfloat16"
    return form


def _float16(weight: Tensor) -> tuple[Product, int]:
    packed = torch.ops.quantized.linear_prepack_fp16(weight.float(), None)

    def product(x: Tensor) -> Tensor:
        out: Tensor = torch.ops.quantized.linear_dynamic_fp16(x.float(), packed)
        return out

    return product, 2 * weight.numel()


def _int8(weight: Tensor) -> tuple[Product, int]:
    """Symmetric, a scale for each output. On CPU each row is rounded to 8 bits by a scale of its
    own, too: with the processor's 8-bit products that is twice as fast as weights alone."""
    scales_M = weight.float().abs().amax(1).clamp(min=1e-12) / 127
    steps_MK = (weight.float() / scales_M[:, None]).round_().to(torch.int8)
    n_bytes = steps_MK.nbytes + scales_M.nbytes
    if weight.is_cuda:
        return lambda x: F.linear(x, steps_MK.to(x.dtype)) * scales_M.to(x.dtype), n_bytes
    packed = torch.ops.onednn.qlinear_prepack(steps_MK, None)
    zeros_M = torch.zeros(len(scales_M), dtype=torch.int64)

    def product(x: Tensor) -> Tensor:
        scale_N1 = x.float().abs().amax(-1, keepdim=True).clamp(min=1e-12) / 127
        steps_NK = (x / scale_N1).add_(128.5).to(torch.uint8)  # from 1 to 255, 128 is none
        out_NM: Tensor = torch.ops.onednn.qlinear_pointwise(
            *(steps_NK, 1.0, 128, packed, scales_M, zeros_M, None),
            *(1.0, 0, torch.float32, "none", [], ""),  # no bias, float32 out, nothing behind it
        )
        return out_NM * scale_N1

    return product, n_bytes


def four_bits(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Steps 0..15 [M, K] of each GROUP from its least to its greatest weight, and its scale and
    zero [K / GROUP, M, 2], bfloat16: a weight is about (step - 8) * scale + zero."""
    groups_MGN = weight.float().reshape(len(weight), -1, GROUP)
    low_MG, high_MG = groups_MGN.aminmax(dim=-1)
    scale_MG = ((high_MG - low_MG) / 15).clamp(min=1e-6).bfloat16()
    zero_MG = (low_MG + 8 * scale_MG.float()).bfloat16()
    # Rounded by the very numbers that the kernel multiplies with.
    steps_MGN = (groups_MGN - zero_MG[..., None].float()) / scale_MG[..., None].float() + 8
    steps_MK = steps_MGN.round_().clamp_(0, 15).flatten(1).to(torch.int32)
    return steps_MK, torch.stack([scale_MG.T, zero_MG.T], -1).contiguous()


def _int4(weight: Tensor) -> tuple[Product, int]:
    steps_MK, scales = four_bits(weight)
    n_bytes = weight.numel() // 2 + scales.nbytes
    if weight.is_cuda:
        two = (steps_MK[:, ::2] << 4 | steps_MK[:, 1::2]).to(torch.uint8)
        packed = torch._convert_weight_to_int4pack(two, 8)
        return lambda x: torch._weight_int4pack_mm(x.bfloat16(), packed, GROUP, scales), n_bytes
    packed = torch._convert_weight_to_int4pack_for_cpu(steps_MK, 1)
    return (
        lambda x: torch._weight_int4pack_mm_for_cpu(x.bfloat16(), packed, GROUP, scales),
        n_bytes,
    )
