"""Rows laid end to end are read as each of them alone."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.attention import varlen

from ragformer.nn.heads import SentenceEncoder
from ragformer.nn.rows import Rows
from ragformer.nn.transformer import attend

CPU = torch.device("cpu")
IDS = [[5, 6, 7, 8], [9], [5, 6], [7] * 11]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_every_token_knows_its_row_and_its_place(lengths: list[int]) -> None:
    ids_BT, rows = Rows.lay([[7] * length for length in lengths], CPU)
    assert ids_BT.shape == rows.positions.shape == (1, sum(lengths))
    assert rows.ends.tolist() == [sum(lengths[:i]) for i in range(len(lengths) + 1)]
    places = [(row, place) for row, length in enumerate(lengths) for place in range(length)]
    assert [*zip(rows.row_of.tolist(), rows.positions[0].tolist(), strict=True)] == places


def test_a_vector_is_the_same_laid_end_to_end_and_alone(config, loud) -> None:
    model = loud(SentenceEncoder(dataclasses.replace(config, causal=False)))
    with torch.no_grad():
        together_ND = model.of_rows(*Rows.lay(IDS, CPU))
        alone_ND = torch.cat(
            [model(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.bool)) for ids in IDS]
        )
    torch.testing.assert_close(together_ND, alone_ND, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("n_kv_heads", [4, 2, 1])
def test_one_kernel_for_all_rows_is_given_what_it_asks_for(
    monkeypatch: pytest.MonkeyPatch, n_kv_heads: int
) -> None:
    """PyTorch has that kernel for GPUs alone: here its documented shapes meet plain attention."""

    def kernel(q_THE, k_THE, v_THE, ends_q, ends_k, longest_q, longest_k):
        assert q_THE.shape == k_THE.shape == v_THE.shape == (18, 4, 8)
        assert ends_q.dtype == ends_k.dtype == torch.int32
        assert longest_q == longest_k == 11
        bounds = list(zip(ends_q[:-1].tolist(), ends_q[1:].tolist(), strict=True))
        heads = (x.transpose(0, 1)[None] for x in (q_THE, k_THE, v_THE))
        q_BHTE, k_BHTE, v_BHTE = heads
        parts = [attend(q_BHTE[:, :, a:b], k_BHTE[:, :, a:b], v_BHTE[:, :, a:b]) for a, b in bounds]
        return torch.cat(parts, dim=2)[0].transpose(0, 1)

    monkeypatch.setattr(varlen, "varlen_attn", kernel)
    _, rows = Rows.lay(IDS, CPU)
    q_BHTE = torch.randn(1, 4, 18, 8)
    k_BGTE, v_BGTE = torch.randn(2, 1, n_kv_heads, 18, 8)
    torch.testing.assert_close(
        rows._at_once(q_BHTE, k_BGTE, v_BGTE), rows.attend(attend, q_BHTE, k_BGTE, v_BGTE)
    )
