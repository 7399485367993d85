"""An encoder that learns another one: what it is shown, where it starts, what it gains."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from ragformer.errors import InputError
from ragformer.nn.config import TransformerConfig
from ragformer.nn.heads import SentenceEncoder, new_encoder
from ragformer.text.tokenizer import PAD
from ragformer.train.pairs import Ids, Pairs, pad
from ragformer.train.taught import Taught, batches, read_taught, start_from_bag, taught_texts

CPU = torch.device("cpu")


def rows(n: int, seed: int, longest: int = 9) -> list[Ids]:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, longest, n)
    return [rng.integers(1, 40, length).astype(np.uint16) for length in lengths]


def small_encoder(seed: int) -> SentenceEncoder:
    sizes = {"vocab_size": 40, "d_model": 32, "n_layers": 1, "d_ff": 48, "max_seq_len": 32}
    config = TransformerConfig(**sizes, n_heads=1, n_kv_heads=1, causal=False)
    return new_encoder(config, [5.0] * 40, seed)


def bag(encoder: SentenceEncoder, texts: list[Ids]) -> torch.Tensor:
    return encoder.bag(pad(texts, CPU)[0], PAD)


def test_texts_are_queries_and_passages_once_and_no_thinned_sentences():
    passages = [*rows(20, 0, 200), *rows(5, 1)]
    given = Pairs("pairs/medquad", rows(25, 2), passages, list(range(25)))
    mined = Pairs("mined-sentence", rows(25, 3), passages, list(range(25)))
    texts = [text.tobytes() for text in taught_texts([given, mined], seed=0)]
    assert len(set(texts)) == len(texts)
    assert {query.tobytes() for query in given.queries} <= set(texts)
    assert not {query.tobytes() for query in mined.queries} & set(texts)
    whole = {passage.tobytes() for passage in passages}
    windows = [
        text for text in texts if any(text in passage and text != passage for passage in whole)
    ]
    assert windows
    assert max(map(len, windows)) <= 2 * 48  # two bytes a token
    assert texts == [text.tobytes() for text in taught_texts([given, mined], seed=0)]


def test_targets_keep_the_teachers_likeness_the_strongest_directions_first(tmp_path: Path):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(300, 12)) @ np.diag(np.arange(1, 13)) @ rng.normal(size=(12, 12))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    np.save(tmp_path / "00000.npy", vectors[:200].astype(np.float16))
    np.save(tmp_path / "00001.npy", vectors[200:].astype(np.float16))
    taught = read_taught(rows(500, 1), tmp_path, 12)
    assert len(taught.texts) == len(taught.targets_ND) == 300
    np.testing.assert_allclose(
        taught.targets_ND @ taught.targets_ND.T, vectors @ vectors.T, atol=2e-3
    )
    strength = np.square(taught.targets_ND).sum(0)
    assert (np.diff(strength) < 0).all()
    short = read_taught(rows(500, 1), tmp_path, 6).targets_ND
    assert short.shape == (300, 6)
    np.testing.assert_allclose(np.linalg.norm(short, axis=1), 1, atol=1e-5)


def test_a_teacher_that_had_no_time_is_one_sentence(tmp_path: Path):
    with pytest.raises(InputError, match="give it more --teacher-minutes"):
        read_taught(rows(5, 1), tmp_path, 12)


def test_a_bag_can_become_any_other_bag_of_the_same_tokens():
    """What a linear map can reach is reached, weights of the pieces and the norm's included."""
    student, teacher = small_encoder(0), small_encoder(1)
    with torch.no_grad():
        student.transformer.norm.weight.uniform_(0.5, 1.5)
        student.token_weight.weight.normal_()
    texts = rows(400, 2)
    turn = torch.linalg.qr(torch.randn(32, 32, generator=torch.Generator().manual_seed(3)))[0]
    stretched = student.bag_mean(pad(texts, CPU)[0], PAD).detach() @ (turn * torch.rand(32))
    taught = Taught(texts, torch.nn.functional.normalize(stretched, dim=-1).numpy())
    start_from_bag(student, lambda some: student.bag_mean(pad(some, CPU)[0], PAD), taught)
    cosines = (bag(student, texts) * torch.from_numpy(taught.targets_ND)).sum(-1)
    assert float(cosines.mean().detach()) > 0.98
    unlike = Taught(texts, bag(teacher, texts).detach().numpy())
    before = (bag(student, texts) * torch.from_numpy(unlike.targets_ND)).sum(-1).mean()
    start_from_bag(student, lambda some: student.bag_mean(pad(some, CPU)[0], PAD), unlike)
    after = (bag(student, texts) * torch.from_numpy(unlike.targets_ND)).sum(-1).mean()
    assert float(after.detach()) > 0.8 > 0.5 > float(before.detach())
    ids_BT, keep_BT = pad(texts[:5], CPU)
    torch.testing.assert_close(
        student.bag(ids_BT, PAD), student(ids_BT, keep_BT), atol=1e-5, rtol=0
    )


def test_batches_hold_texts_of_like_length_up_to_so_many_tokens():
    texts = rows(300, 4, 30)
    taught = Taught(texts, np.zeros((300, 2), np.float32))
    drawn = batches(taught, 100, random.Random(0))
    seen: list[int] = []
    while len(seen) < 300:
        batch = next(drawn)
        lengths = [len(texts[i]) for i in batch]
        assert max(lengths) * len(batch) <= 100
        seen += batch
    assert sorted(seen) == list(range(300))
