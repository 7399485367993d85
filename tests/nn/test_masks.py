"""Who may look at whom."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from ragformer.nn import masks
from ragformer.nn.cache import KVCache
from ragformer.nn.masks import Causal, continue_causal_mask
from ragformer.nn.transformer import Transformer, attend


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8])
@pytest.mark.parametrize("offset", [0, 4])
@torch.inference_mode()
def test_queries_piece_by_piece_see_what_all_at_once_would(n, offset, monkeypatch):
    monkeypatch.setattr(masks, "QUERIES", n)
    generator = torch.Generator().manual_seed(n)
    q_BHTE = torch.randn(2, 4, 8, 6, generator=generator)
    k_BGSE, v_BGSE = torch.randn(2, 2, 2, 8 + offset, 6, generator=generator)
    causal = Causal(8, offset, torch.device("cpu"))
    got = causal.attend(attend, q_BHTE, k_BGSE, v_BGSE)
    mask_BTS = continue_causal_mask(8, offset, torch.device("cpu"))
    wanted = torch.nn.functional.scaled_dot_product_attention(
        q_BHTE, k_BGSE, v_BGSE, attn_mask=mask_BTS[:, None], enable_gqa=True
    )
    torch.testing.assert_close(got, wanted)
    assert len(causal.biases) == -(-8 // n)
    assert sum(bias.numel() for bias in causal.biases) <= 8 * (8 + offset)


@torch.inference_mode()
def test_a_long_prompt_is_read_piece_by_piece_as_token_by_token(config, loud, monkeypatch):
    monkeypatch.setattr(masks, "QUERIES", 4)
    config = dataclasses.replace(config, causal=True)
    model = loud(Transformer(config))
    ids_1T = torch.randint(
        0, config.vocab_size, (1, 11), generator=torch.Generator().manual_seed(0)
    )
    cache, one_by_one = KVCache(config, 1, 11), KVCache(config, 1, 11)
    read = [model(ids_1T[:, :2], cache=cache), model(ids_1T[:, 2:], cache=cache)]
    tokens = [model(ids_1T[:, at : at + 1], cache=one_by_one) for at in range(11)]
    torch.testing.assert_close(torch.cat(read, 1), torch.cat(tokens, 1), atol=1e-5, rtol=1e-5)


def test_in_training_all_queries_look_at_once(monkeypatch):
    monkeypatch.setattr(masks, "QUERIES", 4)
    assert len(Causal(11, 0, torch.device("cpu")).biases) == 1
