"""How hypothesis runs: the gate repeats the same examples, `make soak` looks for new ones.

And the fixtures for every test.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfgen import canvas

from ragformer.answer.confidence import FEATURES, Confidence
from ragformer.answer.reading import N_SEGMENTS
from ragformer.nn.checkpoint import save_weights
from ragformer.nn.config import TransformerConfig
from ragformer.nn.heads import new_decoder, new_encoder
from ragformer.text.tokenizer import Tokenizer

settings.register_profile(
    "gate", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "soak", settings.get_profile("gate"), derandomize=False, max_examples=5000
)
settings.load_profile("gate")


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
