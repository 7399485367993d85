"""The confidence recipe writes what the decoder loads."""

from __future__ import annotations

import json
import shutil

from ragformer.answer.reader import load_decoder
from ragformer.train.confidence import Config, main


def test_the_recipe_writes_a_confidence_that_the_decoder_uses(tiny_models, tmp_path):
    rows = [
        {
            "id": str(n),
            "context": f"The animal number {n} lives by river {n}.",
            "question": f"Where does animal number {n} live?",
            "answers": [{"text": f"river {n}", "start": 31}] if n % 2 else [],
            "answerable": bool(n % 2),
        }
        for n in range(6)
    ]
    path = tmp_path / "reading.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    decoder = shutil.copytree(tiny_models / "decoder", tmp_path / "decoder")
    (decoder / "confidence.json").write_text('{"weights": {"a feature of old": 1.0}}')
    config = Config(path, decoder, tiny_models / "encoder", passages=2, coverage=0.6)
    lines = list(main(config))  # what the old file held does not matter
    assert lines[0] == "reading.jsonl: 6 questions"
    fitted = load_decoder(decoder).confidence
    assert fitted is not None
    assert lines[-1].endswith(f"with threshold {fitted.threshold}")
    assert 0 <= fitted.threshold <= 1
