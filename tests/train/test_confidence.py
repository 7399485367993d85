"""The confidence recipe writes what the decoder loads."""

from __future__ import annotations

import json
import shutil

from ragformer.answer.reader import load_decoder
from ragformer.eval.cases import ReadingCase
from ragformer.train.confidence import Config, first_alone, main


def test_the_best_passage_alone_is_right_only_where_it_was():
    sources = (("A", "It swims."), ("B", "It sleeps."))
    for gold, kept in [((0,), (0,)), ((1,), ()), ((0, 1), (0,))]:
        case = ReadingCase("1", "What?", sources, ("swims",), gold, (0.5, 1.0))
        alone = first_alone(case)
        assert (alone.sources, alone.scores, alone.gold_sources) == (sources[:1], (0.5,), kept)


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
    assert lines[:2] == ["reading.jsonl: 6 rows read", "reading.jsonl: 12 rows read"]
    fitted = load_decoder(decoder).confidence
    assert fitted is not None
    assert lines[-1].endswith(f"with threshold {fitted.threshold}")
    assert 0 <= fitted.threshold <= 1
    held_out = json.loads((decoder / "confidence.json").read_text())["held_out"]
    assert held_out["rows"] == 12
    assert 0 <= held_out["ece"] <= 1
    assert held_out["table"][-1]["coverage"] == 1
    assert f"  ece {held_out['ece']}" in lines
