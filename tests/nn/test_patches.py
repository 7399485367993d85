"""Patches are cut without loss, and the transformer reads them as it reads tokens."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from ragformer.nn.patches import cut_patches, join_patches, new_patch_classifier, new_patch_denoiser
from ragformer.nn.transformer import Transformer
from ragformer.train.loop import fit

few = st.integers(1, 4)


@given(few, few, few, few, few)
def test_cut_patches_join_to_the_picture(B, rows, columns, height, width):
    images_BYX = torch.arange(B * rows * height * columns * width).view(B, rows * height, -1)
    patches_BTW = cut_patches(images_BYX, height, width)
    assert patches_BTW.shape == (B, rows * columns, height * width)
    assert torch.equal(patches_BTW[:, 0], images_BYX[:, :height, :width].flatten(1))
    assert torch.equal(join_patches(patches_BTW, height, width, columns), images_BYX)


@torch.inference_mode()
def test_vectors_are_read_as_the_tokens_they_embed(config, loud):
    model = loud(Transformer(config))
    ids_BT = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])
    assert torch.equal(model(model.embed(ids_BT)), model(ids_BT))


def test_a_classifier_learns_where_the_bright_patch_is(small_config):
    model = new_patch_classifier(
        small_config(vocab_size=1, causal=False, position="learned"), 4, 6, 0
    )
    generator = torch.Generator().manual_seed(0)

    def loss() -> torch.Tensor:
        place_B = torch.randint(0, 6, (32,), generator=generator)
        patches_BTW = 0.3 * torch.randn(32, 6, 4, generator=generator)
        patches_BTW[torch.arange(32), place_B] += 1
        return F.cross_entropy(model(patches_BTW), place_B)

    losses = [loss.value for loss in fit(model, loss, steps=60, rate=1e-2)]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("told", ["kind", "loudness"])
@torch.inference_mode()
def test_a_denoiser_goes_by_what_it_is_told(small_config, loud, told):
    config = small_config(vocab_size=3, causal=False, position="learned")
    model = loud(new_patch_denoiser(config, 4, seed=0))
    noisy_BTW = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))
    loud_B, kinds_B = torch.tensor([0.5, 0.5]), torch.tensor([1, 1])
    clean_BTW = model(noisy_BTW, loud_B, kinds_B)
    assert clean_BTW.shape == noisy_BTW.shape
    other = (
        (loud_B, torch.tensor([1, 2])) if told == "kind" else (torch.tensor([0.5, 0.6]), kinds_B)
    )
    changed_B = (model(noisy_BTW, *other) - clean_BTW).abs().amax((1, 2)) > 1e-3
    assert changed_B.tolist() == [False, True]
