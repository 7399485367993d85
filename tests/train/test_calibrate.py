"""Calibrating: made questions, a threshold that keeps its word, and a way back."""

from __future__ import annotations

import dataclasses
import json
import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from shards_here import index_in_shards

from ragformer.answer.confidence import FEATURES, OWN_CONFIDENCE, Confidence, own_confidence
from ragformer.errors import InputError, WeightsError
from ragformer.eval.reading_metrics import Row
from ragformer.library import Library, open_library
from ragformer.train import calibrate
from ragformer.train.calibrate import Calibrated, Config, main

SEED = 1  # with which no question is left without a word that tells its page from the others
TOWNS = ["Arden", "Borlo", "Cesta", "Dunmor", "Elvas", "Fintry"]


def town(name: str, n: int) -> str:
    return " ".join(
        f"In {name} the {what} number {n * 10 + i} was built by the mason Peter {name}son in"
        f" {1700 + n * 10 + i}."
        for i, what in enumerate(["bridge", "mill", "tower", "harbour", "market", "school"])
    )


@pytest.fixture
def files(write_pdf: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Six of 8 pages, each page a chunk; the same bytes at any time, as on them hangs which
    questions are made."""
    monkeypatch.setattr("reportlab.rl_config.invariant", 1)
    pages = [
        [town(f"{name}{'abcdefgh'[page]}", 8 * n + page) for page in range(8)]
        for n, name in enumerate(TOWNS)
    ]
    return [write_pdf(f"{name}.pdf", *texts) for name, texts in zip(TOWNS, pages, strict=True)]


@pytest.fixture
def towns(library: Library, files: list[Path], index: Callable[..., object]) -> Path:
    index(library, *files)
    return library.folder


def read_like(right: Callable[[int], bool], monkeypatch: pytest.MonkeyPatch) -> list[Row]:
    """The reader as we want it: sure of what is right, of the answerable ones that `right`
    names."""
    rows: list[Row] = []

    def read(cases, _):
        (case,) = cases
        good = bool(case.gold_sources) and right(len(rows))  # search may have missed it
        features = (4.0 if good else -4.0, *(0.5,) * (len(FEATURES) - 1))
        sentence = case.golds[0] if good else "no"
        rows.append(
            Row(case, sentence, sentence, case.gold_sources[0] if good else 0, "", features, 0.5)
        )
        return rows[-1:]

    monkeypatch.setattr(calibrate, "read_cases", read)
    return rows


def test_questions_are_of_the_documents_and_every_half_has_both_kinds(library, towns):
    cases = list(calibrate._cases(Config(questions=40, seed=SEED), library, library.reader))
    assert len(cases) == 40
    for half in (cases[0::2], cases[1::2]):
        assert sum(case.answerable for case in half) == 10
    for case in cases:
        assert re.match(r"[\w ]+?\S.*\?$", case.question)
        assert len(case.question.split()) <= calibrate.MOST_WORDS + 5
        assert case.answerable == bool(case.golds)
        if case.gold_sources:  # found: one of the document's passages holds the answer
            assert case.answerable
            (title,) = {case.sources[i][0] for i in case.gold_sources}
            assert title in TOWNS
        if not case.answerable:  # asked of the other documents
            assert case.gold_sources == ()


def test_shards_are_calibrated_as_one_collection(home, files, monkeypatch):
    rows = read_like(lambda _: True, monkeypatch)
    with open_library("sharded") as sharded:
        index_in_shards(sharded, files, 3)
        before = sharded.reader.confidence
        *_, done = main(Config("sharded", questions=40, seed=SEED))
        assert isinstance(done, Calibrated)
        assert (done.status, done.questions) == ("kept", 40)
        assert sum(row.case.answerable for row in rows) == 20
        assert sum(bool(row.case.gold_sources) for row in rows) > 15  # what search finds
        assert sharded.reader.confidence == own_confidence(sharded.folder, sharded.reader.id)
        assert calibrate.undo(Config("sharded"))
        assert sharded.reader.confidence == before


def test_what_is_written_is_used_until_it_is_undone(library, towns, monkeypatch):
    rows = read_like(lambda _: True, monkeypatch)
    before = library.reader.confidence
    *lines, done = main(Config(questions=40, seed=SEED))
    assert isinstance(done, Calibrated)
    assert (done.status, done.questions, done.held_out) == ("kept", 40, 20)
    assert lines[0] == "40 questions made"
    assert done.chosen is not None
    assert (done.chosen.risk, done.chosen.coverage, done.chosen.refusal) == (0, 1, 1)
    assert done.after.points[-1].risk < done.before.points[-1].risk
    path = library.folder / OWN_CONFIDENCE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with open_library() as opened:
        own = opened.reader.confidence
        assert own is not None
        assert own != before
        assert own.threshold == pytest.approx(own(rows[0].features))
        assert own_confidence(opened.folder, "another decoder") is None
    assert calibrate.undo(Config()) is True
    assert calibrate.undo(Config()) is False
    with open_library() as opened:
        assert opened.reader.confidence == before


def test_where_no_threshold_keeps_to_the_error_rate_nothing_changes(library, towns, monkeypatch):
    read_like(lambda _: False, monkeypatch)
    *_, done = main(Config(questions=40, seed=SEED))
    assert isinstance(done, Calibrated)
    assert (done.status, done.chosen) == ("unreachable", None)
    assert not (library.folder / OWN_CONFIDENCE).exists()


def test_too_small_a_collection_is_told_what_it_lacks(library, write_pdf, index):
    index(library, write_pdf("one.pdf", town("Arden", 1)))
    with pytest.raises(InputError, match="has 1 documents in English and it takes 2"):
        list(main(Config()))
    index(library, write_pdf("two.pdf", town("Borlo", 2)))
    with pytest.raises(InputError, match=r"gives \d+ questions and it takes 40"):
        list(main(Config()))


def test_a_copy_in_another_document_leaves_the_question_out(library, write_pdf, index):
    for n in range(2):
        index(library, write_pdf(f"copy{n}.pdf", *[town(f"Arden{i}", i) for i in range(6)], str(n)))
    with pytest.raises(InputError, match=r"gives 2 questions"):
        list(main(Config()))


def test_a_damaged_file_names_the_way_out_and_that_way_is_open(library, towns, monkeypatch):
    (library.folder / OWN_CONFIDENCE).write_text("{}")
    with pytest.raises(WeightsError, match="run `ragformer calibrate` again, or with --undo"):
        _ = library.reader
    read_like(lambda _: True, monkeypatch)
    *_, done = main(Config(questions=40, seed=SEED))
    assert done.status == "kept"
    assert library.reader.confidence is not None


def test_the_file_says_which_decoder_it_is_of(library, towns, monkeypatch):
    read_like(lambda n: n % 8 < 2, monkeypatch)
    *_, done = main(Config(questions=48, error_rate=0.9))
    values = json.loads((library.folder / OWN_CONFIDENCE).read_text())
    assert values["decoder"] == library.reader.id
    assert isinstance(done, Calibrated)
    assert done.chosen is not None
    assert done.chosen.risk <= 0.9
    assert dataclasses.astuple(done.chosen)[0] == values["threshold"]
    assert library.reader.confidence == Confidence(
        values["bias"], tuple(values["weights"].values()), values["threshold"]
    )
