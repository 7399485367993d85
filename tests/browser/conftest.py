"""One page and one browser for all tests; each test has a collection of its own."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from browser.running import CHROMIUM, WAIT_MS, launch, running_page
from playwright.sync_api import Browser, Page, expect, sync_playwright

from ragformer.answer.confidence import FEATURES, OWN_CONFIDENCE, Confidence
from ragformer.library import Library, open_library


@dataclass
class Visit:
    """A tab on a collection; `asked_for` is every address that it asked for anything."""

    page: Page
    base: str
    collection: str
    asked_for: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(WAIT_MS)
        self.page.on("request", lambda request: self.asked_for.append(request.url))

    def open(self, where: str = "") -> Page:
        self.page.goto(f"{self.base}/{where}?collection={self.collection}")
        return self.page

    def ask(self, question: str) -> None:
        """Type the question and wait until its answer is whole."""
        n = self.page.locator(".answer").count()
        field = self.page.get_by_test_id("stChatInputTextArea")
        field.fill(question)
        field.press("Enter")
        expect(self.page.locator(".answer")).to_have_count(n + 1)


def _collection(request: pytest.FixtureRequest) -> str:
    """A name for the test's own collection."""
    return re.sub(r"\W+", "-", request.node.name)[:60]


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory, tiny_models: Path
) -> Iterator[tuple[str, Path, Path]]:
    """The page's address, its home and its models."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: the page is not looked at in a browser")
    folder = tmp_path_factory.mktemp("page")
    with running_page(folder / "home", tiny_models, folder / "log") as base:
        yield base, folder / "home", tiny_models


@pytest.fixture(scope="module")
def browser(place: object) -> Iterator[Browser]:
    """Chromium for these tests alone: Playwright's event loop runs in this thread until it ends,
    and no other test could run one of its own."""
    with sync_playwright() as playwright, launch(playwright) as opened:
        yield opened


@pytest.fixture
def visit(
    place: tuple[str, Path, Path], browser: Browser, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Visit]]:
    """visit(width=1280, height=800): a new tab on this test's collection."""
    with browser.new_context(accept_downloads=True) as context:

        def make(width: int = 1280, height: int = 800) -> Visit:
            page = context.new_page()
            page.set_viewport_size({"width": width, "height": height})
            return Visit(page, place[0], _collection(request))

        yield make


@pytest.fixture
def filled(
    place: tuple[str, Path, Path],
    request: pytest.FixtureRequest,
    index: Callable[..., object],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., Library]]:
    """filled(*paths, declines=False): this test's collection, indexed in this process.

    declines: whatever it is asked, it is not sure enough.
    """
    for variable in [name for name in os.environ if name.startswith("RAGFORMER_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("RAGFORMER_MODELS", str(place[2]))
    with open_library(_collection(request), place[1]) as library:

        def fill(*paths: Path, declines: bool = False) -> Library:
            index(library, *paths)
            if declines:
                never = json.loads(Confidence(0.0, (0.0,) * len(FEATURES), 1.0).to_json())
                never["decoder"] = library.reader.id
                (library.folder / OWN_CONFIDENCE).write_text(json.dumps(never))
            return library

        yield fill
