"""How hypothesis runs: the gate repeats the same examples, `make soak` looks for new ones.

And the fixtures for every test.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import string
import textwrap
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
from hypothesis import HealthCheck, settings
from protocol_server import Server, serving
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfgen import canvas
from safetensors.torch import save_file
from torch import Tensor, nn

from ragformer.answer.confidence import FEATURES, Confidence
from ragformer.answer.reading import N_SEGMENTS
from ragformer.library import Library, open_library
from ragformer.nn.checkpoint import save_weights
from ragformer.nn.config import TransformerConfig
from ragformer.nn.heads import new_decoder, new_encoder
from ragformer.store.store import Store
from ragformer.text.tokenizer import Tokenizer
from ragformer.types import Chunk, Document, OutlineItem, Page, Progress, Report, Span

settings.register_profile(
    "gate", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "soak", settings.get_profile("gate"), derandomize=False, max_examples=5000
)
settings.register_profile("fuzz", settings.get_profile("soak"), max_examples=10_000)
settings.load_profile("gate")


@pytest.fixture(scope="session", autouse=True)
def own_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What whoever runs the tests has set for themselves is nothing to a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real and hostile files beside the checkout; without it the test skips."""
    folder = (Path(__file__).parents[1] / ".." / "shared").resolve()
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder}")
    return folder


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder of untrained weights: real in form, it finds texts that share words."""
    folder = tmp_path_factory.mktemp("models")
    tokenizer = Tokenizer(Path(__file__).parents[1] / "models" / "encoder" / "tokenizer.model")
    sizes = {"vocab_size": tokenizer.vocab_size, "d_model": 64, "n_layers": 1, "d_ff": 64}
    common = TransformerConfig(**sizes, n_heads=1, n_kv_heads=1, max_seq_len=1024, qk_norm=True)
    encoder = dataclasses.replace(common, causal=False)
    decoder = dataclasses.replace(common, n_segments=N_SEGMENTS, d_pointer=64)
    models = {
        "encoder": new_encoder(encoder, tokenizer.surprisal, seed=0),
        "decoder": new_decoder(decoder, seed=0),
    }
    for kind, model in models.items():
        save_weights(model, folder / kind)
        shutil.copy(tokenizer.path, folder / kind)
        values = {"kind": kind, "transformer": dataclasses.asdict(model.config)}
        (folder / kind / "config.json").write_text(json.dumps(values))
    even = Confidence(0.0, (0.0,) * len(FEATURES), 0.5)
    (folder / "decoder" / "confidence.json").write_text(even.to_json())
    return folder


@pytest.fixture(scope="session")
def noisy() -> Callable[..., nn.Module]:
    """noisy(Decoder, tokenizer, seed=0, **config): two narrow layers with every weight drawn at
    random, so that no law holds of them by what was learned."""

    def make(
        kind: Callable[[TransformerConfig], nn.Module],
        tokenizer: Tokenizer,
        seed: int = 0,
        **config: Any,
    ) -> nn.Module:
        sizes = {"vocab_size": tokenizer.vocab_size, "d_model": 32, "n_layers": 2, "d_ff": 48}
        heads = {"n_heads": 2, "n_kv_heads": 2, "d_head": 16, "qk_norm": True}
        model = kind(TransformerConfig(**(sizes | heads | config)))
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(0.0, 0.4, generator=generator)
        return model

    return make


BERT = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
}
_MODULES = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
BERT_FILES = {
    "modules.json": [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(_MODULES.items())
    ],
    "1_Pooling/config.json": {
        "word_embedding_dimension": 32,
        "pooling_mode_mean_tokens": True,
        "pooling_mode_cls_token": False,
    },
    "sentence_bert_config.json": {"max_seq_length": 20, "do_lower_case": False},
}


def bert_tokenizer() -> tokenizers.Tokenizer:
    """Lower-case letters and digits as WordPiece, padded and cut as a saved one may be."""
    pieces = string.ascii_lowercase + string.digits + string.punctuation
    symbols = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = [*symbols, *pieces, *(f"##{piece}" for piece in pieces), "the", "##ing"]
    ids = {piece: i for i, piece in enumerate(vocabulary)}
    made = tokenizers.Tokenizer(tokenizers.models.WordPiece(ids, unk_token="[UNK]"))
    made.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    made.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    made.add_special_tokens(symbols)
    made.enable_padding(length=12)
    made.enable_truncation(12)
    return made


@pytest.fixture(scope="session")
def write_tokenizer() -> Callable[[Path], None]:
    """write_tokenizer(path): the tokenizer of a random encoder as a tokenizer.json."""
    return lambda path: bert_tokenizer().save(str(path))


def bert_weights(config: dict[str, Any], seed: int) -> dict[str, Tensor]:
    """Random weights by the names of a saved BERT, with the pooler that no encoder needs."""
    d, d_ff = config["hidden_size"], config["intermediate_size"]
    shapes = {
        "embeddings.word_embeddings": (config["vocab_size"], d),
        "embeddings.position_embeddings": (config["max_position_embeddings"], d),
        "embeddings.token_type_embeddings": (config["type_vocab_size"], d),
        "embeddings.LayerNorm": (d,),
        "pooler.dense": (d, d),
    }
    for layer in range(config["num_hidden_layers"]):
        front = f"encoder.layer.{layer}."
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            shapes[f"{front}attention.{part}"] = (d, d)
        shapes |= {f"{front}intermediate.dense": (d_ff, d), f"{front}output.dense": (d, d_ff)}
        shapes |= {f"{front}{part}LayerNorm": (d,) for part in ("attention.output.", "output.")}
    random = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in shapes.items():
        tensors[f"{name}.weight"] = torch.randn(shape, generator=random) * 0.4 + (len(shape) == 1)
        if "embeddings." not in name or name.endswith("LayerNorm"):
            tensors[f"{name}.bias"] = torch.randn(shape[0], generator=random) * 0.4
    return tensors


@pytest.fixture
def write_bert(tmp_path: Path) -> Callable[..., Path]:
    """write_bert(name, seed=0, files={}, **config): a random sentence-transformers encoder.

    files: JSON by its path in the folder, in place of the usual ones. config: of the transformer.
    """

    def write(name: str, seed: int = 0, files: dict[str, Any] | None = None, **config: Any) -> Path:
        folder = tmp_path / name
        tokenizer = bert_tokenizer()
        values = BERT | {"vocab_size": tokenizer.get_vocab_size()} | config
        for path, content in (BERT_FILES | {"config.json": values} | (files or {})).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(json.dumps(content))
        tokenizer.save(str(folder / "tokenizer.json"))
        save_file(bert_weights(values, seed), folder / "model.safetensors")
        return folder

    return write


WritePdf = Callable[..., Path]


@pytest.fixture
def write_pdf(tmp_path: Path) -> WritePdf:
    """write_pdf(name, *texts, password=""): a PDF below tmp_path / "docs", a page for each text."""

    def write(name: str, *texts: str, password: str = "") -> Path:
        path = tmp_path / "docs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        encryption = StandardEncryption(password, strength=128) if password else None
        drawing = canvas.Canvas(str(path), pagesize=(600, 800), encrypt=encryption)
        drawing.setTitle(Path(name).stem)
        for text in texts:
            for n, line in enumerate(textwrap.wrap(text, 80)):
                drawing.drawString(60, 700 - 14 * n, line)
            drawing.showPage()
        drawing.save()
        return path

    return write


@pytest.fixture
def home(tmp_path: Path, tiny_models: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that is not there yet, tiny models, and no other setting of this machine."""
    for variable in [name for name in os.environ if name.startswith("RAGFORMER_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("RAGFORMER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RAGFORMER_MODELS", str(tiny_models))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def library(home: Path) -> Iterator[Library]:
    with open_library() as opened:
        yield opened


@pytest.fixture(scope="session")
def index() -> Callable[..., Report]:
    """index(library, *paths, **options): the Report, after checking the stream's own laws."""

    def run(library: Library, *paths: Path, **options: object) -> Report:
        *steps, report = library.index(paths, **options)  # type: ignore[arg-type]
        assert isinstance(report, Report)
        counts = []
        for step in steps:
            assert isinstance(step, Progress)
            counts.append((step.files_done, step.pages_done, step.chunks_embedded))
            assert step.files_done <= step.files_total
            assert step.pages_done <= step.pages_total
        assert counts[0] == (0, 0, 0)
        assert counts == sorted(counts)
        return report

    return run


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A manual with an outline, a report whose printed labels differ, a scan with two blank pages.

    A chunk on each page with text, in order; the manual's second goes over to page 3.
    """
    manual = [("1 Safety",), ("1 Safety", "1.1 Gloves"), ("2 Care of the machine",), ("Index",)]
    report = [("Letter",), ("Contents",), ("1 Results",), ("1 Results", "1.1 Health and safety")]
    kept = [
        ("manual.pdf", "Cassia 3: User Manual", manual, "1234"),
        ("report.pdf", "Northmere Ferries: Annual Report", report, ["i", "ii", "1", "2"]),
        ("scan.pdf", "scan", [(), None, None], "123"),
    ]
    outline = [OutlineItem(0, "1 Safety", 1), OutlineItem(1, "1.1 Gloves", 2)]
    outline += [OutlineItem(0, "2 Care of the machine", 3), OutlineItem(0, "Index", 4)]
    with Store.open(tmp_path_factory.mktemp("shelf") / "collection", create=True) as store:
        for name, title, paths, labels in kept:
            texts = ["" if path is None else f"Text of page {n}" for n, path in enumerate(paths, 1)]
            pages = [
                Page(n, label, text, status="text" if text else "empty")
                for n, (label, text) in enumerate(zip(labels, texts, strict=True), 1)
            ]
            chunks = [
                Chunk(n - 1, path, text, (Span(n, 0, len(text)),), 4)
                for n, (path, text) in enumerate(zip(paths, texts, strict=True), 1)
                if path is not None
            ]
            if name == "manual.pdf":
                text = f"{texts[1]}\n{texts[2][:4]}"
                both = (Span(2, 0, len(texts[1])), Span(3, 0, 4))
                chunks[1] = dataclasses.replace(chunks[1], text=text, spans=both)
            key = hashlib.sha256(name.encode()).hexdigest()
            added = datetime(2026, 1, 2, tzinfo=UTC)
            document = Document(key, title, (Path("/docs") / name,), len(pages), added)
            vectors_ND = np.ones((len(chunks), 2), np.float32)
            items = outline if name == "manual.pdf" else []
            store.add_document(document, pages, chunks, vectors_ND, "none", items)
        yield store


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that speaks the OpenAI protocol, and no setting of this machine for another."""
    pytest.importorskip("openai", reason="the extra openai is not installed")
    for variable in [name for name in os.environ if name.startswith("OPENAI_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("NO_PROXY", "*")
    with serving() as started:
        yield started
