"""A collection learns from its own text, keeps that only where it helps, and survives any cut."""

from __future__ import annotations

import dataclasses
import random
import shutil
import textwrap
from itertools import islice

import numpy as np
import pytest
import torch
from reportlab.pdfgen import canvas

from ragformer.errors import (
    ConfigError,
    EncoderMismatchError,
    InputError,
    NotFoundError,
    StoreBusyError,
)
from ragformer.library import open_library
from ragformer.nn.checkpoint import save_weights, weights_id
from ragformer.retrieve import embed, embed_chunks
from ragformer.retrieve.embed import load_encoder
from ragformer.train import adapt, loop
from ragformer.train.adapt import Adapted, Config

pytestmark = pytest.mark.usefixtures("small_peak")

SENTENCES = (
    "Of the {} that there is in the {} it is said that the {} will be with the {} and the {}.",
    "If it is not the {} then the {} has to be in the {} or by the {} for as long as the {}.",
    "In the {} and on the {} it was the {} that they had for the {} before it was the {}.",
    "They are to be at the {} when the {} is over the {} but not under the {} of the {}.",
)


def page(n):
    """Sentences of words that stand nowhere else, so that a search by words finds them all."""
    rng = random.Random(n)
    words = (
        "".join(rng.choice("bdfgklmnprst") + rng.choice("aeiou") for _ in range(4))
        for _ in iter(int, 1)
    )
    return " ".join(sentence.format(*islice(words, 5)) for sentence in rng.sample(SENTENCES, 4))


def write_documents(folder, n_documents, n_pages):
    folder.mkdir()
    for d in range(n_documents):
        drawing = canvas.Canvas(str(folder / f"{d}.pdf"), pagesize=(600, 800), invariant=1)
        drawing.setTitle(f"Notes {d}")
        for n in range(d * n_pages, (d + 1) * n_pages):
            for line, text in enumerate(textwrap.wrap(page(n), 80)):
                drawing.drawString(60, 700 - 14 * line, text)
            drawing.showPage()
        drawing.save()


@pytest.fixture(scope="module", autouse=True)
def float32():
    """The same numbers on every machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embed, "bf16_is_faster", lambda: False)
        yield


@pytest.fixture(scope="module")
def models(tiny_models, tmp_path_factory):
    """Models whose encoder takes common words for the telling ones: it has something to learn."""
    folder = shutil.copytree(tiny_models, tmp_path_factory.mktemp("flat") / "models")
    encoder = load_encoder(folder / "encoder")
    encoder.model.token_weight.weight.data.mul_(-0.5)
    save_weights(encoder.model, folder / "encoder")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAGFORMER_MODELS", str(folder))
        yield folder


@pytest.fixture(scope="module")
def indexed(tmp_path_factory, models):
    """A home with one collection of 60 chunks in six documents."""
    folder = tmp_path_factory.mktemp("indexed")
    write_documents(folder / "docs", 6, 10)
    with open_library(home=folder / "home") as library:
        list(library.index([folder / "docs"], workers=1))
    return folder / "home"


CONFIG = Config(minutes=60, steps=40, rate=1e-2, batch=16, max_tokens=64, save_every=5)


@pytest.fixture(scope="module")
def taught(indexed, tmp_path_factory):
    """(home, Adapted): the same collection after `adapt`."""
    home = tmp_path_factory.mktemp("taught") / "home"
    shutil.copytree(indexed, home)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "matmul_peak", lambda device: 1.0)
        return home, run(dataclasses.replace(CONFIG, home=home))


@pytest.fixture
def home(home, models, monkeypatch):
    monkeypatch.setenv("RAGFORMER_MODELS", str(models))
    return home


@pytest.fixture
def collection(home, indexed):
    shutil.copytree(indexed, home)
    with open_library() as library:
        yield library


@pytest.fixture
def taught_collection(home, taught):
    shutil.copytree(taught[0], home)
    with open_library() as library:
        yield library


def run(config, undo=False):
    *lines, adapted = (adapt.undo if undo else adapt.main)(config)
    assert all(isinstance(line, str) for line in lines)
    assert isinstance(adapted, Adapted)
    return adapted


def run_until(text):
    """The lines of a run that is cut off after the first one that holds `text`."""
    steps, lines = adapt.main(CONFIG), []
    while not lines or text not in lines[-1]:
        lines.append(next(steps))
    steps.close()
    return lines


def vectors(library):
    """The vectors that search uses, and their encoder's id."""
    assert set(library.store.encoders()) == {library.encoder.id}
    ids, vectors_ND = library.store.vectors(library.encoder.id)
    assert (ids == library.store.chunk_ids()).all()
    return library.encoder.id, vectors_ND


def nothing_left_over(library):
    own = library.own_encoder
    encoders = library.folder / "encoders"
    left = [folder.name for folder in encoders.glob("*")]
    return left == ([own.name] if own else []) and not (library.folder / "adapt").exists()


def test_what_finds_more_is_kept_and_used(taught, taught_collection, indexed, models):
    _, adapted = taught
    assert adapted.status == "kept"
    assert (adapted.chunks, adapted.questions) == (60, 30)
    assert set(adapted.before) == {"vectors/ndcg@10", "fused/ndcg@10"}
    assert adapted.after["vectors/ndcg@10"] > adapted.before["vectors/ndcg@10"] + 0.02
    assert adapted.after["fused/ndcg@10"] >= adapted.before["fused/ndcg@10"]
    identity, vectors_ND = vectors(taught_collection)
    assert identity == adapted.encoder_id == taught_collection.own_encoder.name
    assert identity == weights_id(taught_collection.own_encoder)
    passages = taught_collection.store.passages([(1, 0.0), (2, 0.0)])
    made_ND = taught_collection.encoder.encode(list(map(adapt.embedded_text, passages)))
    np.testing.assert_allclose(vectors_ND[:2], made_ND, atol=1e-5)
    assert taught_collection.store.check() == []
    assert nothing_left_over(taught_collection)
    for path in taught_collection.folder.rglob("*"):
        assert path.stat().st_mode & 0o77 == 0
    with open_library(home=indexed) as before:
        assert vectors(before)[0] == load_encoder(models / "encoder").id


def test_a_taught_collection_is_indexed_searched_and_removed_from(taught_collection, write_pdf):
    path = write_pdf("new.pdf", page(1000))
    *_, report = taught_collection.index([path])
    assert report.files[0].status == "added"
    assert len(vectors(taught_collection)[1]) == 61
    (passage,) = taught_collection.search(page(1000), k=1)
    assert passage.document.path == path
    taught_collection.remove(passage.document.id)
    assert len(vectors(taught_collection)[1]) == 60


@pytest.mark.parametrize("rate", [1e3, 1e30])
def test_what_finds_less_is_rolled_back_to_the_bit(collection, rate):
    before, before_ND = vectors(collection)
    adapted = run(dataclasses.replace(CONFIG, rate=rate, steps=3))
    assert (adapted.status, adapted.encoder_id) == ("rolled_back", before)
    after, after_ND = vectors(collection)
    assert after == before
    assert after_ND.tobytes() == before_ND.tobytes()
    assert collection.own_encoder is None
    assert nothing_left_over(collection)


def test_a_cut_tuning_goes_on_where_it_stopped(collection):
    before = vectors(collection)[0]
    run_until("step 10")
    assert vectors(collection)[0] == before
    lines = list(adapt.main(CONFIG))
    assert "going on after step 10" in lines
    steps = [line for line in lines[:-1] if "rate" in line]
    assert [int(line.split()[3]) for line in steps] == [20, 30, 40]
    assert nothing_left_over(collection)


def test_a_cut_tuning_starts_anew_when_the_collection_has_changed(collection):
    run_until("step 10")
    collection.remove(collection.store.documents()[0].id)
    lines = run_until("step 10")
    assert not any("going on" in line for line in lines)


def test_a_cut_before_the_switch_leaves_the_old_encoder_working(collection, monkeypatch):
    monkeypatch.setattr(embed_chunks, "EMBED_AT_ONCE", 16)
    monkeypatch.setattr(adapt, "EMBED_AT_ONCE", 16)
    old, old_ND = collection.encoder.id, collection.store.vectors(collection.encoder.id)[1]
    found = [passage.chunk_id for passage in collection.search("otter hunt winter")]
    run_until("embedded 16 of 60")
    assert len(collection.store.encoders()) == 2
    with open_library() as other:
        assert other.encoder.id == old
        assert [passage.chunk_id for passage in other.search("otter hunt winter")] == found
        assert (other.store.vectors(old)[1] == old_ND).all()
    monkeypatch.setattr(adapt._Run, "_train", None)  # what is tuned is not tuned again
    lines = list(adapt.main(CONFIG))
    assert any("of 44 chunks" in str(line) for line in lines)
    assert lines[-1].status == "kept"
    assert vectors(collection)[0] == lines[-1].encoder_id != old


def test_a_cut_after_the_switch_leaves_the_new_encoder_working(collection, monkeypatch):
    def cut(library):
        raise InterruptedError

    old = collection.encoder.id
    with monkeypatch.context() as patch:
        patch.setattr(adapt, "_tidy", cut)
        with pytest.raises(InterruptedError):
            run(CONFIG)
    with open_library() as other:
        assert vectors(other)[0] != old
        assert other.search("otter hunt winter")
    run(CONFIG, undo=True)
    assert vectors(collection)[0] == old
    assert nothing_left_over(collection)


def test_a_second_run_starts_from_the_taught_encoder(taught_collection, taught):
    adapted = run(dataclasses.replace(CONFIG, steps=0))
    assert (adapted.status, adapted.encoder_id) == ("rolled_back", taught[1].encoder_id)
    assert adapted.before == taught[1].after
    assert vectors(taught_collection)[0] == taught[1].encoder_id
    assert nothing_left_over(taught_collection)


def test_undo_goes_back_to_the_encoder_in_the_box(taught_collection, indexed):
    adapted = run(CONFIG, undo=True)
    with open_library(home=indexed) as before:
        first, first_ND = vectors(before)
    identity, vectors_ND = vectors(taught_collection)
    assert (adapted.status, adapted.encoder_id) == ("undone", first)
    assert identity == first
    np.testing.assert_allclose(vectors_ND, first_ND, atol=1e-5)
    assert taught_collection.own_encoder is None
    assert nothing_left_over(taught_collection)
    assert run(CONFIG, undo=True).status == "unchanged"


def test_a_stray_file_among_the_encoders_stops_nothing(collection):
    stray = collection.folder / "encoders" / ".DS_Store"
    stray.parent.mkdir()
    stray.touch()
    adapt._tidy(collection)
    assert stray.exists()


def test_a_taught_encoder_that_is_gone_is_said_with_the_way_out(taught_collection):
    shutil.rmtree(taught_collection.own_encoder)
    with pytest.raises(NotFoundError, match="adapt --undo -c default"):
        taught_collection.search("otter")
    assert run(CONFIG, undo=True).status == "undone"
    assert taught_collection.search("otter")


def test_an_encoder_that_is_set_comes_before_the_taught_one(taught_collection, models, monkeypatch):
    monkeypatch.setenv("RAGFORMER_ENCODER", str(models / "encoder"))
    for undo in (False, True):
        with pytest.raises(ConfigError, match="comes before a collection's own"):
            run(CONFIG, undo)
    with open_library() as library:
        assert library.own_encoder is None
        with pytest.raises(EncoderMismatchError):
            library.search("otter")


def test_what_cannot_be_learned_from_is_one_sentence(library, write_pdf, home):
    with pytest.raises(InputError, match="with 0 of the 50 chunks"):
        run(CONFIG)
    list(library.index([write_pdf("short.pdf", *(f"word{n} " * 40 for n in range(60)))]))
    with pytest.raises(InputError, match="0 questions to learn from and 0 to measure by"):
        run(CONFIG)


def test_only_one_process_writes(collection):
    with collection.store.indexing(), pytest.raises(StoreBusyError):
        run(CONFIG)


@pytest.mark.parametrize(
    ("after", "better"),
    [((0.5, 0.7), False), ((0.5, 0.71), True), ((0.6, 0.69), False), ((0.6, 0.7), True)],
)
def test_better_is_when_nothing_fell_and_something_rose(after, better):
    names = ("vectors/ndcg@10", "fused/ndcg@10")
    before = dict(zip(names, (0.5, 0.7), strict=True))
    assert adapt.is_better(before, dict(zip(names, after, strict=True))) is better


def test_the_loss_leaves_out_what_is_right_too():
    rows = torch.eye(4)
    right_BP = torch.zeros(2, 4, dtype=torch.bool)
    right_BP[0, 0] = right_BP[1, 1] = True
    passages_PD = torch.stack([rows[0], rows[1], rows[0], rows[3]])
    twin = adapt.ranking_loss(rows[:2], passages_PD, right_BP)
    right_BP[0, 2] = True
    alone = adapt.ranking_loss(rows[:2], passages_PD, right_BP)
    assert twin == pytest.approx(np.log(2) / 2, abs=1e-4)  # one query of two cannot tell
    assert alone == pytest.approx(0.0, abs=1e-4)
