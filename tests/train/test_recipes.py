"""Each recipe runs from data to weights that load, learns, and goes on where it stopped."""

from __future__ import annotations

import csv
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ragformer.answer.reader import load_decoder
from ragformer.errors import InputError
from ragformer.retrieve.embed import load_encoder
from ragformer.text.tokenizer import CONTROL_SYMBOLS
from ragformer.train import decoder, encoder
from ragformer.train import tokenizer as tokenizer_recipe

pytestmark = pytest.mark.usefixtures("small_peak")


@pytest.fixture
def out(tmp_path, tokenizer):
    """The folder the weights go to, the tokenizer there already."""
    (tmp_path / "out").mkdir()
    shutil.copy(tokenizer.path, tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture
def encoder_config(data, out, tmp_path):
    def make(**changes):
        values = {"masked_steps": 10, "steps": 40, "batch": 16, "max_tokens": 48} | changes
        values = {"bag_steps": 20, "bag_batch": 16} | values
        common = {"d_model": 64, "n_layers": 1}
        common |= {"minutes": 60, "masked_minutes": 60, "bag_minutes": 60}
        values = {"out": out, "work": tmp_path / "work"} | common | values
        return encoder.Config(data, **values)

    return make


@pytest.fixture
def decoder_config(data, out, tmp_path):
    def make(**changes):
        values = {"steps": 20, "batch": 4, "characters": 420, "writing_tokens": 32} | changes
        common = {"d_model": 64, "n_layers": 1, "minutes": 60}
        return decoder.Config(data, out, tmp_path / "work", **common, **values)

    return make


def logged(path, stage):
    """(step, loss) of the stage's lines in a log."""
    with path.open() as file:
        rows = list(csv.DictReader(file))
    return [(int(row["step"]), float(row["loss"])) for row in rows if row["stage"] == stage]


def test_a_new_tokenizer_gives_back_every_text(tokenizer):
    assert tokenizer.vocab_size == 400
    for text in ("The otter, in 1907!", "日本 😀\n\n\0", "<mask> \u2581", *CONTROL_SYMBOLS):
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert all(len(tokenizer.encode(digits)) >= len(digits) for digits in ("1907", "42"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"holds no \.jsonl"),
        ("{", "line 1 is not JSON"),
        ('{"title": "a"}', "row 1 has no sections"),
        ('{"sections": [{"text": "too little text"}]}', "no tokenizer of 400 pieces"),
    ],
)
def test_a_tokenizer_of_unusable_data_is_one_sentence(tmp_path, content, message):
    if content is not None:
        (tmp_path / "a.jsonl").write_text(content)
    config = tokenizer_recipe.Config(tmp_path, tmp_path / "new.model", 400, threads=1)
    with pytest.raises(InputError, match=message):
        tokenizer_recipe.main(config)
    assert not config.out.exists()


def test_an_encoder_learns_and_loads(encoder_config):
    # Without a bag stage before it, the contrastive one trains the table too.
    config = encoder_config(bag_steps=0, steps=160, peak_rate=3e-3)
    lines = list(encoder.main(config))
    assert lines[0].startswith("pairs/medquad: 24 pairs")
    assert lines[-1] == f"wrote {config.out}"
    losses = logged(config.work / "encoder.csv", "contrastive")
    assert [step for step, _ in losses] == list(range(10, 161, 10))
    assert losses[-1][1] < 0.5 * losses[0][1]
    assert len(logged(config.work / "encoder.csv", "masked")) == 1
    loaded = load_encoder(config.out)
    vectors_ND = loaded.encode(["The otter lives here.", "", "x" * 9000])
    assert vectors_ND.shape == (3, 64)
    assert np.allclose(np.linalg.norm(vectors_ND, axis=1), 1, atol=1e-5)


def test_short_passages_are_enough_where_nothing_is_masked(encoder_config):
    few = {"bag_steps": 2, "steps": 1, "max_tokens": 24}
    assert list(encoder.main(encoder_config(masked_steps=0, **few)))[-1].startswith("wrote")
    with pytest.raises(InputError, match="no passage of more than 30 tokens"):
        list(encoder.main(encoder_config(**few)))


def test_a_bag_learns_and_the_blocks_leave_its_table_alone(encoder_config):
    config = encoder_config(bag_steps=80, bag_rate=2e-2, masked_steps=0, steps=10)
    list(encoder.main(config))
    bag = logged(config.work / "encoder.csv", "bag")
    assert [step for step, _ in bag] == list(range(10, 81, 10))
    assert bag[-1][1] < 0.5 * bag[0][1]
    learned, final = (
        torch.load(config.work / f"{name}.pt", weights_only=True)["average"]
        for name in ("bag", "contrastive")
    )
    assert torch.equal(final["transformer.embed.weight"], learned["transformer.embed.weight"])
    assert torch.equal(final["token_weight.weight"], learned["token_weight.weight"])
    assert not torch.equal(
        final["transformer.blocks.0.mlp.down.weight"],
        learned["transformer.blocks.0.mlp.down.weight"],
    )


def test_an_encoder_learns_the_vectors_of_another(encoder_config, tmp_path, tokenizer):
    teacher = tmp_path / "teacher"
    teacher.mkdir()
    shutil.copy(tokenizer.path, teacher)
    other = encoder_config(out=teacher, work=tmp_path / "other", masked_steps=0, steps=10)
    list(encoder.main(other))
    taught = {"teacher": teacher, "teacher_minutes": 60, "taught_minutes": 60, "taught_tokens": 512}
    changes = {"seed": 1, "bag_steps": 0, "masked_steps": 0, "steps": 60, "minutes": 0}
    config = encoder_config(**changes, **taught, taught_bag_minutes=0, taught_rate=3e-3)
    list(encoder.main(config))
    losses = [loss for _, loss in logged(config.work / "encoder.csv", "taught")]
    assert losses[-1] < 0.6 * losses[0]


def test_a_decoder_learns_in_both_stages_and_loads(decoder_config):
    for stage in ("pretrain", "answer"):
        config = decoder_config(stage=stage, steps=40)
        assert list(decoder.main(config))[-1] == f"wrote {config.out}"
        losses = logged(config.work / "decoder.csv", stage)
        assert [step for step, _ in losses] == [10, 20, 30, 40]
        assert losses[-1][1] < losses[0][1]
    reader = load_decoder(config.out)
    read = reader.read("Who counted the otter?", [("Notes", "Ada Brown counted it in 1907.")])
    assert read.candidates
    assert all(0 <= c.start < c.end <= 29 for c in read.candidates)


@pytest.mark.parametrize("recipe", ["encoder", "decoder"])
def test_a_run_that_was_stopped_goes_on_from_its_state(encoder_config, decoder_config, recipe):
    if recipe == "encoder":
        main, stage = encoder.main, "contrastive"
        config = encoder_config(bag_steps=2, masked_steps=0, steps=14, save_every=4, chunk=6)
    else:
        main, stage = decoder.main, "pretrain"
        config = decoder_config(steps=14, save_every=4)
    state, log = config.work / f"{stage}.pt", config.work / f"{recipe}.csv"
    running = main(config)
    # Stopped at the line of step 10, after the state of step 8.
    next(line for line in running if " step 10 " in line)
    running.close()
    assert torch.load(state, weights_only=True)["step"] == 8
    assert not (config.out / "model.safetensors").exists()
    assert list(main(config))[-1] == f"wrote {config.out}"
    assert torch.load(state, weights_only=True)["step"] == 14
    assert [step for step, _ in logged(log, stage)] == [10, 10]
    assert load_file(config.out / "model.safetensors")


def test_a_run_whose_time_ends_while_it_is_measured_has_its_last_state(decoder_config, monkeypatch):
    def slow(self, stage, budget, model, average):
        budget.spent += 60 * 60 * (budget.step == 3)

    monkeypatch.setattr(decoder.Development, "add", slow)
    config = decoder_config(steps=1000, save_every=1000)
    list(decoder.main(config))
    assert torch.load(config.work / "pretrain.pt", weights_only=True)["step"] == 3


def test_the_answer_stage_starts_from_the_weights_written_before(decoder_config):
    config = decoder_config(stage="answer", steps=1)
    with pytest.raises(ValueError, match="there are no weights"):
        next(decoder.main(config))


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        ("text/notes.jsonl.xz", b"junk", "is not an xz file"),
        ("qa/squad-train-part.jsonl", b"[]", "is not a JSON object"),
        ("instruct/scitldr.jsonl", b'{"context": ""}', "has no instruction and no response"),
        ("qa", None, r"qa holds no \.jsonl"),
    ],
)
def test_damaged_or_missing_data_is_one_sentence(
    decoder_config, encoder_config, data, tmp_path, path, content, message
):
    damaged = shutil.copytree(data, tmp_path / "data")
    if content is None:
        shutil.rmtree(damaged / path)
    else:
        (damaged / path).write_bytes(content)
    list(decoder.main(decoder_config(steps=0)))
    for make, main in ((decoder_config, decoder.main), (encoder_config, encoder.main)):
        if main is encoder.main and path.startswith("instruct"):
            continue
        changes = {"stage": "answer"} if main is decoder.main else {}
        config = make(steps=1, **changes)
        object.__setattr__(config, "data", damaged)
        with pytest.raises(InputError, match=message):
            list(main(config))


def scores(path, name):
    with path.open() as file:
        return [float(row[name]) for row in csv.DictReader(file)]


def test_an_encoder_finds_more_as_it_learns_and_the_run_is_drawn(encoder_config, data, tmp_path):
    qa = data / "qa" / "squad-train-part.jsonl"
    config = encoder_config(
        bag_steps=0, masked_steps=0, steps=160, peak_rate=3e-3, dev=qa, dev_every=40
    )
    lines = list(encoder.main(config))
    found = scores(config.work / "encoder-dev.csv", "recall@1")
    assert found[-1] > found[0] + 0.1, found
    assert f"drew {config.work / 'encoder.png'}" in lines
    assert (config.work / "encoder.png").read_bytes().startswith(b"\x89PNG")


def test_a_decoder_is_measured_by_its_averaged_weights_and_trained_on_its_own(decoder_config, data):
    qa = data / "qa" / "squad-train-part.jsonl"
    plain = decoder_config(steps=10)
    list(decoder.main(plain))
    own = torch.load(plain.work / "pretrain.pt", weights_only=True)["model"]
    shutil.rmtree(plain.work)
    config = decoder_config(steps=10, dev=qa, dev_questions=6, dev_every=5)
    list(decoder.main(config))
    measured = torch.load(config.work / "pretrain.pt", weights_only=True)["model"]
    assert len(scores(config.work / "decoder-dev.csv", "f1")) == 2
    assert all(0 <= value <= 1 for value in scores(config.work / "decoder-dev.csv", "sentence_hit"))
    assert all(torch.allclose(own[name], measured[name], atol=1e-5) for name in own)


@pytest.mark.parametrize("size", ["batch", "bag_batch"])
def test_a_batch_of_one_pair_is_refused(encoder_config, size):
    with pytest.raises(InputError, match="telling it from the others of its batch"):
        next(encoder.main(encoder_config(**{size: 1})))


@pytest.mark.parametrize("characters", [-5, 0, 299])
def test_passages_too_short_to_read_are_refused(decoder_config, characters):
    with pytest.raises(InputError, match=f"of {characters} characters is too short .* 300 or more"):
        next(decoder.main(decoder_config(characters=characters)))
