"""Words, vectors and fused are measured on the same questions, as the product ranks them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ragformer.eval import retrieval
from ragformer.eval.cases import CorpusItem
from ragformer.retrieve.checkpoints import import_encoder
from ragformer.retrieve.embed import load_encoder
from ragformer.retrieve.retrieve import retrieve
from ragformer.store.store import Store
from ragformer.store.vectors import VectorIndex

ANIMALS = ["otter", "falcon", "beetle", "salmon", "badger", "heron", "weasel", "lizard"]
FOODS = ["clams", "pigeons", "leaves", "shrimps", "worms", "frogs", "mice", "crickets"]
WAYS = ("words", "vectors", "fused")
NAMES = {"ndcg@10", "recall@1", "recall@5", "recall@20", "recall@100", "mrr@10"}


@pytest.fixture
def reading_file(tmp_path: Path) -> Path:
    """Eight contexts with one question each, and one without an answer."""
    rows = [
        {
            "id": animal,
            "title": f"The {animal}",
            "context": f"By day the {animal} hunts for {food} at the river.",
            "question": f"What does the {animal} hunt for?",
            "answers": [{"text": food, "start": 0}],
            "answerable": True,
        }
        for animal, food in zip(ANIMALS, FOODS, strict=True)
    ]
    rows.append({**rows[0], "id": "none", "answers": [], "answerable": False})
    path = tmp_path / "reading.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_what_every_way_finds_is_measured_side_by_side(reading_file, tiny_models):
    result = retrieval.run(reading_file, encoder=tiny_models / "encoder")
    assert set(result["metrics"]) == {f"{way}/{name}" for way in WAYS for name in NAMES}
    assert result["suite"] == "retrieval"
    assert result["n"] == len(ANIMALS)
    assert result["models"] == {"encoder": load_encoder(tiny_models / "encoder").id}
    for metric in result["metrics"].values():
        assert 0 <= metric["low"] <= metric["value"] <= metric["high"] <= 1
    for way in WAYS:
        recalls = [result["metrics"][f"{way}/recall@{k}"]["value"] for k in (1, 5, 20, 100)]
        assert recalls == sorted(recalls)
        # Each question shares a rare word with its own context and none with another; untrained
        # vectors may put one other context before it.
        assert recalls[0] == 1 or (way == "vectors" and recalls[:2] == [7 / 8, 1])
    assert json.loads(json.dumps(result)) == result


def test_a_peer_is_measured_as_if_it_were_the_encoder(reading_file, tiny_models, write_bert):
    source = write_bert("bert", num_hidden_layers=1)
    both = retrieval.run(reading_file, encoder=tiny_models / "encoder", peer=source)
    own = retrieval.run(reading_file, encoder=tiny_models / "encoder")
    imported = import_encoder(source, source.parent / "imported").folder
    other = retrieval.run(reading_file, encoder=imported)
    expected = own["metrics"] | {
        f"{label}/{name}": other["metrics"][f"{way}/{name}"]
        for way, label in (("vectors", "peer"), ("fused", "peer-fused"))
        for name in NAMES
    }
    assert both["metrics"] == expected
    assert both["models"] == own["models"] | {"peer": other["models"]["encoder"]}
    assert other["metrics"]["vectors/mrr@10"] != own["metrics"]["vectors/mrr@10"]


def test_a_sample_is_searched_for_in_the_whole_corpus(reading_file, tiny_models):
    items, ranked = retrieval.rank_cases(
        reading_file, None, 3, 1, load_encoder(tiny_models / "encoder")
    )
    assert len(items) == len(ANIMALS)
    assert len(ranked) == 3
    assert all(len(one.rankings["vectors"]) == len(ANIMALS) for one in ranked)


def test_fused_is_the_products_own_ranking(reading_file, tiny_models, tmp_path):
    encoder = load_encoder(tiny_models / "encoder")
    items, ranked = retrieval.rank_cases(reading_file, None, None, 0, encoder)
    with Store.open(tmp_path / "store", create=True) as store:
        retrieval.fill(store, items, encoder)
        index = VectorIndex.build(*store.vectors(encoder.id))
        for one in ranked:
            found = retrieve(store, index, encoder, one.case.question, 5)
            keys = retrieval._keys(one, "fused", items)[:5]
            texts = {item.id: item.text for item in items}
            assert [passage.text for passage in found] == [texts[key] for key in keys]


def test_an_item_without_text_is_found_by_its_title_and_an_empty_one_left_out(
    tiny_models, tmp_path
):
    items = [CorpusItem("a", "", "  "), CorpusItem("b", "Walrus", ""), CorpusItem("c", "", "Seal")]
    with Store.open(tmp_path, create=True) as store:
        kept = retrieval.fill(store, items, load_encoder(tiny_models / "encoder"))
        assert [item.id for item in kept] == ["b", "c"]
        assert [chunk.text for chunk in store.chunks("corpus")] == ["Walrus", "Seal"]


def test_the_ends_of_the_sweep_are_words_and_vectors_alone(reading_file, tiny_models):
    table = retrieval.sweep_weights(reading_file, encoder=tiny_models / "encoder")
    assert len(table) == 21
    by_weight = dict(table)
    result = retrieval.run(reading_file, encoder=tiny_models / "encoder")["metrics"]
    assert by_weight[0.0]["recall@1"] == result["vectors/recall@1"]["value"]
    assert by_weight[1.0]["recall@1"] == result["words/recall@1"]["value"]
    ndcg = [metrics["ndcg@10"] for _, metrics in table]
    assert ndcg == sorted(ndcg, reverse=True)
