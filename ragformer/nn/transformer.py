"""The transformer: one core for encoder, decoder and cross-attending decoder.

Shapes: B batch, T query tokens, S key tokens, D d_model, H query heads, G kv heads, E d_head,
F d_ff, V vocabulary. A mask is bool [B, T, S], True where query t may look at key s; or `Rows`
laid end to end, each of which sees itself; or `Causal`.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ragformer.nn.cache import KVCache, LayerCache, LayerRows, RowCaches
from ragformer.nn.config import RopeScaling, TransformerConfig
from ragformer.nn.device import autocast_dtype
from ragformer.nn.masks import Causal, score_bias
from ragformer.nn.rows import Rows


class RMSNorm(nn.Module):
    """Scale each vector to unit root mean square, in float32, then by a learned weight."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype == self.weight.dtype:  # PyTorch sums those in float32 itself
            return F.rms_norm(x, x.shape[-1:], self.weight, self.eps)
        return F.rms_norm(x.float(), (x.shape[-1],), self.weight.float(), self.eps).to(x.dtype)


def make_norm(config: TransformerConfig) -> nn.Module:
    if config.norm == "rms":
        return RMSNorm(config.d_model, config.norm_eps)
    return nn.LayerNorm(config.d_model, eps=config.norm_eps)


def rope_table(
    positions_BT: Tensor, d_head: int, theta: float, scaling: RopeScaling | None = None
) -> tuple[Tensor, Tensor]:
    """Cosines and sines [B, 1, T, E] of rotary positions, the two halves of E rotated together.

    Source: Su et al. 2021, arXiv:2104.09864, equation 34, in the half-split layout of GPT-NeoX.
    """
    frequencies_E = _frequencies(d_head, theta, scaling, positions_BT.device)
    angles_B1TE = positions_BT[:, None, :, None].float() * frequencies_E
    return angles_B1TE.cos(), angles_B1TE.sin()


@cache
def _frequencies(
    d_head: int, theta: float, scaling: RopeScaling | None, device: torch.device
) -> Tensor:
    """Of every entry, float32 [E]; made once, as a decode step has no time for it.

    A position multiplies the last bit of a frequency: here and in `stretched` the operations are
    those, in that order, by which other families' models were trained.
    """
    with torch.inference_mode(False):
        exponents = torch.arange(0, d_head, 2, device=device, dtype=torch.float32)
        frequencies = 1.0 / theta ** (exponents / d_head)
        if scaling is not None:
            frequencies = stretched(frequencies, scaling)
        return torch.cat([frequencies, frequencies])


def sinusoids(positions_BT: Tensor, d_model: int, theta: float) -> Tensor:
    """Sines and cosines [B, T, D] of positions, each pair of entries slower than the one before.

    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.5, all sines before all cosines.
    """
    cos_B1TD, sin_B1TD = rope_table(positions_BT, d_model, theta)
    return torch.cat([sin_B1TD[:, 0, :, : d_model // 2], cos_B1TD[:, 0, :, : d_model // 2]], -1)


def stretched(frequencies: Tensor, scaling: RopeScaling) -> Tensor:
    """The frequencies of `RopeScaling`: fast ones kept, slow ones divided, and a slope between."""
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    waves = scaling.trained_seq_len / (2 * torch.pi / frequencies)
    kept = ((waves - low) / (high - low)).clamp(0, 1)
    return (1 - kept) * frequencies / scaling.factor + kept * frequencies


def apply_rope(x_BHTE: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Queries or keys turned by the angles of their positions; cos, sin: as of `rope_table`."""
    first, second = x_BHTE.chunk(2, dim=-1)
    return x_BHTE * cos + torch.cat([-second, first], dim=-1) * sin


_PLAIN_SCORES = 1 << 20
"""Scores a head up to which the plain products win on CPU; past it their memory is what costs."""
_FEW_QUERIES = 9
"""So many are a decode step's. For them PyTorch's bfloat16 products on CPU take up to twice what
float32's do, with all keys and values converted first."""


def attend(q_BHTE: Tensor, k_BGSE: Tensor, v_BGSE: Tensor, bias: Tensor | None = None) -> Tensor:
    """Softmax attention [B, H, T, E]; bias [B or 1, 1, T, S] is added to the scaled scores.

    On CPU the plain products take a third of the fused kernel's time, forward and back
    (32 rows of 128 to 512 tokens, bfloat16). Queries that share keys lie side by side for them:
    nothing is expanded.
    """
    if q_BHTE.device.type != "cpu" or q_BHTE.shape[2] * k_BGSE.shape[2] > _PLAIN_SCORES:
        return F.scaled_dot_product_attention(
            q_BHTE,
            k_BGSE,
            v_BGSE,
            attn_mask=None if bias is None else bias.to(q_BHTE.dtype),
            enable_gqa=q_BHTE.shape[1] != k_BGSE.shape[1],
        )
    if q_BHTE.shape[2] <= _FEW_QUERIES and q_BHTE.dtype == torch.bfloat16:
        return attend(q_BHTE.float(), k_BGSE.float(), v_BGSE.float(), bias).to(q_BHTE.dtype)
    q_BGNE = (q_BHTE * q_BHTE.shape[-1] ** -0.5).reshape(*k_BGSE.shape[:2], -1, k_BGSE.shape[-1])
    scores_BGNS = q_BGNE @ k_BGSE.transpose(-1, -2)
    if bias is not None:
        scores_BHTS = scores_BGNS.view(*q_BHTE.shape[:3], -1) + bias.to(scores_BGNS.dtype)
        scores_BGNS = scores_BHTS.view(scores_BGNS.shape)
    out_BGNE: Tensor = scores_BGNS.softmax(-1).to(v_BGSE.dtype) @ v_BGSE
    return out_BGNE.view(q_BHTE.shape)


class Attention(nn.Module):
    """Multi-head attention with grouped keys and values (Ainslie et al. 2023, arXiv:2305.13245)."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.n_heads, self.n_kv_heads, self.d_head = (
            config.n_heads,
            config.n_kv_heads,
            config.d_head,
        )
        d_q, d_kv = config.n_heads * config.d_head, config.n_kv_heads * config.d_head
        self.q = nn.Linear(config.d_model, d_q, bias=config.qkv_bias or config.bias)
        self.k = nn.Linear(config.d_model, d_kv, bias=config.qkv_bias or config.bias)
        self.v = nn.Linear(config.d_model, d_kv, bias=config.qkv_bias or config.bias)
        self.o = nn.Linear(d_q, config.d_model, bias=config.bias)
        self.q_norm = RMSNorm(config.d_head, config.norm_eps) if config.qk_norm else None
        self.k_norm = RMSNorm(config.d_head, config.norm_eps) if config.qk_norm else None

    def _heads(self, x_BTD: Tensor, projection: nn.Linear, n: int) -> Tensor:
        B, T, _ = x_BTD.shape
        heads: Tensor = projection(x_BTD).view(B, T, n, self.d_head).transpose(1, 2)
        return heads

    def forward(
        self,
        x_BTD: Tensor,
        source_BSD: Tensor,
        rope: tuple[Tensor, Tensor] | None,
        bias_B1TS: Tensor | Rows | Causal | None,
        cache: LayerCache | LayerRows | None,
    ) -> Tensor:
        """What each of x takes from those of source it may look at, [B, T, D].

        source_BSD: x itself, or a memory. rope: cosines and sines, None where positions are in the
        embeddings. bias_B1TS: added to the scores, or who sees whom; None where all look at all.
        cache: it gets the new keys and values, and all it then holds are looked at.
        """
        q_BHTE = self._heads(x_BTD, self.q, self.n_heads)
        k_BGSE = self._heads(source_BSD, self.k, self.n_kv_heads)
        v_BGSE = self._heads(source_BSD, self.v, self.n_kv_heads)
        if self.q_norm is not None and self.k_norm is not None:
            q_BHTE, k_BGSE = self.q_norm(q_BHTE), self.k_norm(k_BGSE)
        if rope is not None:
            cos, sin = (table.to(q_BHTE.dtype) for table in rope)
            q_BHTE, k_BGSE = apply_rope(q_BHTE, cos, sin), apply_rope(k_BGSE, cos, sin)
        if isinstance(cache, LayerCache):
            k_BGSE, v_BGSE = cache.append(k_BGSE, v_BGSE)
        if isinstance(cache, LayerRows):
            out_BHTE = cache.attend(attend, q_BHTE, k_BGSE, v_BGSE)
        elif isinstance(bias_B1TS, Rows | Causal):
            out_BHTE = bias_B1TS.attend(attend, q_BHTE, k_BGSE, v_BGSE)
        else:
            out_BHTE = attend(q_BHTE, k_BGSE, v_BGSE, bias_B1TS)
        out_BTD: Tensor = self.o(out_BHTE.transpose(1, 2).flatten(2))
        return out_BTD


class MLP(nn.Module):
    """The position-wise network: SwiGLU with a gate, or plain GELU."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.approximate = "tanh" if config.mlp == "gelu_tanh" else "none"
        self.gate = (
            nn.Linear(config.d_model, config.d_ff, bias=config.bias)
            if config.mlp == "swiglu"
            else None
        )
        self.up = nn.Linear(config.d_model, config.d_ff, bias=config.bias)
        self.down = nn.Linear(config.d_ff, config.d_model, bias=config.bias)

    def forward(self, x_BTD: Tensor) -> Tensor:
        up_BTF = self.up(x_BTD)
        if self.gate is None:
            hidden_BTF = F.gelu(up_BTF, approximate=self.approximate)
        else:
            hidden_BTF = F.silu(self.gate(x_BTD)) * up_BTF
        out_BTD: Tensor = self.down(hidden_BTF)
        return out_BTD


class Block(nn.Module):
    """Self-attention, cross-attention if the config has it, and the MLP, each with a residual."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.post_norm = config.norm_place == "post"
        self.attn_norm, self.mlp_norm = make_norm(config), make_norm(config)
        self.attn, self.mlp = Attention(config), MLP(config)
        self.cross_norm = make_norm(config) if config.cross_attention else None
        self.cross = Attention(config) if config.cross_attention else None

    def forward(
        self,
        x_BTD: Tensor,
        rope: tuple[Tensor, Tensor] | None,
        bias_B1TS: Tensor | Rows | Causal | None,
        cache: LayerCache | LayerRows | None,
        memory_BSD: Tensor | None,
        memory_bias_B1TS: Tensor | None,
    ) -> Tensor:
        """[B, T, D]; arguments as for `Attention`. Raises ValueError where the config attends to a
        memory and there is none."""
        normed = x_BTD if self.post_norm else cast_once(self.attn_norm(x_BTD))
        x_BTD = x_BTD + self.attn(normed, normed, rope, bias_B1TS, cache)
        x_BTD = self.attn_norm(x_BTD) if self.post_norm else x_BTD
        if self.cross is not None and self.cross_norm is not None:
            if memory_BSD is None:
                raise ValueError("this transformer attends to a memory; none was given")
            normed = x_BTD if self.post_norm else self.cross_norm(x_BTD)
            x_BTD = x_BTD + self.cross(normed, memory_BSD, None, memory_bias_B1TS, None)
            x_BTD = self.cross_norm(x_BTD) if self.post_norm else x_BTD
        normed = x_BTD if self.post_norm else cast_once(self.mlp_norm(x_BTD))
        x_BTD = x_BTD + self.mlp(normed)
        return self.mlp_norm(x_BTD) if self.post_norm else x_BTD


def cast_once(x_BTD: Tensor) -> Tensor:
    """Under autocast, what several products read, in their type before each casts it for itself.

    Not in training, where the gradients of the products are added up in float32.
    """
    dtype = None if torch.is_grad_enabled() else autocast_dtype(x_BTD.device)
    return x_BTD if dtype is None else x_BTD.to(dtype)


class Transformer(nn.Module):
    """Embeddings, blocks and the final norm: ids in, hidden states out; heads are elsewhere."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocab_size, config.d_model)
        self.segments = (
            nn.Embedding(config.n_segments, config.d_model) if config.n_segments else None
        )
        self.positions = (
            nn.Embedding(config.max_seq_len, config.d_model)
            if config.position == "learned"
            else None
        )
        # A post-norm block ends in a norm of its own; its stack needs one at the start instead.
        self.norm = make_norm(config)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))

    def forward(
        self,
        ids_BT: Tensor,
        *,
        positions_BT: Tensor | None = None,
        segments_BT: Tensor | None = None,
        mask_BTS: Tensor | Rows | None = None,
        cache: KVCache | RowCaches | None = None,
        memory_BSD: Tensor | None = None,
        memory_keep_BS: Tensor | None = None,
    ) -> Tensor:
        """Hidden states [B, T, D].

        ids_BT: int64, or vectors [B, T, D] where the input is no tokens, as patches of a picture.
        mask_BTS: who may look at whom; it replaces the config's causal rule, and S counts the
        cache's tokens first. positions_BT: int64, counted on from the cache, or in each of the
        rows, when absent. segments_BT: int64, 0 when absent. memory_BSD: an encoder's states, for
        a config with cross_attention; memory_keep_BS: bool, those of them that are no padding.
        """
        offset = cache.length if cache is not None else 0
        T = ids_BT.shape[1]
        if positions_BT is None and isinstance(mask_BTS, Rows):
            positions_BT = mask_BTS.positions
        if positions_BT is None:
            positions_BT = torch.arange(offset, offset + T, device=ids_BT.device)[None]
        bias: Tensor | Rows | Causal | None
        if mask_BTS is None and self.config.causal and T > 1:
            bias = Causal(T, offset, ids_BT.device)
        else:
            bias = score_bias(mask_BTS) if isinstance(mask_BTS, Tensor) else mask_BTS
        x_BTD = self._embed(ids_BT, positions_BT, segments_BT)
        rope = self._rope(positions_BT, x_BTD.dtype) if self.config.position == "rope" else None
        memory_bias = None if memory_keep_BS is None else score_bias(memory_keep_BS[:, None])
        for i, block in enumerate(self.blocks):
            layer_cache = cache.layers[i] if cache is not None else None
            x_BTD = block(x_BTD, rope, bias, layer_cache, memory_BSD, memory_bias)
        return x_BTD if self.config.norm_place == "post" else self.norm(x_BTD)

    def _rope(self, positions_BT: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """The table of all blocks, rounded once for them."""
        c = self.config
        cos, sin = rope_table(positions_BT, c.d_head, c.rope_theta, c.rope_scaling)
        return cos.to(dtype), sin.to(dtype)

    def _embed(self, ids_BT: Tensor, positions_BT: Tensor, segments_BT: Tensor | None) -> Tensor:
        x_BTD: Tensor = ids_BT if ids_BT.is_floating_point() else self.embed(ids_BT)
        if self.positions is not None:
            x_BTD = x_BTD + self.positions(positions_BT)
        if self.config.position == "sinusoidal":
            waves_BTD = sinusoids(positions_BT, self.config.d_model, self.config.rope_theta)
            x_BTD = x_BTD + waves_BTD.to(x_BTD.dtype)
        if self.segments is not None:
            if segments_BT is None:
                segments_BT = torch.zeros(x_BTD.shape[:2], dtype=torch.int64, device=x_BTD.device)
            x_BTD = x_BTD + self.segments(segments_BT)
        return self.norm(x_BTD) if self.config.norm_place == "post" else x_BTD


def init_weights(model: nn.Module, generator: torch.Generator, embed_std: float = 0.3) -> None:
    """Normal(0, 0.02) weights, zero biases, and residual outputs that start at zero.

    So a fresh model is its embeddings and nothing else, and every block grows from there
    (Goyal et al. 2017, arXiv:1706.02677, section 5.1). embed_std well above 0.02 keeps the token
    itself louder than the first, unlearned things the blocks say about it. Deterministic in the
    generator.
    """
    for name, parameter in model.named_parameters():
        if parameter.dim() < 2:
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            continue
        residual = name.endswith(("attn.o.weight", "cross.o.weight", "mlp.down.weight"))
        table = name.endswith(("embed.weight", "segments.weight", "positions.weight"))
        std = 0.0 if residual else embed_std if table else 0.02
        with torch.no_grad():
            parameter.normal_(0.0, std, generator=generator)
