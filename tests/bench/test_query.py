"""The searched store is as big as asked for and as hard as a real one; every stage is timed."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from ragformer.answer.reader import load_decoder
from ragformer.bench import query
from ragformer.bench.growth import draw_growth
from ragformer.bench.texts import PART, embedded_chunks
from ragformer.errors import InputError
from ragformer.retrieve.embed import load_encoder, passage_text
from ragformer.store import keep_vectors
from ragformer.store.saved_vectors import open_index
from ragformer.store.store import Store

TEXTS = ["an otter swims", "a falcon dives"]


def models_of(folder: Path) -> dict[str, Path]:
    return {kind: folder / kind for kind in ("encoder", "decoder")}


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    """A folder of two files with three documents of two sections each."""
    folder = tmp_path / "text"
    folder.mkdir()
    for name in ("a", "b"):
        rows = [
            {
                "title": f"{name} {n}",
                "sections": [
                    {"heading": part, "text": f"The {part} of {name} {n} lies {n} miles out. " * 6}
                    for part in ("harbour", "mill")
                ],
            }
            for n in range(3)
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def test_each_stage_and_the_whole_are_told_of_every_size(reading_file, tiny_models, tmp_path):
    result = query.run(reading_file, sizes=[60, 20], limit=3, **models_of(tiny_models))
    assert result["suite"] == "query"
    assert (list(result["sizes"]), result["n"], result["real_chunks"]) == (["20", "60"], 3, 5)
    for figures in result["sizes"].values():
        times = figures["milliseconds"]
        assert set(times) == {*query.STAGES, "found", "all"}
        assert all(0 < told["p50"] <= told["p95"] for told in times.values())
        assert times["all"]["p95"] >= max(told["p50"] for told in times.values())
        assert (figures["index"], figures["recall@10"]) == ("flat", 1.0)
        assert list(figures["megabytes_on_disk"]) == ["store.db"]
    assert json.loads(json.dumps(result)) == result
    draw_growth(result["sizes"], tmp_path / "growth.png")
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match="0 chunks"):
        query.run(reading_file, sizes=[0], **models_of(tiny_models))


def test_a_big_collection_is_searched_in_its_file_and_compared_with_flat(
    reading_file, tiny_models, documents, tmp_path, monkeypatch
):
    monkeypatch.setattr(keep_vectors, "FLAT_VALUES", 0)
    real = query.RealText(documents, 8, tmp_path / "saved")
    result = query.run(reading_file, [150], limit=3, real=real, **models_of(tiny_models))
    figures = result["sizes"]["150"]
    assert (figures["index"], result["real_chunks"]) == ("lists", 8)
    assert 0.9 < figures["recall@10"] <= 1
    assert list(figures["megabytes_on_disk"]) == ["store.db", "vectors.index"]
    draw_growth(result["sizes"], tmp_path / "growth.png")


def test_recall_is_the_share_of_what_a_flat_search_finds(tiny_models, tmp_path):
    encoder = load_encoder(tiny_models / "encoder")

    class Blind:
        def search(self, vector_D, k):
            return index.search(vector_D, k)[5:]

    with Store.open(tmp_path, create=True) as store:
        fill(store, encoder, TEXTS, 40)
        index = open_index(store, encoder.id)
        vectors_QD = encoder.encode_queries(["who dives?"])
        assert query.compare_with_flat(store, index, encoder.id, vectors_QD)["recall@10"] == 1
        shifted = query.recall(Blind().search, index.search, vectors_QD)
    assert shifted == 0.5


def fill(store: Store, encoder, texts: list[str], n: int) -> None:
    query.Filler(store, encoder.id, texts, encoder.encode(texts), seed=0).fill(n)


def test_the_stages_of_one_search_sum_to_the_whole(tiny_models, tmp_path):
    encoder = load_encoder(tiny_models / "encoder")
    with Store.open(tmp_path, create=True) as store:
        fill(store, encoder, TEXTS, 7)
        index = open_index(store, encoder.id)
        reader = load_decoder(tiny_models / "decoder")
        times = query.time_search(store, index, encoder, reader, "who dives?")
    assert sum(times[stage] for stage in query.STAGES) == pytest.approx(times["all"])
    assert times["found"] == pytest.approx(times["all"] - times["rerank"])


def test_the_store_holds_the_texts_and_then_copies_with_unit_vectors(tiny_models, tmp_path):
    encoder = load_encoder(tiny_models / "encoder")
    with Store.open(tmp_path, create=True) as store:
        fill(store, encoder, TEXTS, 1203)
        ids_N, vectors_ND = store.vectors(encoder.id)
        assert len(ids_N) == len(store.chunk_ids()) == 1203
        assert len(store.documents()) == 3
        first, *_ = store.documents(["0.pdf"])
        assert [chunk.text for chunk in store.chunks(first.id)][:2] == TEXTS
    np.testing.assert_allclose(np.linalg.norm(vectors_ND, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(vectors_ND[:2], encoder.encode(TEXTS))
    cosines = (vectors_ND[2:] * np.resize(vectors_ND[:2], vectors_ND[2:].shape)).sum(1)
    assert np.median(cosines) == pytest.approx(1 / np.sqrt(1 + query.SHAKEN**2), abs=0.01)


def test_copies_change_some_words_and_keep_their_number():
    texts = ["one two three four five six seven eight nine ten", "alpha beta"]
    made = list(islice(query.texts_and_copies(texts, seed=1), 202))
    assert made == list(islice(query.texts_and_copies(texts, seed=1), 202))
    assert made != list(islice(query.texts_and_copies(texts, seed=2), 202))
    assert made[:2] == texts
    copies = made[2:]
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


def test_text_is_cut_and_embedded_once(tiny_models, documents, tmp_path, monkeypatch):
    encoder, saved = load_encoder(tiny_models / "encoder"), tmp_path / "saved"
    texts, vectors_ND = embedded_chunks(documents, 100, encoder, saved)
    assert len(texts) == len(vectors_ND) == 12  # a chunk for each section: there are no more
    assert ["a 0" in texts[0], "b 0" in texts[2], "a 1" in texts[4]] == [True] * 3  # file by file
    whole = passage_text("a 0", ("harbour",), texts[0])
    np.testing.assert_allclose(vectors_ND[0], encoder.encode([whole])[0], atol=1e-5)
    monkeypatch.setattr(encoder, "encode", None)  # what is kept is not embedded again
    again, kept_ND = embedded_chunks(documents, 7, encoder, saved)
    assert again == texts[:7]
    np.testing.assert_array_equal(kept_ND, vectors_ND[:7])
    assert PART > 12


def test_parts_of_text_follow_one_another(tiny_models, documents, tmp_path, monkeypatch):
    encoder = load_encoder(tiny_models / "encoder")
    texts, vectors_ND = embedded_chunks(documents, 12, encoder, tmp_path / "one")
    monkeypatch.setattr("ragformer.bench.texts.PART", 5)
    embedded_chunks(documents, 5, encoder, tmp_path / "parts")
    parts, parts_ND = embedded_chunks(documents, 12, encoder, tmp_path / "parts")
    assert parts == texts
    np.testing.assert_allclose(parts_ND, vectors_ND, atol=1e-5)


def test_text_of_another_form_is_refused(tiny_models, tmp_path):
    encoder = load_encoder(tiny_models / "encoder")
    (tmp_path / "a.jsonl").write_text('{"name": "x"}')
    with pytest.raises(InputError, match="a line is no document \\('title'\\)"):
        embedded_chunks(tmp_path / "a.jsonl", 5, encoder, tmp_path / "saved")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no text"):
        embedded_chunks(tmp_path / "empty", 5, encoder, tmp_path / "saved2")
