"""Counts are the pieces' neighbourhoods, and pieces with the same neighbours get near vectors."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import cosine_similarity

from ragformer.errors import InputError
from ragformer.train import embeddings
from ragformer.train.embeddings import add_counts, factorise, start_from


def test_counts_weigh_the_nearer_piece_more():
    counts = torch.zeros(4, 4)
    add_counts(counts, torch.tensor([0, 1, 2, 1]), window=2)
    expected = torch.zeros(4, 4)
    expected[0, 1], expected[1, 2], expected[2, 1] = 1, 1, 1
    expected[0, 2], expected[1, 1] = 0.5, 0.5
    assert torch.equal(counts, expected)


@pytest.mark.parametrize("ids", [[], [3]])
def test_a_text_of_one_token_or_none_counts_nothing(ids):
    counts = torch.zeros(4, 4)
    add_counts(counts, torch.tensor(ids, dtype=torch.int64), window=8)
    assert not counts.any()


def test_pieces_with_the_same_neighbours_are_near():
    torch.manual_seed(0)
    # 1 and 2 are followed by 5 to 7; 3 and 4 by 8 to 10; 11 never occurs.
    counts = torch.zeros(12, 12)
    counts[1:3, 5:8] += 20
    counts[3:5, 8:11] += 20
    vectors = factorise(counts, 4)
    near, far = (cosine_similarity(vectors[1], vectors[n], dim=0) for n in (2, 3))
    assert near > 0.9
    assert far < 0.3
    assert not vectors[11].any()
    assert torch.allclose(vectors[1:11].square().mean(1), torch.ones(10), atol=1e-4)


def test_the_recipe_writes_vectors_that_a_table_starts_from(data, tokenizer, tmp_path):
    out = tmp_path / "new" / "vectors.safetensors"
    config = embeddings.Config(data, tokenizer.path, out, d_model=16)
    assert embeddings.main(config) == out
    vectors = load_file(out)["vectors"]
    assert vectors.shape == (tokenizer.vocab_size, 16)
    assert vectors.isfinite().all()
    table = torch.randn(tokenizer.vocab_size, 16) * 0.3
    before = table.clone()
    start_from(table, out)
    seen = vectors.any(dim=1)
    assert 0 < int(seen.sum()) < len(seen)
    assert torch.equal(table[~seen], before[~seen])
    assert torch.allclose(table[seen], vectors[seen] * before.std(), atol=1e-5)


def test_vectors_of_another_size_are_one_sentence(tmp_path):
    save_file({"vectors": torch.ones(5, 8)}, tmp_path / "a.safetensors")
    with pytest.raises(InputError, match=r"a\.safetensors holds vectors \[5, 8\], not \[5, 4\]"):
        start_from(torch.ones(5, 4), tmp_path / "a.safetensors")


def test_a_file_that_holds_no_vectors_is_one_sentence(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"a tokenizer, say")
    with pytest.raises(InputError, match="is no file of `ragformer train embeddings`"):
        start_from(torch.ones(5, 4), path)
    save_file({"weights": torch.ones(5, 4)}, path)
    with pytest.raises(InputError, match="is no file of `ragformer train embeddings`: 'vectors'"):
        start_from(torch.ones(5, 4), path)
