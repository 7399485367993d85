"""Where a question matches a page: what each word adds to their likeness, by the encoder."""

from __future__ import annotations

import torch

from ragformer.errors import InputError
from ragformer.retrieve.embed import Encoder
from ragformer.text.normalize import model_line
from ragformer.text.tokenizer import Tokenizer
from ragformer.types import Page


@torch.no_grad()
def word_heat(encoder: Encoder, question: str, page: Page) -> list[float]:
    """For each of `page.words` what it adds to the cosine of the question and its stretch of page.

    A vector is a weighted mean of token states, so a cosine is a sum over tokens, and this is that
    sum taken apart: over all of a stretch (as many tokens as the encoder reads at once) it is the
    cosine. Words are read in their stretch; some take away. Raises InputError for an imported
    encoder, whose tokens do not say where they stand.
    """
    if not isinstance(encoder.tokenizer, Tokenizer):
        raise InputError("an imported encoder does not say which words of a page it matched")
    query_D = torch.from_numpy(encoder.encode_query(question)).to(encoder.device)
    ids, spans = encoder.tokenizer.offsets(model_line(page.text))
    heat_T: list[float] = []
    for first in range(0, len(ids), encoder.form.max_tokens):
        row_1T = torch.tensor([ids[first : first + encoder.form.max_tokens]], device=encoder.device)
        heat_T += _heat(encoder, row_1T, query_D).tolist()
    return _by_word(page, [end - 1 for _, end in spans], heat_T)


def _heat(encoder: Encoder, ids_1T: torch.Tensor, query_D: torch.Tensor) -> torch.Tensor:
    """What each token adds to the cosine of its row and the query, [T]."""
    keep_1T = torch.ones_like(ids_1T, dtype=torch.bool)
    states_TD = encoder.model.hidden(ids_1T, keep_1T)[0].float()
    weighted_TD = states_TD * encoder.model.token_weight(ids_1T)[0].float().exp()
    heat_T: torch.Tensor = weighted_TD @ query_D / weighted_TD.sum(0).norm()
    return heat_T


def _by_word(page: Page, ends: list[int], heat_T: list[float]) -> list[float]:
    """The sum over the tokens of each word, with those between it and the word before."""
    heat, at = [0.0] * len(page.words), 0
    for end, value in zip(ends, heat_T, strict=True):
        while at + 1 < len(page.words) and page.words[at].end < end:
            at += 1
        if page.words:
            heat[at] += value
    return heat
