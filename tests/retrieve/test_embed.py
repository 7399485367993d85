"""Laws of vectors, on random weights: unit rows that depend on their own text and on no other."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from ragformer.errors import WeightsError
from ragformer.nn.heads import SentenceEncoder
from ragformer.retrieve.embed import (
    MAX_TOKENS,
    Encoder,
    length_sorted_batches,
    load_encoder,
    pad_rows,
    passage_text,
)
from ragformer.text.tokenizer import PAD, Tokenizer

ODD = [
    "",
    " ",
    "\n",
    "\0",
    "a\0b",
    "😀",
    "日本語の文書",
    "Ærøskøbing",
    "\ud800",
    "\u2581",
    "ﷺ",
    "x" * 5000,
]
TEXTS = st.one_of(st.sampled_from(ODD), st.text(max_size=60), st.text("ab ", max_size=600))


@pytest.fixture(scope="module")
def encoder(noisy: Callable[..., SentenceEncoder]) -> Encoder:
    """Two layers of noise, in float32."""
    tokenizer = Tokenizer(Path(__file__).parents[2] / "models" / "encoder" / "tokenizer.model")
    made = Encoder(noisy(SentenceEncoder, tokenizer, causal=False), tokenizer, "random")
    made.bf16 = False
    return made


@pytest.fixture
def bf16(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> Encoder:
    monkeypatch.setattr(encoder, "bf16", True)
    return encoder


def test_the_row_of_a_text_does_not_depend_on_the_others(encoder: Encoder) -> None:
    alone = np.stack([encoder.encode([text])[0] for text in ODD])
    for order in (range(len(ODD)), range(len(ODD))[::-1], [5, 5, 0, 11, 2]):
        together = encoder.encode([ODD[i] for i in order])
        np.testing.assert_allclose(together, alone[list(order)], atol=1e-5)


def test_nor_much_in_bfloat16(bf16: Encoder) -> None:
    alone = np.stack([bf16.encode([text])[0] for text in ODD])
    np.testing.assert_allclose(bf16.encode(ODD), alone, atol=2e-2)
    np.testing.assert_allclose(np.linalg.norm(alone, axis=1), 1.0, atol=1e-5)
    exact = np.stack([bf16.encode_query(text) for text in ODD])
    assert float((exact * alone).sum(axis=1).min()) > 0.99


@settings(max_examples=50)
@given(st.lists(TEXTS, max_size=5))
def test_any_texts_have_unit_rows_in_their_order(encoder: Encoder, texts: list[str]) -> None:
    vectors_ND = encoder.encode(texts)
    assert vectors_ND.shape == (len(texts), encoder.dim)
    assert vectors_ND.dtype == np.float32
    assert np.isfinite(vectors_ND).all()
    np.testing.assert_allclose(np.linalg.norm(vectors_ND, axis=1), 1.0, atol=1e-5)
    for text, vector_D in zip(texts, vectors_ND, strict=True):
        np.testing.assert_allclose(encoder.encode_query(text), vector_D, atol=1e-5)


def test_the_same_text_has_the_same_vector_and_another_has_not(encoder: Encoder) -> None:
    one, same, other = encoder.encode(["The rent is due.", "The rent is due.", "It rains."])
    # Rows of one bfloat16 product may be rounded differently, by their place in it.
    assert one == pytest.approx(same, abs=1e-3)
    queries = [encoder.encode_query("The rent is due.") for _ in range(2)]
    assert (queries[0] == queries[1]).all()
    assert (
        encoder.encode(["The rent is due."])[0] == encoder.encode(["The rent is due."])[0]
    ).all()
    assert float(one @ other) < 0.99


def test_line_breaks_and_hard_spaces_are_spaces(encoder: Encoder) -> None:
    one, other = map(encoder.encode_query, ["The rent\nis\u00a0due.", "The rent is due."])
    assert (one == other).all()


@pytest.mark.parametrize("piece", ["a", "The rent is due. ", "日", "\0", " "])
def test_only_the_first_tokens_of_a_long_text_count(encoder: Encoder, piece: str) -> None:
    text = (piece * 100_000)[:100_000]
    vector_D = encoder.encode_query(text)
    assert np.isfinite(vector_D).all()
    np.testing.assert_allclose(encoder.encode_query(text + " More."), vector_D, atol=1e-6)
    words = "rent " * MAX_TOKENS
    assert (encoder.encode_query(words + "a") == encoder.encode_query(words + "b")).all()
    assert (encoder.encode_query("rent a") != encoder.encode_query("rent b")).any()


@given(st.lists(st.integers(1, MAX_TOKENS), max_size=200), st.integers(1, 4096))
def test_batches_hold_every_row_once_and_keep_to_the_limit(
    lengths: list[int], most_tokens: int
) -> None:
    batches = length_sorted_batches(lengths, most_tokens)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= most_tokens
    longest = [max(lengths[i] for i in batch) for batch in batches]
    assert longest == sorted(longest)


@given(st.lists(st.lists(st.integers(4, 99), min_size=1, max_size=40), min_size=1, max_size=5))
def test_padding_stands_behind_and_is_told_apart(rows: list[list[int]]) -> None:
    ids_BT, keep_BT = pad_rows(rows, 42)
    longest = max(map(len, rows))
    wanted = longest if len(rows) == 1 else next(n for n in (16, 32, 42) if n >= longest)
    assert ids_BT.shape[1] == wanted
    assert [ids[keep].tolist() for ids, keep in zip(ids_BT, keep_BT, strict=True)] == rows
    assert set(ids_BT[~keep_BT].tolist()) <= {PAD}
    assert (keep_BT.sum(1) == torch.tensor([len(row) for row in rows])).all()


def test_a_passage_is_embedded_with_its_title_and_headings() -> None:
    assert passage_text("Manual", ["Care", "Descaling"], "Run it.") == (
        "Manual. Care. Descaling. Run it."
    )
    assert passage_text("", ["", "Care"], "Run it.") == "Care. Run it."
    assert passage_text("", [], "Run it.") == "Run it."


@pytest.fixture
def folder(tiny_models: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_models / "encoder", tmp_path / "encoder"))


def test_a_saved_encoder_is_known_by_its_weights(folder: Path, tiny_models: Path) -> None:
    one, same = load_encoder(folder), load_encoder(tiny_models / "encoder")
    assert (one.id, one.dim) == (same.id, same.dim)
    assert (one.encode_query("rent") == same.encode_query("rent")).all()
    weights = load_file(folder / "model.safetensors")
    weights["token_weight.weight"] = weights["token_weight.weight"] + 1
    save_file(weights, folder / "model.safetensors")
    assert load_encoder(folder).id != one.id


def test_damaged_weights_name_the_tensor(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    name = "transformer.blocks.0.attn.q.weight"
    damage = {
        f"lack {name}": {key: value for key, value in weights.items() if key != name},
        f"{name} in .* has shape": {**weights, name: weights[name][:1]},
        f"{name} in .* not finite": {**weights, name: weights[name] * torch.nan},
        "unknown more": {**weights, "more": torch.zeros(1)},
    }
    for said, tensors in damage.items():
        save_file(tensors, folder / "model.safetensors")
        with pytest.raises(WeightsError, match=said):
            load_encoder(folder)
    (folder / "model.safetensors").write_bytes(b"\0" * 64)
    with pytest.raises(WeightsError, match=r"model\.safetensors is damaged"):
        load_encoder(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match="no weights"):
        load_encoder(folder)


def test_a_damaged_folder_says_what_is_wrong(folder: Path) -> None:
    for text, said in [
        (json.dumps({"kind": "decoder"}), "of kind decoder, not encoder"),
        (json.dumps({"kind": "encoder"}), "describes no transformer"),
        ("[]", "does not hold a JSON object"),
        ("{", "is not JSON"),
    ]:
        (folder / "config.json").write_text(text)
        with pytest.raises(WeightsError, match=said):
            load_encoder(folder)
    (folder / "config.json").unlink()
    with pytest.raises(WeightsError, match=r"there is no .*config\.json"):
        load_encoder(folder)
