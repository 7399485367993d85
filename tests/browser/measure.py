"""How fast the page is: until it can be used, until an answer begins and ends, and at each click.

python tests/browser/measure.py [DOCUMENTS]

On a collection of that many made documents (1,000), asked with the weights we ship. Of a click it
also tells the computing, of server and browser together, as other work on the machine only moves
the time on the clock.
"""

from __future__ import annotations

import hashlib
import os
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from browser.running import launch, running_page
from playwright.sync_api import CDPSession, Locator, Page, expect, sync_playwright

from ragformer.library import open_library
from ragformer.retrieve.embed import load_encoder
from ragformer.store.store import Store
from ragformer.types import Chunk, Document, Span
from ragformer.types import Page as StoredPage

MODELS = Path(os.environ.get("RAGFORMER_MODELS", Path(__file__).parents[2] / "models"))
RUNS = 7
# From a click until the script has run to its end, in milliseconds.
_RERUN = """
element => new Promise(resolve => {
  const app = document.querySelector('[data-testid=stApp]');
  const start = performance.now();
  new MutationObserver((_, observer) => {
    if (app.getAttribute('data-test-script-state') !== 'notRunning') return;
    observer.disconnect();
    resolve(performance.now() - start);
  }).observe(app, { attributeFilter: ['data-test-script-state'] });
  setTimeout(() => resolve(null), 5000);  // the two states came in one change that nobody saw
  element.click();
})
"""


def fill(home: Path, n: int) -> None:
    """A collection of n documents of one page each."""
    encoder = load_encoder(MODELS / "encoder")
    texts = [
        f"The guarantee of machine number {i} lasts {i % 60 + 2} months from the day of its sale."
        for i in range(n)
    ]
    vectors_ND = encoder.encode(texts)
    with (
        open_library(home=home) as library,
        Store.open(library.folder, create=True) as store,
    ):
        for i, text in enumerate(texts):
            key = hashlib.sha256(text.encode()).hexdigest()
            path = Path(f"/papers/machine-{i:04}.pdf")
            document = Document(key, f"Machine {i}", (path,), 1, datetime.now(UTC))
            chunk = Chunk(0, (), text, (Span(1, 0, len(text)),), 20)
            pages = [StoredPage(1, "1", text)]
            store.add_document(document, pages, [chunk], vectors_ND[i : i + 1], encoder.id)


def seconds_to_open(page: Page, url: str) -> tuple[float, float]:
    """Until something of it is painted, and until a question can be typed."""
    start = time.perf_counter()
    page.goto(url)
    expect(page.get_by_test_id("stChatInputTextArea")).to_be_enabled()
    usable = time.perf_counter() - start
    painted = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    return painted / 1000, usable


def seconds_to_answer(page: Page, question: str) -> tuple[float, float]:
    """Until its first words stand there, and until it is whole."""
    n = page.locator(".answer").count()
    field = page.get_by_test_id("stChatInputTextArea")
    field.fill(question)
    said = page.get_by_test_id("stChatMessage").last.get_by_test_id("stText")
    start = time.perf_counter()
    field.press("Enter")
    expect(page.get_by_test_id("stChatMessage")).to_have_count(2 * n + 2)
    expect(said.or_(page.locator(".answer").nth(n)).first).to_be_visible()
    first = time.perf_counter() - start
    expect(page.locator(".answer")).to_have_count(n + 1)
    return first, time.perf_counter() - start


def ms_to_rerun(page: Page, button: Locator) -> tuple[float, float]:
    """Of clicks on it: median on the clock, and of computing."""
    server = _below(os.getpid())
    browser = page.context.new_cdp_session(page)
    browser.send("Performance.enable")
    times, computed = [], []
    for _ in range(RUNS):
        before = _computed(browser, server)
        took = button.evaluate(_RERUN)
        page.wait_for_timeout(500)
        if took is not None:
            times.append(took)
            computed.append(_computed(browser, server) - before)
    return statistics.median(times), statistics.median(computed)


def _computed(browser: CDPSession, server: list[int]) -> float:
    """Milliseconds of computing so far: of the tab's main thread and of the server."""
    metrics = {m["name"]: m["value"] for m in browser.send("Performance.getMetrics")["metrics"]}
    ticks = sum(sum(map(int, _stat(process)[11:13])) for process in server)
    return 1000 * (metrics["TaskDuration"] + ticks / os.sysconf("SC_CLK_TCK"))


def _below(process: int) -> list[int]:
    """The processes of Python that it has started, and those below them."""
    found = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()]
    children = [p for p in found if _stat(p)[1] == str(process) and _is_python(p)]
    return [q for p in children for q in (p, *_below(p))]


def _is_python(process: int) -> bool:
    return "python" in os.readlink(f"/proc/{process}/exe")  # noqa: PTH115 (as text)


def _stat(process: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; none for one that has ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return [""] * 20


def main(n: int) -> None:
    with tempfile.TemporaryDirectory(prefix="ragformer-measure-") as temporary:
        home = Path(temporary) / "home"
        fill(home, n)
        log = Path(temporary) / "log"
        with (
            running_page(home, MODELS, log) as base,
            sync_playwright() as playwright,
            launch(playwright) as browser,
        ):
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            print(f"{n} documents")
            print(
                "first visit of a new server: painted {:.2f} s, usable {:.2f} s".format(
                    *seconds_to_open(page, base)
                )
            )
            visits = [seconds_to_open(page, base) for _ in range(RUNS)]
            painted, usable = (statistics.median(times) for times in zip(*visits, strict=True))
            print(f"later visits: painted {painted:.2f} s, usable {usable:.2f} s")
            page.wait_for_timeout(3000)  # the models load meanwhile
            answers = [
                seconds_to_answer(page, f"How long is the guarantee of machine number {i}?")
                for i in range(1, RUNS + 1)
            ]
            first, whole = (statistics.median(times) for times in zip(*answers, strict=True))
            print(f"first words: median {first:.2f} s; whole answer: median {whole:.2f} s")
            page.goto(f"{base}/documents")
            expect(page.get_by_test_id("stDataFrame")).to_be_visible()
            page.wait_for_timeout(2000)
            filters = page.get_by_test_id("stButtonGroup").get_by_role("radio")
            _tell("a click in the list", ms_to_rerun(page, filters.first))
            page.goto(base)
            expect(page.get_by_test_id("stChatInputTextArea")).to_be_enabled()
            page.wait_for_timeout(2000)
            _tell("a new chat", ms_to_rerun(page, page.get_by_role("button", name="New chat")))


def _tell(what: str, took: tuple[float, float]) -> None:
    print(f"{what}: median {took[0]:.0f} ms, {took[1]:.0f} ms of it computing")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
