"""The searched store is as big as asked for and as hard as a real one; every stage is timed."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from ragformer.answer.reader import load_decoder
from ragformer.bench import query
from ragformer.errors import InputError
from ragformer.retrieve.embed import load_encoder
from ragformer.store.store import Store


def models_of(folder: Path) -> dict[str, Path]:
    return {kind: folder / kind for kind in ("encoder", "decoder")}


def test_each_stage_and_the_whole_are_told(reading_file, tiny_models):
    result = query.run(reading_file, chunks=60, limit=3, **models_of(tiny_models))
    assert result["suite"] == "query"
    assert (result["chunks"], result["n"]) == (60, 3)
    times = result["milliseconds"]
    assert set(times) == {*query.STAGES, "found", "all"}
    assert all(0 < told["p50"] <= told["p95"] for told in times.values())
    assert times["all"]["p95"] >= max(told["p50"] for told in times.values())
    assert json.loads(json.dumps(result)) == result
    with pytest.raises(InputError, match="0 chunks"):
        query.run(reading_file, chunks=0, **models_of(tiny_models))


def test_the_stages_of_one_search_sum_to_the_whole(tiny_models, tmp_path):
    encoder = load_encoder(tiny_models / "encoder")
    with Store.open(tmp_path, create=True) as store:
        query.fill(store, encoder, ["an otter swims", "a falcon dives"], 7, seed=0)
        index = query.VectorIndex.build(*store.vectors(encoder.id))
        reader = load_decoder(tiny_models / "decoder")
        times = query.time_search(store, index, encoder, reader, "who dives?")
    assert sum(times[stage] for stage in query.STAGES) == pytest.approx(times["all"])
    assert times["found"] == pytest.approx(times["all"] - times["rerank"])


def test_the_store_holds_that_many_chunks_with_unit_vectors(tiny_models, tmp_path):
    encoder = load_encoder(tiny_models / "encoder")
    with Store.open(tmp_path, create=True) as store:
        query.fill(store, encoder, ["an otter swims", "a falcon dives"], 1203, seed=0)
        ids_N, vectors_ND = store.vectors(encoder.id)
        assert len(ids_N) == len(store.chunk_ids()) == 1203
        assert len(store.documents()) == 3
    np.testing.assert_allclose(np.linalg.norm(vectors_ND, axis=1), 1, rtol=1e-5)


def test_copies_change_some_words_and_keep_their_number():
    texts = ["one two three four five six seven eight nine ten", "alpha beta"]
    copies = list(islice(query.changed_copies(texts, seed=1), 200))
    assert copies == list(islice(query.changed_copies(texts, seed=1), 200))
    assert copies != list(islice(query.changed_copies(texts, seed=2), 200))
    every_word = set(" ".join(texts).split())
    for copy, text in zip(copies, texts * 100, strict=True):
        assert len(copy.split()) == len(text.split())
        assert set(copy.split()) <= every_word
    kept = np.mean(
        [
            a == b
            for c, t in zip(copies, texts * 100, strict=True)
            for a, b in zip(c.split(), t.split(), strict=True)
        ]
    )
    assert 1 - query.CHANGED <= kept < 1
