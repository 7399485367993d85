"""The README's pictures: the page on the sample PDFs, with the weights we ship.

python tests/browser/screenshots.py FOLDER
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from browser.running import launch, running_page
from playwright.sync_api import Browser, Page, expect, sync_playwright

ROOT = Path(__file__).parents[2]
PDFS = ROOT / "tests" / "samples" / "pdfs"
MODELS = Path(os.environ.get("RAGFORMER_MODELS", ROOT / "models"))
ANSWERED = "How long is the warranty on the Cassia 3?"
DECLINED = "Which planet has the most moons?"


def main(folder: Path) -> None:
    """Write a PNG of each main state into `folder`."""
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ragformer-screens-") as temporary:
        home = Path(temporary) / "home"
        program = Path(sys.executable).with_name("ragformer")
        environment = os.environ | {"RAGFORMER_HOME": str(home)}
        papers = shutil.copytree(PDFS, Path(temporary) / "papers")
        subprocess.run([program, "index", papers], env=environment, check=True)
        log = Path(temporary) / "log"
        with (
            running_page(home, MODELS, log) as base,
            sync_playwright() as playwright,
            launch(playwright) as browser,
        ):
            draw(browser, base, folder)


def draw(browser: Browser, base: str, folder: Path) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(f"{base}/?collection=empty")
    expect(page.get_by_text("Add PDFs, then ask")).to_be_visible()
    _shot(page, folder / "first-visit.png")
    page.goto(base)
    _ask(page, ANSWERED)
    page.get_by_role("button", name="Source 1").click()
    expect(page.locator(".page rect")).not_to_have_count(0)
    _shot(page, folder / "answer.png")
    for layer in ("Pages", "Matches"):
        page.get_by_role("button", name=layer, exact=True).click()
    expect(page.locator(".thumbs img")).not_to_have_count(0)
    expect(page.locator(".page rect.heat")).not_to_have_count(0)
    _shot(page, folder / "matches.png")
    for layer in ("Pages", "Matches"):
        page.get_by_role("button", name=layer, exact=True).click()
        page.wait_for_timeout(1000)
    _explain(page, folder)
    _ask(page, DECLINED)
    _shot(page, folder / "declined.png")
    chat = page.url
    page.goto(f"{base}/documents")
    page.get_by_test_id("stDataFrame").click(position={"x": 15, "y": 125})
    expect(page.get_by_role("button", name="Remove")).to_be_visible()
    _shot(page, folder / "documents.png")
    _evaluate(page, base, folder)
    phone = browser.new_context(
        viewport={"width": 390, "height": 844}, color_scheme="dark", device_scale_factor=2
    ).new_page()
    phone.goto(chat)
    expect(phone.locator(".answer")).to_have_count(2)
    _shot(phone, folder / "phone.png")
    phone.get_by_role("button", name="Source 1").first.click()
    expect(phone.locator(".page img")).to_be_visible()
    _shot(phone, folder / "phone-page.png")


def _explain(page: Page, folder: Path) -> None:
    """How the answer was found, kept as a question for the evaluation."""
    page.get_by_role("button", name="Close").click()
    expect(page.locator(".page")).to_have_count(0)
    page.get_by_role("button", name="How it was found").click()
    page.get_by_role("radio", name="Attention").click()
    chart = page.get_by_test_id("stVegaLiteChart")
    expect(chart).to_be_visible()
    chart.scroll_into_view_if_needed()
    _shot(page, folder / "attention.png")
    page.get_by_role("button", name="Keep as a test question").click()
    expect(page.get_by_text("Kept for the evaluation")).to_be_visible()
    page.get_by_role("button", name="Hide", exact=True).click()


def _evaluate(page: Page, base: str, folder: Path) -> None:
    page.goto(f"{base}/evaluation")
    page.get_by_role("button", name="Ask them all").click()
    expect(page.get_by_text("From the second time on")).to_be_visible()
    page.get_by_role("button", name="Ask them all").click()
    expect(page.get_by_test_id("stVegaLiteChart")).to_be_visible()
    _shot(page, folder / "evaluation.png")


def _ask(page: Page, question: str) -> None:
    n = page.locator(".answer").count()
    field = page.get_by_test_id("stChatInputTextArea")
    field.fill(question)
    field.press("Enter")
    expect(page.locator(".answer")).to_have_count(n + 1)


def _shot(page: Page, path: Path) -> None:
    page.mouse.move(0, 0)
    page.wait_for_timeout(1500)  # for what moves into place
    page.screenshot(path=path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
