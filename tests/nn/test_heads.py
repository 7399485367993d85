"""What the heads say: unit vectors, places, and that a small model can learn at all."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from ragformer.nn.config import TransformerConfig
from ragformer.nn.generate import write_rows
from ragformer.nn.heads import (
    Decoder,
    EncoderDecoder,
    SentenceEncoder,
    new_decoder,
    new_encoder,
    weighted_mean_pool,
)
from ragformer.types import Sampling

SURPRISAL = [0.0, *(1.0 + i / 4 for i in range(39))]


@settings(max_examples=30)
@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 8), st.integers(0, 99))
def test_a_pooled_row_is_a_unit_vector_of_its_weighted_tokens(B, T, D, seed):
    generator = torch.Generator().manual_seed(seed)
    hidden_BTD = torch.randn(B, T, D, generator=generator)
    weights_BT = torch.rand(B, T, generator=generator) + 0.1
    pooled_BD = weighted_mean_pool(hidden_BTD, weights_BT)
    assert pooled_BD.shape == (B, D)
    assert torch.allclose(pooled_BD.norm(dim=-1), torch.ones(B), atol=1e-5)
    assert torch.allclose(pooled_BD, weighted_mean_pool(hidden_BTD, 3 * weights_BT), atol=1e-5)
    sums_BD = (hidden_BTD * weights_BT[..., None]).sum(1)
    assert torch.allclose(pooled_BD, F.normalize(sums_BD, dim=-1), atol=1e-4)
    more_BTD = torch.cat([hidden_BTD, torch.full((B, 2, D), 1e3)], dim=1)
    left_out = weighted_mean_pool(more_BTD, F.pad(weights_BT, (0, 2)))
    assert torch.allclose(pooled_BD, left_out, atol=1e-5)


def test_a_pooled_row_of_bfloat16_states_is_float32():
    pooled_BD = weighted_mean_pool(torch.ones(1, 2, 3).bfloat16(), torch.ones(1, 2).bfloat16())
    assert pooled_BD.dtype == torch.float32


@torch.inference_mode()
def test_a_text_has_the_same_vector_in_any_batch(config, loud):
    model = loud(SentenceEncoder(dataclasses.replace(config, causal=False)))
    ids_BT = torch.randint(1, 40, (4, 9), generator=torch.Generator().manual_seed(3))
    lengths = [9, 5, 2, 1]
    keep_BT = torch.arange(9) < torch.tensor(lengths)[:, None]
    vectors_BD = model(ids_BT, keep_BT)
    for row, length in enumerate(lengths):
        alone = model(ids_BT[row : row + 1, :length], keep_BT[row : row + 1, :length])
        assert torch.allclose(vectors_BD[row], alone[0], atol=1e-5)
    assert torch.allclose(vectors_BD.norm(dim=-1), torch.ones(4), atol=1e-5)


def test_a_fresh_encoder_weighs_tokens_by_a_power_of_their_rarity(small_config):
    model = new_encoder(small_config(causal=False), SURPRISAL, seed=0)
    weights_V = model.token_weight.weight.detach()[:, 0].exp()
    rarity_V = torch.tensor(SURPRISAL).clamp(min=1)
    assert torch.allclose(weights_V, (rarity_V / rarity_V.mean()) ** 2.5, rtol=1e-4)


@pytest.mark.parametrize("tied", [True, False])
def test_logits_are_scaled_products_with_the_embedding_or_the_head(small_config, loud, tied):
    model = loud(Decoder(small_config(tie_embeddings=tied, logit_scale=0.25)))
    weight = model.transformer.embed.weight if tied else model.lm_head.weight
    hidden_BTD = torch.randn(2, 3, 32, generator=torch.Generator().manual_seed(0))
    want = torch.einsum("btd,vd->btv", hidden_BTD, weight) / 4
    assert torch.allclose(model.token_logits(hidden_BTD), want, atol=1e-5)
    masked = loud(SentenceEncoder(small_config(causal=False, logit_scale=0.25)))
    want = torch.einsum("btd,vd->btv", hidden_BTD, masked.transformer.embed.weight) / 4
    assert torch.allclose(masked.token_logits(hidden_BTD), want, atol=1e-5)


@torch.inference_mode()
def test_the_bonus_goes_to_the_place_after_the_copied_one_alone(small_config):
    model = new_decoder(small_config(d_pointer=8), seed=0)
    generator = torch.Generator().manual_seed(1)
    hidden_BTD = torch.randn(1, 4, 32, generator=generator)
    prompt_BSD = torch.randn(1, 6, 32, generator=generator)
    plain = model.place_logits(hidden_BTD, prompt_BSD)
    previous_BT = torch.tensor([[-1, 0, 3, 5]])
    bonus_TS = (model.place_logits(hidden_BTD, prompt_BSD, previous_BT) - plain)[0]
    want_TS = torch.zeros(4, 6)
    want_TS[1, 1] = want_TS[2, 4] = 4.0
    assert torch.allclose(bonus_TS, want_TS, atol=1e-5)


def test_an_encoder_learns_which_texts_belong_together(small_config):
    model = new_encoder(small_config(causal=False), SURPRISAL, seed=0)
    generator = torch.Generator().manual_seed(0)
    queries_BT, passages_BT = (torch.randint(1, 40, (12, 6), generator=generator) for _ in "qp")
    keep_BT = torch.ones(12, 6, dtype=torch.bool)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    losses = []
    for _ in range(30):
        logits_BB = model(queries_BT, keep_BT) @ model(passages_BT, keep_BT).T * 10
        loss = F.cross_entropy(logits_BB, torch.arange(12))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[0] > 1
    assert losses[-1] < 0.1


@pytest.mark.parametrize("kind", [{}, {"norm": "layer", "norm_place": "post", "mlp": "gelu"}])
def test_a_decoder_learns_a_batch_by_heart(small_config, kind):
    model = new_decoder(small_config(logit_scale=0.2, **kind), seed=0)
    ids_BT = torch.randint(0, 40, (4, 12), generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.5e-2)
    losses = []
    for _ in range(100):
        logits_BTV = model.token_logits(model.transformer(ids_BT[:, :-1]))
        # The first tokens may begin several rows: from the third on a row knows itself.
        loss = F.cross_entropy(logits_BTV[:, 2:].flatten(0, 1), ids_BT[:, 3:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[0] > 2
    assert losses[-1] < 0.1


def encoder_decoder(config: TransformerConfig) -> EncoderDecoder:
    source = dataclasses.replace(config, causal=False)
    return EncoderDecoder(source, dataclasses.replace(config, causal=True, cross_attention=True))


@torch.inference_mode()
def test_a_translation_is_the_same_in_any_batch_and_written_as_it_is_scored(config, loud):
    model = loud(encoder_decoder(config))
    ids_BS = torch.randint(1, 40, (3, 6), generator=torch.Generator().manual_seed(1))
    keep_BS = torch.arange(6) < torch.tensor([[6], [4], [1]])
    start_B1 = torch.full((3, 1), 2)
    written_BT = write_rows(model.decoder, start_B1, 5, Sampling(), **model.memory(ids_BS, keep_BS))
    before_BT = torch.cat([start_B1, written_BT[:, :-1]], dim=1)
    logits_BTV = model(ids_BS, keep_BS, before_BT)
    assert torch.equal(logits_BTV.argmax(-1), written_BT)
    alone_1TV = model(ids_BS[1:2, :4], keep_BS[1:2, :4], before_BT[1:2])
    assert torch.allclose(alone_1TV, logits_BTV[1:2], atol=1e-4)
    other_BTV = model((ids_BS + 1) % 40, keep_BS, before_BT)
    assert not torch.allclose(other_BTV, logits_BTV, atol=1e-2)
