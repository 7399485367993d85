"""Read a prompt into a cache, every passage a row of one batch.

Passages do not see each other, so this is the training layout's answer (`block_mask`) at a cost
that grows with the number of passages, not with its square.

What can be had again, to the bit, is a whole prompt (`Reader.kept`) and nothing less: the first
token of every passage sees the question, each token is told what its word and sentence are to the
question and to the prompt's best sentence, and the mark stands before the text. To cut the texts
into tokens, all that does not change, takes 1.4 % of reading eight passages.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ragformer.answer.reading import Reading
from ragformer.nn.cache import KVCache
from ragformer.nn.device import autocast_dtype
from ragformer.nn.heads import Decoder


def prefill(model: Decoder, reading: Reading, cache: KVCache) -> Tensor:
    """Fill the empty one-row `cache` with the prompt's S tokens; their hidden states [1, S, D]."""
    device = next(model.parameters()).device
    ids_S, positions_S, segments_S, blocks_S = (
        torch.tensor(values, device=device)
        for values in (reading.ids, reading.positions, reading.segments, reading.blocks)
    )

    def read(rows_BT: Tensor, cache: KVCache, mask_BTS: Tensor | None) -> Tensor:
        hidden_BTD: Tensor = model.transformer(
            ids_S[rows_BT],
            positions_BT=positions_S[rows_BT],
            segments_BT=segments_S[rows_BT],
            mask_BTS=mask_BTS,
            cache=cache,
        )
        return hidden_BTD

    sizes = torch.bincount(blocks_S).tolist()
    n_question, n_passages = sizes[0], len(sizes) - 2
    question_1Q = torch.arange(n_question, device=device)[None]
    everyone = torch.ones(1, n_question, n_question, dtype=torch.bool, device=device)
    hidden = [read(question_1Q, cache, everyone)]
    if n_passages:
        width = max(sizes[1:-1])
        lengths_P = torch.tensor(sizes[1:-1], device=device)
        starts_P = n_question + lengths_P.cumsum(0) - lengths_P
        places_T = torch.arange(width, device=device)
        keep_PT = places_T < lengths_P[:, None]
        rows_PT = torch.where(keep_PT, starts_P[:, None] + places_T, starts_P[:, None])
        seen_PS = torch.cat([keep_PT.new_ones(n_passages, n_question), keep_PT], dim=1)
        # As they are multiplied, or every layer would cast all keys and values there and back.
        rows = cache.repeat(n_passages, width, autocast_dtype(device))
        hidden_PTD = read(rows_PT, rows, seen_PS[:, None].expand(-1, width, -1))
        hidden.append(hidden_PTD[keep_PT][None])
        cache.gather(rows, n_question, keep_PT)
    answer_11 = torch.tensor([[len(reading.ids) - 1]], device=device)
    hidden.append(read(answer_11, cache, None))
    return torch.cat(hidden, dim=1)
