"""Words, vectors and fused are measured on the same questions, as the product ranks them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ragformer.answer.reader import load_decoder
from ragformer.errors import InputError
from ragformer.eval import retrieval
from ragformer.eval.cases import CorpusItem, RetrievalSet, read_retrieval
from ragformer.eval.metrics import Metric
from ragformer.retrieve.checkpoints import import_encoder
from ragformer.retrieve.embed import load_encoder
from ragformer.retrieve.retrieve import retrieve
from ragformer.store.store import Store
from ragformer.store.vectors import VectorIndex

ANIMALS = ["otter", "falcon", "beetle", "salmon", "badger", "heron", "weasel", "lizard"]
FOODS = ["clams", "pigeons", "leaves", "shrimps", "worms", "frogs", "mice", "crickets"]
WAYS = ("words", "vectors", "fused", "reranked")
NAMES = {"ndcg@10", *(f"recall@{k}" for k in (1, 5, 10, 20, 100)), "mrr@10"}
COMPARED = {"ndcg@10", "recall@1", "recall@5"}


@pytest.fixture
def animals(tmp_path: Path) -> RetrievalSet:
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
    return read_retrieval(path)


def models_of(folder: Path) -> dict[str, Path]:
    return {kind: folder / kind for kind in ("encoder", "decoder")}


def test_what_every_way_finds_is_measured_side_by_side(animals, tiny_models):
    result = retrieval.run(animals, **models_of(tiny_models))
    compared = {
        f"{ways}/{name}" for ways in ("fused-better", "reranked-fused") for name in COMPARED
    }
    assert set(result["metrics"]) == compared | {f"{way}/{name}" for way in WAYS for name in NAMES}
    assert result["suite"] == "retrieval"
    assert result["n"] == len(ANIMALS)
    assert result["models"] == {
        "encoder": load_encoder(tiny_models / "encoder").id,
        "decoder": load_decoder(tiny_models / "decoder").id,
    }
    for name, metric in result["metrics"].items():
        least = -1 if name in compared else 0
        assert least <= metric["low"] <= metric["value"] <= metric["high"] <= 1
    for way in WAYS:
        recalls = [result["metrics"][f"{way}/recall@{k}"]["value"] for k in (1, 5, 10, 20, 100)]
        assert recalls == sorted(recalls)
        # Each question shares a rare word with its own context and none with another; untrained
        # vectors may put one other context before it.
        assert recalls[0] == 1 or (way == "vectors" and recalls[:2] == [7 / 8, 1])
    assert json.loads(json.dumps(result)) == result


def test_a_peer_is_measured_as_if_it_were_the_encoder(animals, tiny_models, write_bert):
    source = write_bert("bert", num_hidden_layers=1)
    both = retrieval.run(animals, **models_of(tiny_models), peer=source)
    own = retrieval.run(animals, **models_of(tiny_models))
    imported = import_encoder(source, source.parent / "imported").folder
    other = retrieval.run(animals, encoder=imported, decoder=tiny_models / "decoder")
    expected = own["metrics"] | {
        f"{label}/{name}": other["metrics"][f"{way}/{name}"]
        for way, label in (("vectors", "peer"), ("fused", "peer-fused"))
        for name in NAMES
    }
    against = {f"fused-peer-fused/{name}" for name in COMPARED}
    assert set(both["metrics"]) == set(expected) | against
    assert {name: both["metrics"][name] for name in expected} == expected
    for name in COMPARED:
        means = [both["metrics"][f"{way}/{name}"]["value"] for way in ("fused", "peer-fused")]
        difference = both["metrics"][f"fused-peer-fused/{name}"]["value"]
        assert difference == pytest.approx(means[0] - means[1])
    assert both["models"] == own["models"] | {"peer": other["models"]["encoder"]}
    assert other["metrics"]["vectors/mrr@10"] != own["metrics"]["vectors/mrr@10"]


def test_fused_is_held_against_the_better_half_of_each_metric():
    values = {
        "words": {"ndcg@10": [0.5, 0.5], "recall@1": [0.0, 1.0], "recall@5": [1.0, 1.0]},
        "vectors": {"ndcg@10": [0.75, 0.5], "recall@1": [0.0, 0.0], "recall@5": [0.0, 0.0]},
        "fused": {"ndcg@10": [1.0, 0.75], "recall@1": [1.0, 1.0], "recall@5": [1.0, 0.0]},
    }
    assert retrieval.differences(values, 0) == {
        "fused-better/ndcg@10": Metric(0.25, 0.25, 0.25),
        "fused-better/recall@1": Metric(0.5, 0.0, 1.0),
        "fused-better/recall@5": Metric(-0.5, -1.0, 0.0),
    }


def test_the_first_dimensions_are_measured_beside_all_of_them(animals, tiny_models):
    encoder = load_encoder(tiny_models / "encoder")
    whole = retrieval.run(animals, **models_of(tiny_models), dims=encoder.dim)["metrics"]
    for name in NAMES:  # all of its dimensions are the vector itself
        assert whole[f"vectors-{encoder.dim}/{name}"] == whole[f"vectors/{name}"]
        assert whole[f"fused-{encoder.dim}/{name}"] == whole[f"fused/{name}"]
    _, ranked = retrieval.rank_set(animals, None, 0, encoder, dims=3)
    texts = [". ".join((item.title, item.text)) for item in animals.corpus]
    cut_ND = encoder.encode(texts)[:, :3]
    cut_ND /= np.linalg.norm(cut_ND, axis=1, keepdims=True)
    questions_QD = encoder.encode_queries([one.case.question for one in ranked])[:, :3]
    questions_QD /= np.linalg.norm(questions_QD, axis=1, keepdims=True)
    for one, scores_N in zip(ranked, questions_QD @ cut_ND.T, strict=True):
        found = dict(one.rankings["vectors-3"])
        assert [found[place] for place in range(len(texts))] == pytest.approx(scores_N, abs=0.02)
    for wrong in (0, encoder.dim + 1):
        with pytest.raises(InputError, match=f"have no first {wrong}"):
            retrieval.rank_set(animals, None, 0, encoder, dims=wrong)


def test_cut_vectors_have_length_1_and_zeros_stay():
    cut_ND = retrieval.first_dims(np.array([[3, 4, 12], [0, 0, 1]], dtype=np.float32), 2)
    assert cut_ND.tolist() == [pytest.approx([0.6, 0.8]), [0, 0]]
    assert cut_ND.dtype == np.float32


def test_a_sample_is_searched_for_in_the_whole_corpus(animals, tiny_models):
    items, ranked = retrieval.rank_set(animals, 3, 1, load_encoder(tiny_models / "encoder"))
    assert len(items) == len(ANIMALS)
    assert len(ranked) == 3
    assert all(len(one.rankings["vectors"]) == len(ANIMALS) for one in ranked)


def test_fused_is_the_products_own_ranking(animals, tiny_models, tmp_path):
    encoder = load_encoder(tiny_models / "encoder")
    items, ranked = retrieval.rank_set(animals, None, 0, encoder)
    with Store.open(tmp_path / "store", create=True) as store:
        retrieval.fill(store, items, encoder)
        index = VectorIndex.build(*store.vectors(encoder.id))
        for one in ranked:
            found = retrieve(store, index, encoder, one.case.question, 5)
            texts = [items[place].text for place, _ in one.rankings["fused"][:5]]
            assert [passage.text for passage in found] == texts


def test_an_item_without_text_is_found_by_its_title_and_an_empty_one_left_out(
    tiny_models, tmp_path
):
    items = [CorpusItem("a", "", "  "), CorpusItem("b", "Walrus", ""), CorpusItem("c", "", "Seal")]
    with Store.open(tmp_path, create=True) as store:
        kept = retrieval.fill(store, items, load_encoder(tiny_models / "encoder"))
        assert [item.id for item in kept] == ["b", "c"]
        assert [chunk.text for chunk in store.chunks("corpus")] == ["Walrus", "Seal"]


def test_reranking_can_be_left_out(animals: RetrievalSet, tiny_models: Path) -> None:
    whole = retrieval.run(animals, **models_of(tiny_models))
    part = retrieval.run(animals, encoder=tiny_models / "encoder", reread=False)
    assert list(part["models"]) == ["encoder"]
    left = {name for name in whole["metrics"] if "reranked" not in name}
    assert part["metrics"] == {name: whole["metrics"][name] for name in left}
