"""Words of other languages are found with and without accents and spaces; the language is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen import canvas
from small_documents import Index

from ragformer.library import Library
from ragformer.retrieve.words import search_words

GERMAN = (
    "Herr Müller hat die Kündigung für den Mieter nicht mit der Post geschickt,"
    " und auch das Schließfach ist nicht frei, weil der Schlüssel fehlt."
)
FRENCH = (
    "Les élèves et les maîtres sont arrivés à l'école par le métro, et ils ne sont pas"
    " restés dans la forêt avec des naïfs qui mangent."
)
JAPANESE = "東京の人口密度は高い。京都は静かだ。"
CHINESE = "北京的人口密度很高。上海很安静。"


def write(path: Path, text: str, font: str = "Helvetica") -> Path:
    if font != "Helvetica":
        pdfmetrics.registerFont(UnicodeCIDFont(font))
    drawing = canvas.Canvas(str(path))
    drawing.setFont(font, 6)
    drawing.drawString(20, 700, text)
    drawing.save()
    return path


@pytest.mark.parametrize(
    ("text", "font", "language", "words"),
    [
        (GERMAN, "Helvetica", "de", ["Müller", "muller", "MÜLLER", "kundigung", "Schlussel"]),
        (FRENCH, "Helvetica", "fr", ["élèves", "eleves", "foret", "NAÏFS", "metro"]),
        (JAPANESE, "HeiseiMin-W3", "ja", ["人口密度", "京都", "静"]),
        (CHINESE, "STSong-Light", "zh", ["人口密度", "上海"]),
    ],
)
def test_words_are_found_and_the_language_is_told(
    library: Library,
    tmp_path: Path,
    index: Index,
    text: str,
    font: str,
    language: str,
    words: list[str],
) -> None:
    fillers = [write(tmp_path / f"{i}.pdf", f"Otters swim in river {i}.") for i in range(4)]
    path = write(tmp_path / "a.pdf", text, font)
    report = index(library, path, *fillers)
    assert {file.language for file in report.files if file.path == path} == {language}
    (document,) = library.store.documents([str(path)])
    assert document.language == language
    (chunk,) = library.store.query("SELECT id FROM chunks WHERE document_id = ?", document.id)
    for word in words:
        found = search_words(library.store, word, 3)
        assert [key for key, _ in found] == list(chunk), word
