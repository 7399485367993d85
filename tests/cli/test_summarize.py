"""summarize and calibrate: what is printed, and what is said where there is nothing to print."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ragformer_cli.train import calibrated_text

from ragformer.eval.calibrate import Point
from ragformer.train.calibrate import Calibrated, Side

WritePdf = Callable[..., Path]
Ragformer = Callable[..., Any]
OTTER = "The otter sleeps in a den by the river. It hunts for fish at night, alone."


def test_every_sentence_is_printed_with_its_page(ragformer: Ragformer, write_pdf: WritePdf) -> None:
    path = write_pdf("otters.pdf", OTTER, "", "The falcon lives on a cliff high above the sea.")
    ragformer("index", path)
    ran = ragformer("summarize", "otters.pdf")
    assert ran.code == 0
    assert ran.out.startswith("otters (3 pages, 1 without text)")
    for quote, page in {OTTER.split(" It")[0]: 1, "It hunts for fish at night, alone.": 1}.items():
        assert f"“{quote}” page {page}\n" in ran.out
    assert "“The falcon lives on a cliff high above the sea.” page 3\n" in ran.out
    assert ran.err == "not read: 1 of 3 pages: 2\n"
    form = ragformer("summarize", "otters.pdf", "--sentences", "2", "--json").json
    fields = ["path", "document_id", "title", "pages", "sentences", "unread_pages", "written"]
    assert (list(form), form["written"]) == (fields, None)
    assert (form["pages"], form["unread_pages"], len(form["sentences"])) == (3, [2], 2)
    for said in form["sentences"]:
        page = ragformer("show", f"otters.pdf:{said['page']}", "--json").json
        assert page["text"][said["start"] : said["end"]] == said["quote"]


def test_a_document_without_text_is_told_so(ragformer: Ragformer, write_pdf: WritePdf) -> None:
    ragformer("index", write_pdf("scan.pdf", ""))
    ran = ragformer("summarize", "scan.pdf")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("ragformer: scan.pdf has no sentence to quote: 1 of its 1 pages")


def test_calibrating_a_small_collection_or_undoing_nothing_is_one_sentence(
    ragformer: Ragformer, write_pdf: WritePdf
) -> None:
    ragformer("index", write_pdf("otters.pdf", OTTER))
    ran = ragformer("calibrate")
    assert (ran.code, ran.out) == (1, "")
    assert "has 1 documents in English and it takes 2 or more" in ran.err
    assert ragformer("calibrate", "--undo", "--json").json == {"status": "unchanged"}
    assert "nothing to undo" in ragformer("calibrate", "--undo").out


def test_the_table_shows_both_confidences_at_the_same_coverage() -> None:
    before = Side((Point(0.5, 0.6, 0.4, 0.3), Point(0.1, 1.0, 0.7, 0.0)), 0.2)
    after = Side((Point(0.7, 0.6, 0.1, 0.9), Point(0.2, 1.0, 0.6, None)), 0.05)
    chosen = Point(0.7, 0.6, 0.1, 0.9)
    done = Calibrated("kept", 0.2, 80, 40, before, after, chosen, 1.0)
    lines = calibrated_text(done).splitlines()
    assert lines[0] == "40 questions held out, of 80"
    assert lines[3].split() == ["0.60", "0.40", "0.10", "0.30", "0.90"]
    assert lines[4].split()[:3] == ["1.00", "0.70", "0.60"]
    assert lines[5].split() == ["calibration", "error", "0.200", "0.050"]
    assert "from a confidence of 0.700 on it answers; 10% of those answers are wrong" in lines[6]
