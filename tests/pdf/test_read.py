"""Reading real PDFs through real child processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pypdf
import pytest

from ragformer.errors import PasswordError, PdfError
from ragformer.pdf import sandbox
from ragformer.pdf.child import Child, ChildDiedError
from ragformer.pdf.read import Limits, PdfText, read_pdf, read_pdfs
from ragformer.types import Page, Word

MakePdf = Callable[..., Path]
Rewrite = Callable[[Path, str, Callable[[pypdf.PdfWriter], None]], Path]

TO_UNICODE = b"""/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /X def
/CMapType 2 def 1 begincodespacerange <00> <FF> endcodespacerange
2 beginbfchar <41> <D83DDE00> <42> <FB01> endbfchar endcmap end end"""


def words_of(page: Page) -> dict[str, Word]:
    return {page.text[word.start : word.end]: word for word in page.words}


def test_text_and_boxes(make_pdf: MakePdf) -> None:
    path = make_pdf("a.pdf", [[(100, 700, 20, "Hello brave world"), (100, 650, 10, "small")], []])
    read = read_pdf(path)
    assert [page.number for page in read.pages] == [1, 2]
    assert [page.status for page in read.pages] == ["text", "empty"]
    page = read.pages[0]
    assert page.text == "Hello brave world\nsmall"
    assert read.reader == "pdfium"
    hello, world = words_of(page)["Hello"], words_of(page)["world"]
    # Helvetica's "Hello" is 2.278 em wide; the baseline is 100 points below the top.
    assert (hello.x0, hello.x1) == pytest.approx((100, 100 + 20 * 2.278), abs=1)
    assert hello.y0 < 100 - 14
    assert 100 <= hello.y1 < 110
    assert world.y0 == hello.y0
    assert world.x0 > hello.x1
    assert words_of(page)["small"].y1 - words_of(page)["small"].y0 == pytest.approx(
        (hello.y1 - hello.y0) / 2, abs=0.5
    )


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_boxes_of_a_turned_page_are_as_displayed(
    make_pdf: MakePdf, rewrite: Rewrite, turn: int
) -> None:
    lines = [(50, 700 - 30 * i, 12, f"line{i} of the page") for i in range(5)]
    path = make_pdf("a.pdf", [lines])
    turned = rewrite(path, "b.pdf", lambda writer: void(writer.pages[0].rotate(turn)))
    plain, page = read_pdf(path).pages[0], read_pdf(turned).pages[0]
    assert page.text == plain.text
    for text, word in words_of(page).items():
        x0, y0, x1, y1 = words_of(plain)[text].box
        expected = {
            90: (800 - y1, x0, 800 - y0, x1),
            180: (600 - x1, 800 - y1, 600 - x0, 800 - y0),
            270: (y0, 600 - x1, y1, 600 - x0),
        }[turn]
        assert word.box == pytest.approx(expected, abs=0.02)


def void(_: object) -> None:
    """pypdf's changes return things; a change must not."""


def test_boxes_start_at_the_crop_box(make_pdf: MakePdf, rewrite: Rewrite) -> None:
    path = make_pdf("a.pdf", [[(100, 700, 20, "Hello")]])

    def crop(writer: pypdf.PdfWriter) -> None:
        writer.pages[0].cropbox.lower_left = (40, 30)
        writer.pages[0].cropbox.upper_right = (500, 750)

    x0, y0, x1, y1 = read_pdf(path).pages[0].words[0].box
    cropped = read_pdf(rewrite(path, "b.pdf", crop)).pages[0].words[0].box
    assert cropped == pytest.approx((x0 - 40, y0 - 50, x1 - 40, y1 - 50), abs=0.02)


def test_words_beside_the_page_are_no_text_of_it(make_pdf: MakePdf, rewrite: Rewrite) -> None:
    """A spread cut in two: the same drawing under two crop boxes, and under a third without words.

    Turned, as such pages are.
    """
    lines = [
        (40, 700, 12, "Left of the fold"),
        (340, 700, 12, "right of it"),
        (40, 650, 12, "Down"),
    ]
    path = make_pdf("a.pdf", [lines] * 3)

    def crop(writer: pypdf.PdfWriter) -> None:
        for page, (x0, x1) in zip(writer.pages, ((0, 300), (300, 600), (500, 600)), strict=True):
            page.cropbox.lower_left, page.cropbox.upper_right = (x0, 0), (x1, 800)
            page.rotate(90)

    pages = read_pdf(rewrite(path, "b.pdf", crop)).pages
    assert [page.text for page in pages] == ["Left of the fold\nDown", "right of it", ""]
    assert [page.status for page in pages] == ["text", "text", "empty"]
    for page in pages[:2]:
        assert all(0 < w.x0 < w.x1 < 800 and 0 < w.y0 < w.y1 < 300 for w in page.words)
        assert [page.text[w.start : w.end] for w in page.words] == page.text.split()


def test_characters_beyond_the_usual_keep_boxes_in_step(one_page: Callable[..., Path]) -> None:
    content = b"BT /F1 20 Tf 100 700 Td (xA yo) Tj 0 -30 Td (oBce end) Tj ET"
    page = read_pdf(one_page("a.pdf", content, TO_UNICODE)).pages[0]
    assert page.text == "x\U0001f600 yo\nofice end"
    found = words_of(page)
    assert found["ofice"].x0 == 100
    assert found["end"].x0 > found["ofice"].x1
    assert found["yo"].x0 > found["x\U0001f600"].x1 - 1


def test_right_to_left_words_are_in_the_order_they_are_read(one_page: Callable[..., Path]) -> None:
    hebrew = TO_UNICODE.replace(b"D83DDE00", b"05D0").replace(b"FB01", b"05D1")
    drawn = b"BT /F1 20 Tf 100 700 Td (BA one) Tj ET "  # from the left, so the last letter first
    told = b"/Span <</ActualText <FEFF05D005D105D005D1>>> BDC BT /F1 20 Tf 100 600 Td (x) Tj ET EMC"
    page = read_pdf(one_page("a.pdf", drawn + told, hebrew)).pages[0]
    assert page.text.split() == ["\u05d0\u05d1", "one", "\u05d0\u05d1\u05d0\u05d1"]


def test_a_footnotes_mark_is_no_part_of_the_word_and_other_digits_are(
    one_page: Callable[..., Path],
) -> None:
    raised, lowered = (
        b"/F1 6 Tf %d Ts (%s) Tj 0 Ts /F1 12 Tf",
        b"/F1 6 Tf -3 Ts (2) Tj 0 Ts /F1 12 Tf",
    )
    parts = [
        b"(The result) Tj",
        raised % (5, b"3"),
        b"( of Smith) Tj",
        raised % (5, b"1,2"),
        b"( on 12 cm) Tj",
        raised % (5, b"2"),
        b"( water) Tj",
        lowered,
        b"( by model7 and sin) Tj",
        raised % (5, b"2"),
        b"0 -600 Td",
        raised % (4, b"3"),
        b"(See there) Tj",
    ]
    page = read_pdf(
        one_page("a.pdf", b"BT /F1 12 Tf 60 700 Td " + b" ".join(parts) + b" ET")
    ).pages[0]
    said = "The result 3 of Smith 1,2 on 12 cm2 water2 by model7 and sin2 3 See there"
    assert page.text.split() == said.split()
    found = words_of(page)
    assert found["1,2"].x0 >= found["Smith"].x1 - 0.1
    assert found["1,2"].y1 - found["1,2"].y0 < found["Smith"].y1 - found["Smith"].y0
    assert found["See"].y0 > found["result"].y1 + 500


def test_text_of_unknown_characters_is_no_text(one_page: Callable[..., Path]) -> None:
    private = TO_UNICODE.replace(b"D83DDE00", b"E001").replace(b"FB01", b"E002")
    page = read_pdf(one_page("a.pdf", b"BT /F1 20 Tf 100 700 Td (ABBA) Tj ET", private)).pages[0]
    assert (page.status, page.text, page.words) == ("empty", "", ())
    assert page.reason == "its fonts do not say which characters they show"


def test_what_a_pdf_would_run_is_not_run(
    make_pdf: MakePdf, rewrite: Rewrite, tmp_path: Path
) -> None:
    path = make_pdf("a.pdf", [[(100, 700, 12, "quiet")]])
    trace = tmp_path / "trace"
    name, text = pypdf.generic.NameObject, pypdf.generic.TextStringObject
    launch = {name("/S"): name("/Launch"), name("/F"): text(f"touch {trace}")}
    script = {name("/S"): name("/JavaScript"), name("/JS"): text("while (true) app.alert(1);")}

    def arm(writer: pypdf.PdfWriter) -> None:
        writer.add_attachment("evil.sh", f"touch {trace}".encode())
        writer.root_object[name("/OpenAction")] = pypdf.generic.DictionaryObject(launch)
        opened = {name("/O"): pypdf.generic.DictionaryObject(script)}
        writer.pages[0][name("/AA")] = pypdf.generic.DictionaryObject(opened)

    read = read_pdf(rewrite(path, "armed.pdf", arm))
    assert [page.text for page in read.pages] == ["quiet"]
    assert not trace.exists()


def test_outline_labels_and_title(make_pdf: MakePdf, rewrite: Rewrite) -> None:
    path = make_pdf("a.pdf", [[(100, 700, 12, f"page {i}")] for i in range(4)], title="A Fine Book")

    def change(writer: pypdf.PdfWriter) -> None:
        top = writer.add_outline_item(title="First\x00 Part", page_number=1)
        writer.add_outline_item(title="Inner", page_number=2, parent=top)
        writer.add_outline_item(title="Second", page_number=3)
        writer.add_metadata({"/Author": " Ida\x00 Holm"})
        writer.set_page_label(0, 1, style="/r")
        writer.set_page_label(2, 3, style="/D", start=1)

    read = read_pdf(rewrite(path, "b.pdf", change))
    assert [(item.level, item.title, item.page) for item in read.outline] == [
        (0, "First Part", 2),
        (1, "Inner", 3),
        (0, "Second", 4),
    ]
    assert [page.label for page in read.pages] == ["i", "ii", "1", "2"]
    assert (read.title, read.author) == ("A Fine Book", "Ida Holm")


@pytest.mark.parametrize("algorithm", ["RC4-40", "RC4-128", "AES-128", "AES-256"])
def test_passwords(make_pdf: MakePdf, rewrite: Rewrite, algorithm: str) -> None:
    path = make_pdf("a.pdf", [[(100, 700, 12, "secret words")]])
    locked = rewrite(path, "l.pdf", lambda w: w.encrypt("user", "owner", algorithm=algorithm))
    with pytest.raises(PasswordError, match=r"^l\.pdf is encrypted and needs a password"):
        read_pdf(locked)
    with pytest.raises(PasswordError, match="does not open"):
        read_pdf(locked, "wrong")
    assert read_pdf(locked, "user").pages[0].text == "secret words"
    assert read_pdf(locked, "owner").pages[0].text == "secret words"
    against_editing = rewrite(path, "e.pdf", lambda w: w.encrypt("", "owner", algorithm=algorithm))
    assert read_pdf(against_editing).pages[0].text == "secret words"


def test_pypdf_reads_where_pdfium_cannot_open(shared_data: Path, tmp_path: Path) -> None:
    """This one's owner password is empty, which pdfium does not try."""
    import tarfile

    with tarfile.open(shared_data / "robust" / "files.tar.xz") as archive:
        member = next(m for m in archive if m.name.endswith("r6-user-password.pdf"))
        source = archive.extractfile(member)
        assert source is not None
        (tmp_path / "r6.pdf").write_bytes(source.read())
    read = read_pdf(tmp_path / "r6.pdf")
    assert read.reader == "pypdf"
    assert read.pages[0].status == "text"
    assert read.pages[0].words == ()


BAD_FILES = {
    "empty.pdf": b"",
    "image.pdf": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "cut.pdf": b"%PDF-1.4\n1 0 obj\n<</Type /Cat",
    "page.pdf": b"<html>not found</html>",
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_is_no_pdf_is_one_plain_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(BAD_FILES[name])
    with pytest.raises(PdfError, match=rf"^{name} is (empty|not a PDF, or too damaged)[^\n]+$"):
        read_pdf(tmp_path / name)


def test_paths_that_are_no_file(tmp_path: Path) -> None:
    (tmp_path / "folder.pdf").mkdir()
    (tmp_path / "loop.pdf").symlink_to(tmp_path / "loop.pdf")
    (tmp_path / "dangling.pdf").symlink_to(tmp_path / "nothing")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.pdf")
    names = {path.name for path in tmp_path.iterdir()} | {"missing.pdf"}
    for name in names:
        with pytest.raises(PdfError, match=r"cannot be opened|not a file"):
            read_pdf(tmp_path / name)


def test_hostile_names_are_only_names(make_pdf: MakePdf) -> None:
    for name in ("a\nb $(touch x) <b>.pdf", "😀.pdf", os.fsdecode(b"caf\xe9.pdf"), "-rf.pdf"):
        assert read_pdf(make_pdf(name, [[(100, 700, 12, "fine")]])).pages[0].text == "fine"


def test_bad_files_cost_their_neighbours_nothing(make_pdf: MakePdf, tmp_path: Path) -> None:
    paths = [make_pdf(f"{i}.pdf", [[(100, 700, 12, f"text {i}")]]) for i in range(6)]
    bad = [tmp_path / name for name in BAD_FILES]
    for path in bad:
        path.write_bytes(BAD_FILES[path.name])
    mixed = [path for pair in zip(paths, bad * 2, strict=False) for path in pair]
    found = list(read_pdfs(mixed, workers=2))
    assert sorted(path for path, _ in found) == sorted(mixed)
    for path, read in found:
        if path in bad:
            assert isinstance(read, PdfError)
        else:
            assert isinstance(read, PdfText)
            assert read.pages[0].text == f"text {path.stem}"


def test_given_passwords_serve_every_file(make_pdf: MakePdf, rewrite: Rewrite) -> None:
    path = make_pdf("a.pdf", [[(100, 700, 12, "secret")]])
    one = rewrite(path, "1.pdf", lambda w: w.encrypt("one", algorithm="AES-128"))
    two = rewrite(path, "2.pdf", lambda w: w.encrypt("two", algorithm="AES-256"))
    for _, read in read_pdfs([one, two, path], 1, passwords=["one", "two"]):
        assert isinstance(read, PdfText)
        assert read.pages[0].text == "secret"


def test_a_page_over_the_time_limit_fails_alone(make_pdf: MakePdf) -> None:
    slow = [(1, 799 - i / 100, 1, f"word{i} word word word") for i in range(60_000)]
    path = make_pdf("slow.pdf", [[(9, 700, 12, "one")], slow, [(9, 700, 12, "three")]])
    read = read_pdf(path, limits=Limits(page_seconds=0.5))
    assert [page.status for page in read.pages] == ["text", "failed", "text"]
    assert "took longer than 0.5 s" in read.pages[1].reason
    assert read.pages[2].text == "three"


def test_more_text_than_is_taken_fails_alone(
    make_pdf: MakePdf, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["short", "rather too long", "short", "short"]
    path = make_pdf("a.pdf", [[(9, 700, 12, text)] for text in texts])
    monkeypatch.setattr(sandbox, "PAGE_CHARS", 10)
    monkeypatch.setattr(sandbox, "FILE_CHARS", 25)
    reading = sandbox._Reading({"path": str(path), "passwords": [], "pdfium": True})
    frames = [reading.page(number)[0] for number in range(1, 5)]
    reading.close()
    assert [frame["status"] for frame in frames] == ["text", "failed", "text", "failed"]
    assert [frame["text"] for frame in frames] == ["short", "", "short", ""]
    assert frames[1]["reason"] == "it has 15 characters and at most 10 are taken"
    assert frames[3]["reason"] == "the file has more than the 25 characters that are taken"


def test_a_killed_child_is_replaced(make_pdf: MakePdf) -> None:
    path = make_pdf("a.pdf", [[(100, 700, 12, f"page {i}")] for i in range(3000)])
    request = {"path": str(path), "passwords": [], "first": 1, "gentle": [], "pdfium": True}
    with Child(Limits()) as child:
        frames = child.ask(request)
        next(frames)
        assert child.pid is not None
        os.kill(child.pid, 9)
        with pytest.raises(ChildDiedError, match="signal 9"):
            list(frames)
        assert len(list(child.ask(request))) == 3002


def test_leaving_early_leaves_no_child(make_pdf: MakePdf) -> None:
    paths = [make_pdf(f"{i}.pdf", [[(100, 700, 12, "x")]] * 2000) for i in range(4)]
    stream = read_pdfs(paths, workers=2)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    if sys.platform.startswith("linux"):
        assert not [said for said in commands_of_children() if b"ragformer.pdf.sandbox" in said]


def commands_of_children() -> list[bytes]:
    """On Linux; looked up again where a thread or a child ends meanwhile."""
    while True:
        try:
            tasks = Path("/proc/self/task").iterdir()
            children = [pid for task in tasks for pid in (task / "children").read_text().split()]
            return [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children]
        except (FileNotFoundError, ProcessLookupError):
            continue


def test_the_child_imports_nothing_heavy() -> None:
    code = "import sys, ragformer.pdf.sandbox; print(*sys.modules)"
    path = os.pathsep.join(sys.path)
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "pypdfium2" in run.stdout.split()
    assert not {"torch", "faiss", "numpy", "streamlit", "sentencepiece"} & set(run.stdout.split())
