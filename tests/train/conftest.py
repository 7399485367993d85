"""A data folder as the recipes want it, of a few dozen rows, and a tokenizer trained on it."""

from __future__ import annotations

import json
import lzma
from functools import partial
from pathlib import Path

import pytest

from ragformer.text.tokenizer import Tokenizer
from ragformer.train import loop
from ragformer.train import tokenizer as tokenizer_recipe

ANIMALS = ["otter", "falcon", "beetle", "salmon", "badger", "heron", "lynx", "marten"]
PEOPLE = ["Ada Brown", "Karl Weiss", "Mary Stone", "Jan de Vries", "Rosa Lind", "Tom Hale"]
LAKES = ["Tarn", "Ilmen", "Garda", "Vener", "Orta"]


def paragraph(n: int) -> str:
    """Four sentences about one animal, with names and numbers to ask for."""
    animal, person, lake = (part[n % len(part)] for part in (ANIMALS, PEOPLE, LAKES))
    return (
        f"The {animal} lives along the upper river and in the hills near Lake {lake}. "
        f"In {1900 + n} a keeper named {person} counted {7 * n + 12} of them on the north bank. "
        f"They hunt by night, mostly for food that others leave, and sleep under old trees. "
        f"Since the year {1930 + n} nobody has seen one far away from Lake {lake} in winter."
    )


def qa_row(n: int) -> dict[str, object]:
    context = paragraph(n)
    person = PEOPLE[n % len(PEOPLE)]
    answers = [] if n % 6 == 5 else [{"text": person, "start": context.index(person)}]
    return {
        "title": f"The {ANIMALS[n % len(ANIMALS)]}",
        "context": context,
        "question": f"Who counted the {ANIMALS[n % len(ANIMALS)]} in {1900 + n}?",
        "answers": answers,
        "answerable": bool(answers),
    }


def text_row(n: int) -> dict[str, object]:
    sections = [
        {"heading": "Life", "text": f"{paragraph(n)}\n\n{paragraph(n + 31)}"},
        {"heading": "Past", "text": f"{paragraph(n + 62)}\n\n{paragraph(n + 93)}"},
    ]
    return {"title": f"Notes {n}", "sections": sections}


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """text/, qa/, pairs/ and instruct/, plain and packed."""
    folder = tmp_path_factory.mktemp("data")
    rows = {
        "text/notes.jsonl.xz": [text_row(n) for n in range(24)],
        "qa/squad-train-part.jsonl": [qa_row(n) for n in range(36)],
        "pairs/medquad.jsonl": [
            {"query": f"animals of Lake {LAKES[n % 5]} {n}", "positive": paragraph(n)}
            for n in range(24)
        ],
        "instruct/scitldr.jsonl": [
            {"instruction": "Sum up.", "context": paragraph(n), "response": f"Animal {n}."}
            for n in range(12)
        ],
    }
    for name, values in rows.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        content = "\n".join(map(json.dumps, values)).encode()
        path.write_bytes(lzma.compress(content) if name.endswith(".xz") else content)
    return folder


@pytest.fixture(scope="session")
def tokenizer(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """400 pieces, most of them bytes and symbols."""
    out = tmp_path_factory.mktemp("tokenizer") / "new" / "tokenizer.model"
    config = tokenizer_recipe.Config(data / "text", out, vocab_size=400, threads=1)
    return Tokenizer(tokenizer_recipe.main(config))


@pytest.fixture
def small_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure the machine's speed with a small product: these runs take less than that one."""
    monkeypatch.setattr(loop, "matmul_peak", partial(loop.matmul_peak, size=32, times=2))
