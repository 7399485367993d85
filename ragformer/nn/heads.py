"""What turns hidden states into vectors, words or places."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ragformer.nn.config import TransformerConfig
from ragformer.nn.masks import padding_mask
from ragformer.nn.rows import Rows
from ragformer.nn.transformer import Transformer, init_weights


def weighted_mean_pool(hidden_BTD: Tensor, weights_BT: Tensor) -> Tensor:
    """Average the token states of each row by weight and scale to length 1.

    weights_BT: at least 0, a positive sum in every row; 0 leaves a token out.
    Returns float32 [B, D]. Source: Reimers & Gurevych 2019, arXiv:1908.10084, section 3, with
    the mean weighted as in Arora et al. 2017 (smooth inverse frequency).
    """
    with torch.autocast(hidden_BTD.device.type, enabled=False):  # or einsum gives bfloat16 again
        weights_BT = weights_BT.float()
        weights_BT = weights_BT / weights_BT.sum(dim=1, keepdim=True)
        pooled_BD = torch.einsum("bt,btd->bd", weights_BT, hidden_BTD.float())
        return F.normalize(pooled_BD, dim=-1)


class SentenceEncoder(nn.Module):
    """Texts to unit vectors: a bidirectional transformer and a mean weighted a token kind each."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.transformer = Transformer(config)
        # log weight of each piece in the mean: an inverse document frequency it learns.
        self.token_weight = nn.Embedding(config.vocab_size, 1)

    def hidden(self, ids_BT: Tensor, keep_BT: Tensor) -> Tensor:
        """Token states [B, T, D]; padded tokens are seen by nobody."""
        mask = None if bool(keep_BT.all()) else padding_mask(keep_BT)
        hidden_BTD: Tensor = self.transformer(ids_BT, mask_BTS=mask)
        return hidden_BTD

    def forward(self, ids_BT: Tensor, keep_BT: Tensor) -> Tensor:
        """Unit vectors, float32 [B, D]."""
        weights_BT = self.token_weight(ids_BT).squeeze(-1).float().exp() * keep_BT
        return weighted_mean_pool(self.hidden(ids_BT, keep_BT), weights_BT)

    def of_rows(self, ids_BT: Tensor, rows: Rows) -> Tensor:
        """Unit vectors of N rows laid end to end, float32 [N, D]; B is 1."""
        weights_T = self.token_weight(ids_BT[0]).float().exp()
        hidden_TD = self.transformer(ids_BT, mask_BTS=rows)[0].float()
        summed_ND = torch.zeros(len(rows.lengths), hidden_TD.shape[1], device=ids_BT.device)
        return F.normalize(summed_ND.index_add(0, rows.row_of, hidden_TD * weights_T), dim=-1)

    def bag(self, ids_BT: Tensor, pad: int) -> Tensor:
        """As `forward` without the blocks, a weighted mean of the bare tokens other than `pad`.

        A fresh encoder is just that, and what its table learns this way costs a hundredth.
        Source: Wieting et al. 2016, arXiv:1511.08198, the average of word vectors.
        """
        return F.normalize(self.bag_mean(ids_BT, pad), dim=-1)

    def bag_mean(self, ids_BT: Tensor, pad: int) -> Tensor:
        """The same before it is scaled to length 1, float32 [B, D]."""
        weights_V1 = self.token_weight.weight.exp()
        weighted_VD = self.transformer.norm(self.transformer.embed.weight) * weights_V1
        summed_BD, total_B1 = (
            F.embedding_bag(ids_BT, table, mode="sum", padding_idx=pad)
            for table in (weighted_VD, weights_V1)
        )
        return summed_BD / total_B1.clamp(min=1e-12)

    def token_logits(self, hidden_BTD: Tensor) -> Tensor:
        """Logits over the vocabulary [B, T, V] by the input embedding, for masked training."""
        return F.linear(hidden_BTD, self.transformer.embed.weight) * self.config.logit_scale


class Decoder(nn.Module):
    """Next-token logits, and a pointer from each answer token to a place in the prompt.

    The pointer (Vinyals et al. 2015, arXiv:1506.03134) makes copying a choice of place:
    generating and copying share one softmax (Gu et al. 2016, arXiv:1603.06393, section 3.2).
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.transformer = Transformer(config)
        self.lm_head = (
            None
            if config.tie_embeddings
            else nn.Linear(config.d_model, config.vocab_size, bias=False)
        )
        # The table of the logits as `quantize.pack` has it.
        self.packed_head: nn.Module | None = None
        if config.d_pointer:
            self.pointer_q = nn.Linear(config.d_model, config.d_pointer)
            self.pointer_k = nn.Linear(config.d_model, config.d_pointer)
            # How much likelier the place after the last copied one is than any other.
            self.pointer_next = nn.Parameter(torch.zeros(1))

    def token_logits(self, hidden_BTD: Tensor, n_pieces: int | None = None) -> Tensor:
        """Logits over the vocabulary [B, T, V], or over its first n_pieces."""
        if self.packed_head is not None and n_pieces is None:
            logits_BTV: Tensor = self.packed_head(hidden_BTD)
            return logits_BTV * self.config.logit_scale
        weight = self.transformer.embed.weight if self.lm_head is None else self.lm_head.weight
        return F.linear(hidden_BTD, weight[:n_pieces]) * self.config.logit_scale

    def place_logits(
        self, hidden_BTD: Tensor, prompt_BSD: Tensor, previous_BT: Tensor | None = None
    ) -> Tensor:
        """Logits over the prompt's S places [B, T, S] for each of T answer tokens.

        previous_BT: the place each token was itself copied from, -1 where it was not; the place
        after it gets the learned bonus.
        """
        q_BTP, k_BSP = self.pointer_q(hidden_BTD), self.pointer_k(prompt_BSD)
        logits_BTS: Tensor = q_BTP @ k_BSP.transpose(1, 2) / self.config.d_pointer**0.5
        if previous_BT is None:
            return logits_BTS
        places_S = torch.arange(prompt_BSD.shape[1], device=prompt_BSD.device)
        follows_BTS = (previous_BT[..., None] >= 0) & (places_S == previous_BT[..., None] + 1)
        followed_BTS: Tensor = logits_BTS + self.pointer_next * follows_BTS
        return followed_BTS


class EncoderDecoder(nn.Module):
    """One text in, another out: a decoder that attends to the states of an encoder.

    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.
    """

    def __init__(self, source: TransformerConfig, target: TransformerConfig) -> None:
        """target: with cross_attention; both of one d_model."""
        super().__init__()
        self.encoder = Transformer(source)
        self.decoder = Decoder(target)

    def memory(self, ids_BS: Tensor, keep_BS: Tensor) -> dict[str, Tensor]:
        """What the decoder's transformer is given to attend to."""
        memory_BSD = self.encoder(ids_BS, mask_BTS=padding_mask(keep_BS))
        return {"memory_BSD": memory_BSD, "memory_keep_BS": keep_BS}

    def forward(self, ids_BS: Tensor, keep_BS: Tensor, target_BT: Tensor) -> Tensor:
        """Logits of what follows each target token [B, T, V]."""
        hidden_BTD = self.decoder.transformer(target_BT, **self.memory(ids_BS, keep_BS))
        return self.decoder.token_logits(hidden_BTD)


def new_encoder(config: TransformerConfig, surprisal: list[float], seed: int) -> SentenceEncoder:
    """A fresh encoder whose token weights start as a power of the tokenizer's own rarity.

    Untrained, with counted vectors, a power of 2.5 finds more than 1 or 2 (models/encoder/RUNS.md).
    """
    model = SentenceEncoder(config)
    init_weights(model.transformer, torch.Generator().manual_seed(seed))
    rarity_V = torch.tensor(surprisal).clamp(min=1.0)
    with torch.no_grad():
        model.token_weight.weight.copy_(2.5 * (rarity_V / rarity_V.mean()).log()[:, None])
    return model


def new_decoder(config: TransformerConfig, seed: int) -> Decoder:
    """A fresh decoder; the bonus for copying on starts clear but not certain."""
    model = Decoder(config)
    init_weights(model, torch.Generator().manual_seed(seed))
    if config.d_pointer:
        with torch.no_grad():
            model.pointer_next.fill_(4.0)
    return model


def new_encoder_decoder(
    source: TransformerConfig, target: TransformerConfig, seed: int
) -> EncoderDecoder:
    """A fresh encoder and decoder."""
    model = EncoderDecoder(source, target)
    init_weights(model, torch.Generator().manual_seed(seed))
    return model
