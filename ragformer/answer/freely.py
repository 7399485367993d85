"""A short answer as the decoder likes to write it: copied or in its own words, token by token.

The other way is `Reader.find`: a run of one passage's characters. This one may join places or say
what no passage does; the quote under it is the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ragformer.answer.reader import MAX_ANSWER_TOKENS, OpenPrompt, Reader
from ragformer.answer.reading import SEGMENT_ANSWER
from ragformer.text.tokenizer import EOS, FIRST_MARK, MAX_MARKS, QUOTE

ENDS = (QUOTE, EOS)
FIRST_PIECE = FIRST_MARK + MAX_MARKS  # control symbols are below


@torch.inference_mode()
def write_freely(reader: Reader, prompt: OpenPrompt, prior: Sequence[float] = ()) -> str:
    """The answer on one line, the likeliest next token each time; "" where there is none to write.

    Places to copy from and pieces of the vocabulary share one softmax, as in training. prior: as
    for `Reader.find`. It is never <no_answer>: whether to answer is the confidence's to say.
    """
    model, reading, device = reader.model, prompt.reading, reader.device
    n_pieces = model.config.vocab_size
    apart_S = torch.tensor([place is None for place in reading.places], device=device)
    places_S = reader.starts(prompt, prior)
    hidden_11D = prompt.hidden_1SD[:, -1:]
    cache = prompt.cache.repeat(1, MAX_ANSWER_TOKENS)
    ids: list[int] = []
    while len(ids) < MAX_ANSWER_TOKENS:
        pieces_V = model.token_logits(hidden_11D)[0, 0].float()
        ends_2 = pieces_V[list(ENDS)]
        pieces_V[:FIRST_PIECE] = -torch.inf
        if ids:
            pieces_V[list(ENDS)] = ends_2
        choice = int(torch.cat([pieces_V, places_S]).argmax())
        if choice in ENDS:
            break
        place = choice - n_pieces if choice >= n_pieces else -1
        ids.append(reading.ids[place] if place >= 0 else choice)
        hidden_11D = model.transformer(
            torch.tensor([[ids[-1]]], device=device),
            positions_BT=torch.tensor([[reading.answer_position + len(ids)]], device=device),
            segments_BT=torch.tensor([[SEGMENT_ANSWER]], device=device),
            cache=cache,
        )
        before_11 = torch.tensor([[place]], device=device)
        places_S = model.place_logits(hidden_11D, prompt.hidden_1SD, before_11)[0, 0].float()
        places_S = places_S.masked_fill(apart_S, -torch.inf)
    return " ".join(reader.tokenizer.decode(ids).split())
