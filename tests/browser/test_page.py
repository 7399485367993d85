"""The page in a real browser: what a person does, and what they then see."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect
from protocol_server import chunk, events, serving, stream

from ragformer.library import Library
from ragformer.store.questions import Questions

WritePdf = Callable[..., Path]
CATS = "The cat sleeps eighteen hours a day and hunts at night near the river."
TAX = "Annual tax returns are due on 31 October at the district office."
BAIT = (
    "<script>window.bitten = 1</script> <img src=http://evil.example/a.png onerror=bitten=1>"
    " ![x](http://evil.example/b.png) [y](http://evil.example/c) cats"
)


def test_first_visit(visit: Any) -> None:
    tab = visit()
    page = tab.open()
    expect(page.get_by_text("Add PDFs, then ask a question")).to_be_visible()
    expect(page.get_by_test_id("stChatInput")).to_have_count(0)
    page.get_by_role("link", name="Add documents").click()
    expect(page.get_by_text("There is nothing here yet")).to_be_visible()
    assert all(url.startswith((tab.base, "data:", "blob:")) for url in tab.asked_for)


def test_upload(visit: Any, write_pdf: WritePdf) -> None:
    """Two good files and a broken one between them."""
    good = [write_pdf("cats.pdf", CATS), write_pdf("tax.pdf", TAX)]
    broken = good[0].with_name("broken.pdf")
    broken.write_bytes(b"%PDF-1.7 and nothing more")
    page = visit().open("documents")
    page.locator("input[type=file]").set_input_files([good[0], broken, good[1]])
    expect(page.get_by_text("Done: 2 added, 1 failed.")).to_be_visible()
    expect(page.get_by_text("2 documents, 2 pages, 1 file that could not be read")).to_be_visible()
    expect(page.get_by_test_id("stAlert").filter(has_text="broken.pdf")).to_be_visible()


def test_ask(visit: Any, filled: Callable[..., Library], write_pdf: WritePdf) -> None:
    """The answer's mark opens its page, where the store's boxes are outlined."""
    library = filled(write_pdf("cats.pdf", TAX, CATS, TAX), write_pdf("tax.pdf", TAX))
    tab = visit()
    page = tab.open()
    tab.ask("How long does the cat sleep?")
    (turn,) = library.chats.turns(1)
    (citation,) = turn.citations
    expect(page.locator(".answer .quote")).to_contain_text(citation.quote)
    page.get_by_role("button", name="Source 1").click()
    boxes = page.locator(".page rect")
    expect(boxes).to_have_count(len(citation.boxes))
    shown = [box.get_attribute("data-box").split(",") for box in boxes.all()]
    assert [[float(v) for v in box] for box in shown] == [
        [round(v, 2) for v in box] for box in citation.boxes
    ]
    _over_the_words(page, citation.boxes[0])
    expect(page.get_by_text(f"{citation.path.name}, page {citation.page} of")).to_be_visible()
    assert all(url.startswith((tab.base, "data:", "blob:")) for url in tab.asked_for)
    media = [url for url in tab.asked_for if url.startswith(f"{tab.base}/media/")]
    assert [url for url in media if ".svg" not in url] == [], "the image has no address of its own"


def _over_the_words(page: Any, box: tuple[float, float, float, float]) -> None:
    """The first outline lies where its points (of a page of 600 by 800) are on the screen."""
    outline = page.locator(".page rect").first
    for _ in range(50):
        # Both at one instant: the page slides as the column beside it opens.
        left, top, width, height = outline.evaluate(
            """rect => {
                const frame = rect.getRootNode().querySelector(".page img").getBoundingClientRect();
                const drawn = rect.getBoundingClientRect();
                return [drawn.x - frame.x, drawn.y - frame.y, frame.width, frame.height];
            }"""
        )
        scale = width / 600
        there = [(box[0] - 1) * scale, (box[1] - 1) * scale, 800 * scale]
        if [left, top, height] == pytest.approx(there, abs=2):
            return
        page.wait_for_timeout(100)
    assert [left, top, height] == pytest.approx(there, abs=2)


def test_turn_pages(visit: Any, filled: Callable[..., Library], write_pdf: WritePdf) -> None:
    library = filled(write_pdf("cats.pdf", TAX, CATS, TAX))
    tab = visit()
    page = tab.open()
    tab.ask("How long does the cat sleep?")
    page.get_by_role("button", name="Source 1").click()
    number = library.chats.turns(1)[0].citations[0].page
    expect(page.locator(".page rect")).not_to_have_count(0)
    page.get_by_role("button", name="Previous page" if number > 1 else "Next page").click()
    expect(page.get_by_text(f"page {number - 1 if number > 1 else 2} of 3")).to_be_visible()
    expect(page.locator(".page rect")).to_have_count(0)
    page.get_by_role("button", name="Back to the quote").click()
    expect(page.locator(".page rect")).not_to_have_count(0)
    width = page.locator(".page img").bounding_box()["width"]
    page.get_by_role("button", name="Larger").click()
    assert page.locator(".page img").bounding_box()["width"] > 1.2 * width
    page.keyboard.press("Escape")
    expect(page.locator(".page")).to_have_count(0)


def test_not_in_them(visit: Any, filled: Callable[..., Library], write_pdf: WritePdf) -> None:
    filled(write_pdf("cats.pdf", CATS, ""), declines=True)
    tab = visit()
    page = tab.open()
    tab.ask("Which planet has the most moons?")
    answer = page.locator(".answer")
    expect(answer).to_contain_text("That is not in your documents")
    expect(answer).to_contain_text("1 of 2 pages of cats.pdf has no text")
    expect(answer).to_contain_text("Read for this: 1 passage of 1 document.")
    expect(answer.locator(".mark")).to_have_count(0)


def test_follow_up(visit: Any, filled: Callable[..., Library], write_pdf: WritePdf) -> None:
    library = filled(write_pdf("cats.pdf", CATS))
    tab = visit()
    page = tab.open()
    tab.ask("How long does the cat sleep?")
    field = page.get_by_test_id("stChatInputTextArea")
    field.focus()
    field.press("ArrowUp")
    expect(field).to_have_value("How long does the cat sleep?")
    tab.ask("and where does it hunt?")
    assert "cat" in library.chats.turns(1)[1].searched_as
    expect(page.locator(".answer").last).to_contain_text("Searched as")


def test_stop(visit: Any, filled: Callable[..., Library], write_pdf: WritePdf) -> None:
    """A server that falls silent in the middle; what it had said is kept, and asked for again."""
    library = filled(write_pdf("cats.pdf", CATS))
    quote = f'Eighteen hours: "{CATS}" [1]'
    tab = visit()
    page = tab.open()
    with serving() as server:
        server.replies = [events(chunk(quote), chunk(" And"), wait=True), stream(quote)]
        _choose_server(page, server.url)
        field = page.get_by_test_id("stChatInputTextArea")
        field.fill("How long does the cat sleep?")
        field.press("Enter")
        expect(page.get_by_text(f"Eighteen hours: “{CATS}”")).to_be_visible()
        page.get_by_role("button", name="Stop").click()
        expect(page.locator(".answer")).to_contain_text("Stopped by you before it was finished.")
        (turn,) = library.chats.turns(1)
        assert (turn.stopped, turn.answer.startswith("Eighteen hours")) == (True, True)
        page.get_by_role("button", name="Ask again").click()
        expect(page.locator(".answer .foot")).to_contain_text("Written by small-v2")
        (turn,) = library.chats.turns(1)
        assert (turn.stopped, [c.verified for c in turn.citations]) == (False, [True])
        page.get_by_role("button", name="Source 1").first.click()
        expect(page.locator(".page rect.quote")).not_to_have_count(0)
    assert all(url.startswith((tab.base, "data:", "blob:")) for url in tab.asked_for)


def _choose_server(page: Any, url: str) -> None:
    page.locator(".st-key-model button").first.click()
    page.get_by_text("A server that speaks the OpenAI protocol").click()
    page.get_by_label("Base URL").fill(url)
    page.get_by_label("API key", exact=True).fill("typed-here")
    page.get_by_role("button", name="Use it").click()
    expect(page.get_by_role("button", name="Model: http")).to_be_visible()
    page.keyboard.press("Escape")


def test_more_of_the_page(visit: Any, filled: Callable[..., Library], write_pdf: WritePdf) -> None:
    """Small pages to turn to, the words that matched, the file in a tab of its own."""
    library = filled(write_pdf("cats.pdf", CATS, TAX, TAX))
    tab = visit()
    page = tab.open()
    tab.ask("How long does the cat sleep?")
    page.get_by_role("button", name="Source 1").click()
    expect(page.locator(".page rect.quote")).not_to_have_count(0)
    page.get_by_role("button", name="Matches").click()
    expect(page.locator(".page rect.heat")).not_to_have_count(0)
    assert page.locator(".page rect.heat").count() <= len(CATS.split())
    page.get_by_role("button", name="Pages", exact=True).click()
    expect(page.locator(".thumbs img")).to_have_count(3)
    quoted = library.chats.turns(1)[0].citations[0].page
    expect(page.get_by_role("button", name=f"Page {quoted}, quoted")).to_have_attribute(
        "aria-current", "page"
    )
    page.get_by_role("button", name="Page 3", exact=False).click()
    expect(page.get_by_text("cats.pdf, page 3 of 3")).to_be_visible()
    with page.expect_popup() as waiting:
        page.get_by_role("button", name="Open in a tab").click()
    assert waiting.value.url.startswith(f"blob:{tab.base}/")
    assert waiting.value.url.endswith("#page=3")


def test_encrypted(visit: Any, write_pdf: WritePdf) -> None:
    """The password is asked for in the page: to index the file, and in another tab to show it."""
    locked = write_pdf("locked.pdf", CATS, password="word")
    tab = visit()
    page = tab.open("documents")
    page.locator("input[type=file]").set_input_files([locked])
    expect(page.get_by_text("locked.pdf is encrypted.")).to_be_visible()
    page.get_by_label("Its password", exact=True).fill("word")
    page.get_by_role("button", name="Open it").click()
    expect(page.get_by_text("Done: 1 added.")).to_be_visible()
    page = tab.open()
    tab.ask("How long does the cat sleep?")
    page.get_by_role("button", name="Source 1").click()
    page.get_by_label("Password", exact=True).fill("wurd")
    page.get_by_label("Password", exact=True).press("Enter")
    expect(page.get_by_text("That password does not open it.")).to_be_visible()
    page.get_by_label("Password", exact=True).fill("word")
    page.get_by_label("Password", exact=True).press("Enter")
    expect(page.locator(".page rect.quote")).not_to_have_count(0)


def test_evaluation(visit: Any, filled: Callable[..., Library], write_pdf: WritePdf) -> None:
    """A question kept from an answer is asked again, with the page it quoted."""
    library = filled(write_pdf("cats.pdf", CATS))
    tab = visit()
    page = tab.open()
    tab.ask("How long does the cat sleep?")
    page.get_by_role("button", name="How it was found").click()
    page.get_by_role("radio", name="Attention").click()
    expect(page.get_by_test_id("stVegaLiteChart")).to_be_visible()
    page.get_by_role("button", name="Keep as a test question").click()
    expect(page.get_by_text("Kept for the evaluation")).to_be_visible()
    tab.open("evaluation")
    for n in (1, 2):
        page.get_by_role("button", name="Ask them all").click()
        expect(page.get_by_test_id("stMetric").first).to_contain_text("100%")
        expect(page.get_by_test_id("stVegaLiteChart")).to_have_count(n - 1)
    assert len(Questions(library.folder).runs()) == 2
    assert all(url.startswith((tab.base, "data:", "blob:")) for url in tab.asked_for)


def test_one_file(visit: Any, filled: Callable[..., Library], write_pdf: WritePdf) -> None:
    library = filled(write_pdf("cats.pdf", CATS), write_pdf("tax.pdf", TAX))
    tab = visit()
    page = tab.open()
    page.get_by_test_id("stMultiSelect").locator("input").fill("tax")
    page.get_by_role("option", name="tax.pdf").click()
    page.keyboard.press("Escape")
    tab.ask("How long does the cat sleep?")
    (turn,) = library.chats.turns(1)
    assert [citation.path.name for citation in turn.citations] == ["tax.pdf"]


def test_remove(visit: Any, filled: Callable[..., Library], write_pdf: WritePdf) -> None:
    """A document goes with the chats drawn from it; a chat goes alone."""
    library = filled(write_pdf("cats.pdf", CATS))
    tab = visit()
    page = tab.open()
    tab.ask("How long does the cat sleep?")
    page.get_by_role("button", name="New chat").click()
    expect(page.locator(".answer")).to_have_count(0)
    tab.ask("Where does the cat hunt?")
    page.locator(".st-key-chat-head button").first.click()
    page.get_by_role("button", name="Delete this chat").click()
    page.locator(".st-key-delete-chat-yes button").click()
    expect(page.locator(".st-key-chat-2")).to_have_count(0)
    assert [chat.number for chat in library.chats.listed()] == [1]
    page = tab.open("documents")
    page.get_by_test_id("stDataFrame").click(position={"x": 15, "y": 55})
    page.get_by_role("button", name="Remove").click()
    page.locator(".st-key-remove-yes button").click()
    expect(page.get_by_text("There is nothing here yet")).to_be_visible()
    assert library.store.documents() == []
    assert library.chats.listed() == []


def test_save(visit: Any, filled: Callable[..., Library], write_pdf: WritePdf) -> None:
    filled(write_pdf("cats.pdf", CATS))
    tab = visit()
    page = tab.open()
    tab.ask("How long does the cat sleep?")
    page.locator(".st-key-chat-head button").first.click()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save as JSON").click()
    chat = json.loads(Path(waiting.value.path()).read_text())
    assert chat["turns"][0]["citations"][0]["verified"] is True


def test_reload(visit: Any, filled: Callable[..., Library], write_pdf: WritePdf) -> None:
    filled(write_pdf("cats.pdf", CATS))
    tab, other = visit(), visit()
    page = tab.open()
    tab.ask("How long does the cat sleep?")
    page.reload()
    expect(page.locator(".answer .quote")).to_be_visible()
    second = other.open()  # two tabs at once, each with a chat of its own
    other.ask("Where does the cat hunt?")
    tab.ask("and at what time?")
    expect(second.locator(".answer")).to_have_count(1)
    expect(page.locator(".answer")).to_have_count(2)


def test_bait(visit: Any, filled: Callable[..., Library], write_pdf: WritePdf) -> None:
    path = write_pdf("bait.pdf", BAIT)
    path = path.rename(path.with_name("![z](http:evil.example) <b>bait.pdf"))
    filled(path, write_pdf("cats.pdf", CATS))
    tab = visit()
    page = tab.open()
    tab.ask(BAIT)
    page.get_by_role("button", name="Source 1").click()
    expect(page.locator(".page img")).to_be_visible()
    tab.open("documents")
    expect(page.get_by_text("2 documents")).to_be_visible()
    assert page.evaluate("window.bitten") is None
    assert [url for url in tab.asked_for if "evil" in url] == []
    assert page.locator("a[href*=evil], img[src*=evil], script[src*=evil]").count() == 0


@pytest.mark.parametrize("where", ["", "documents"])
def test_phone(visit: Any, filled: Callable[..., Library], write_pdf: WritePdf, where: str) -> None:
    filled(write_pdf("cats.pdf", CATS))
    tab = visit(390, 844)
    page = tab.open(where)
    if not where:
        tab.ask("How long does the cat sleep?")
        page.get_by_role("button", name="Source 1").click()
        expect(page.locator(".page img")).to_be_in_viewport()
    else:
        expect(page.get_by_text("1 document, 1 page")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    links = page.locator(".st-key-links")
    expect(links.get_by_role("link", name="Documents")).to_be_visible()


@pytest.mark.parametrize("width", [767, 768])  # Streamlit's own names go between these
def test_the_pages_are_named_once_at_any_width(visit: Any, width: int) -> None:
    page = visit(width).open()
    expect(page.get_by_text("Add PDFs, then ask")).to_be_visible()
    above = page.get_by_role("banner").get_by_role("link", name="Documents")
    expect(above).to_have_count(int(width == 768))
    expect(page.locator(".st-key-links")).to_be_visible(visible=width == 767)
