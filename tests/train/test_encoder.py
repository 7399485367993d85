"""What the encoder's recipe is made of: the loss and its parts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ragformer.nn.config import TransformerConfig
from ragformer.nn.heads import SentenceEncoder, new_encoder
from ragformer.text.tokenizer import PAD
from ragformer.train import encoder as recipe
from ragformer.train.loop import cached_backward
from ragformer.train.pairs import pad

CPU = torch.device("cpu")


def some_rows(n: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(1, 40, rng.integers(1, 9)).astype(np.uint16) for _ in range(n)]


def small_encoder(surprisal: list[float]) -> SentenceEncoder:
    sizes = {"vocab_size": 40, "d_model": 32, "n_layers": 2, "d_ff": 48, "max_seq_len": 32}
    return new_encoder(
        TransformerConfig(**sizes, n_heads=1, n_kv_heads=1, causal=False), surprisal, 0
    )


@pytest.fixture
def model():
    return recipe._Contrastive(small_encoder([5.0] * 40))


def embed_with(model):
    return lambda rows: model.encoder(*pad(rows, CPU))


def test_a_batch_in_chunks_has_the_gradients_of_the_whole(model):
    rows = some_rows(12, 0)
    same = torch.eye(6, dtype=torch.bool)

    def loss_of(vectors_ND: torch.Tensor) -> torch.Tensor:
        return model.loss(vectors_ND, same)

    embed = embed_with(model)
    whole = loss_of(embed(rows))
    whole.backward()
    wanted = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    loss = cached_backward(loss_of, embed, [rows[:5], rows[5:6], rows[6:]])
    assert float(loss) == pytest.approx(float(whole.detach()), rel=1e-5)
    assert "log_scale" in wanted
    for name, parameter in model.named_parameters():
        if name in wanted:
            torch.testing.assert_close(parameter.grad, wanted[name], atol=1e-5, rtol=1e-4)


def test_a_passage_that_is_nearly_the_right_one_is_no_negative(model):
    queries = F.normalize(torch.randn(3, 32, generator=torch.Generator().manual_seed(2)), dim=-1)
    passages = F.normalize(torch.randn(3, 32, generator=torch.Generator().manual_seed(3)), dim=-1)
    twins = torch.stack([passages[0], passages[0], passages[2]])
    same = torch.eye(3, dtype=torch.bool)
    told = same.clone()
    told[0, 1] = told[1, 0] = True
    alone = model.loss(torch.cat([queries, twins]), same)
    assert float(alone.detach()) == pytest.approx(
        float(model.loss(torch.cat([queries, twins]), told).detach())
    )


def test_the_first_dimensions_are_trained_too(model, monkeypatch):
    monkeypatch.setattr(recipe, "SHORT_DIMENSIONS", 4)
    vectors = torch.zeros(4, 32)
    vectors[0, 0] = vectors[1, 0] = vectors[2, 0] = vectors[3, 0] = 0.1  # the first say nothing
    vectors[0, 10] = vectors[2, 10] = vectors[1, 11] = vectors[3, 11] = 1.0
    clear = F.normalize(vectors, dim=-1)
    same = torch.eye(2, dtype=torch.bool)
    both = float(model.loss(clear, same).detach())
    monkeypatch.setattr(recipe, "SHORT_DIMENSIONS", 32)
    assert float(model.loss(clear, same).detach()) < 0.01 < 0.2 < both


def test_a_fresh_encoder_is_a_bag_of_its_tokens():
    fresh = small_encoder([float(n) for n in range(40)])
    ids_BT, keep_BT = pad(some_rows(5, 3), CPU)
    torch.testing.assert_close(fresh.bag(ids_BT, PAD), fresh(ids_BT, keep_BT), atol=1e-5, rtol=0)
