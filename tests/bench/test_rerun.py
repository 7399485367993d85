"""A second run does what has changed, and the bench says so."""

from __future__ import annotations

import json

from ragformer.bench import rerun
from ragformer.pdf.read import read_pdf


def test_unchanged_files_cost_no_page_and_an_edited_one_its_own(home):
    result = rerun.run(3, repeats=2)
    assert result["first"]["files"] == {"added": 3}
    assert result["first"]["pages_read"] == 3 * rerun.PAGES
    unchanged, edited = result["unchanged"], result["one edited"]
    assert (unchanged["pages_read"], unchanged["chunks_embedded"]) == (0, 0)
    assert unchanged["files"] == {"unchanged": 3}
    assert (edited["pages_read"], edited["files"]) == (rerun.PAGES, {"replaced": 1, "unchanged": 2})
    assert 0 < edited["chunks_embedded"] < result["first"]["chunks_embedded"]
    assert unchanged["seconds"]["low"] > 0
    assert json.loads(json.dumps(result)) == result
    assert not home.exists()


def test_a_made_up_file_is_a_whole_pdf(tmp_path):
    path = tmp_path / "a.pdf"
    path.write_bytes(rerun.small_pdf(41, 7))
    read = read_pdf(path)
    assert (read.reader, len(read.pages)) == ("pdfium", rerun.PAGES)
    assert read.pages[1].text.split("\n")[2].strip() == "41 made 289 parts in week 3 of 7."
