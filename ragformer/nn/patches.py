"""Patches in place of words: pictures and sounds for the same transformer.

Shapes as in transformer.py, and W values a patch. A model's tokens, if it has any, stand before
its patches: `config.vocab_size` of them, and `config.max_seq_len` is of all together.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ragformer.nn.config import TransformerConfig
from ragformer.nn.transformer import Transformer, init_weights, sinusoids


def cut_patches(images_BYX: Tensor, height: int, width: int) -> Tensor:
    """Patches [B, T, W] of pictures [B, Y, X], row by row; each is a whole number of them."""
    tiles_BRCYX = images_BYX.unfold(1, height, height).unfold(2, width, width)
    return tiles_BRCYX.flatten(1, 2).flatten(2)


def join_patches(patches_BTW: Tensor, height: int, width: int, columns: int) -> Tensor:
    """The pictures that `cut_patches` cut, of so many patches a row."""
    tiles_BRCYX = patches_BTW.reshape(len(patches_BTW), -1, columns, height, width)
    return tiles_BRCYX.transpose(2, 3).flatten(3).flatten(1, 2)


class PatchClassifier(nn.Module):
    """Which of N kinds a picture is of, told by the state of a token put before its patches.

    Source: Dosovitskiy et al. 2020, arXiv:2010.11929, section 3.1.
    """

    def __init__(self, config: TransformerConfig, n_values: int, n_kinds: int) -> None:
        super().__init__()
        self.transformer = Transformer(config)  # its vocabulary is that one token
        self.project = nn.Linear(n_values, config.d_model)
        self.kinds = nn.Linear(config.d_model, n_kinds)

    def forward(self, patches_BTW: Tensor) -> Tensor:
        """Logits [B, N]."""
        first_BT = torch.zeros(len(patches_BTW), 1, dtype=torch.int64, device=patches_BTW.device)
        first_BTD = self.transformer.embed(first_BT)
        hidden_BTD = self.transformer(torch.cat([first_BTD, self.project(patches_BTW)], 1))
        logits_BN: Tensor = self.kinds(hidden_BTD[:, 0])
        return logits_BN


class PatchDenoiser(nn.Module):
    """Clean patches from noisy ones, told of which kind they are and how much of them is noise.

    Kind and noise level are two more tokens of the row. Source: Peebles & Xie 2022,
    arXiv:2212.09748, section 3.2 ("in-context conditioning").
    """

    def __init__(self, config: TransformerConfig, n_values: int) -> None:
        super().__init__()
        self.transformer = Transformer(config)  # its vocabulary is the kinds
        self.project = nn.Linear(n_values, config.d_model)
        self.loudness = nn.Linear(config.d_model, config.d_model)
        self.values = nn.Linear(config.d_model, n_values)

    def forward(self, noisy_BTW: Tensor, loud_B: Tensor, kinds_B: Tensor) -> Tensor:
        """[B, T, W]. loud_B: the share of noise, 0 to 1."""
        D = self.transformer.config.d_model
        loud_BTD = self.loudness(sinusoids(1000 * loud_B[:, None], D, 10_000.0))
        kind_BTD = self.transformer.embed(kinds_B[:, None])
        row_BTD = torch.cat([kind_BTD, loud_BTD, self.project(noisy_BTW)], 1)
        values_BTW: Tensor = self.values(self.transformer(row_BTD)[:, 2:])
        return values_BTW


def new_patch_classifier(
    config: TransformerConfig, n_values: int, n_kinds: int, seed: int
) -> PatchClassifier:
    """A fresh classifier."""
    model = PatchClassifier(config, n_values, n_kinds)
    _init(model, model.project, seed)
    return model


def new_patch_denoiser(config: TransformerConfig, n_values: int, seed: int) -> PatchDenoiser:
    """A fresh denoiser."""
    model = PatchDenoiser(config, n_values)
    _init(model, model.project, seed)
    return model


def _init(model: nn.Module, project: nn.Linear, seed: int) -> None:
    """As of tokens; a patch of values about 1 is then as loud as an embedded token."""
    generator = torch.Generator().manual_seed(seed)
    init_weights(model, generator)
    with torch.no_grad():
        project.weight.normal_(0.0, 0.3 / project.in_features**0.5, generator=generator)
