"""A real server in a thread of this process, on a free port."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest
from chat_checkpoint import draw_words, write_checkpoint
from reportlab.pdfgen import canvas

from ragformer.answer.installed import import_model
from ragformer.config import load_settings
from ragformer.library import Library, open_library
from ragformer.serve.app import listen, make_app, make_server
from ragformer.serve.service import ServeLimits, Service
from ragformer.types import Report

CATS = "The cat sleeps eighteen hours a day. It hunts at night near the river."
BOATS = "The ferry leaves at nine from the old harbour. Dogs travel free of charge."
QUESTION = "How long does the cat sleep?"


@dataclass(frozen=True)
class Running:
    """A server: its address, what it is made of, and how it is told to stop."""

    root: str
    service: Service
    stop: Callable[[], None]

    @property
    def url(self) -> str:
        return f"{self.root}/v1"

    @contextlib.contextmanager
    def client(self, key: str = "none") -> Iterator[Any]:
        """The openai package's own client, which tries nothing twice."""
        with openai.OpenAI(base_url=self.url, api_key=key, max_retries=0) as client:
            yield client

    def wait_idle(self) -> None:
        """Until nothing is worked on; pytest's own limit ends the wait."""
        while any(worker.depth for worker in self.service.workers.values()):
            time.sleep(0.01)


@contextlib.contextmanager
def started(token: str = "", passwords: Sequence[str] = (), **limits: Any) -> Iterator[Running]:
    app = make_app(token=token, limits=ServeLimits(**limits), passwords=passwords)
    socket = listen("127.0.0.1", 0)
    root = f"http://127.0.0.1:{socket.getsockname()[1]}"
    server = make_server(app)
    thread = threading.Thread(target=server.run, args=([socket],))
    thread.start()
    while not server.started:
        time.sleep(0.005)
    try:
        yield Running(root, app.state.service, lambda: setattr(server, "should_exit", True))
    finally:
        server.should_exit = True
        thread.join()


def pdf(path: Path, *texts: str) -> Path:
    """A PDF with a page for each text."""
    drawing = canvas.Canvas(str(path), pagesize=(600, 800), invariant=True)
    for text in texts:
        drawing.drawString(60, 700, text)
        drawing.showPage()
    drawing.save()
    return path


@pytest.fixture(scope="session")
def indexed(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose default collection has a file about cats and one about boats."""
    folder = tmp_path_factory.mktemp("served")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAGFORMER_MODELS", str(tiny_models))
        with closing(Library(load_settings(home=folder / "home"))) as library:
            files = [pdf(folder / "cats.pdf", "", CATS), pdf(folder / "boats.pdf", BOATS)]
            *_, report = library.index(files)
    assert isinstance(report, Report)
    return folder / "home"


@pytest.fixture(scope="module", autouse=True)
def served_home(
    indexed: Path, tiny_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A copy of that home for each file of tests, and no other setting of this machine."""
    folder = tmp_path_factory.mktemp("module")
    shutil.copytree(indexed, folder / "home")
    with pytest.MonkeyPatch.context() as patch:
        for variable in [name for name in os.environ if name.startswith(("RAGFORMER_", "OPENAI_"))]:
            patch.delenv(variable)
        patch.setenv("RAGFORMER_HOME", str(folder / "home"))
        patch.setenv("RAGFORMER_MODELS", str(tiny_models))
        patch.setenv("RAGFORMER_THRESHOLD", "0")
        patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        patch.setenv("NO_PROXY", "*")
        patch.chdir(folder)
        yield folder / "home"


@pytest.fixture(scope="module")
def running(served_home: Path) -> Iterator[Running]:
    """A server for all tests of a file."""
    with started() as server:
        yield server


@pytest.fixture(scope="module")
def cats(served_home: Path) -> Iterator[Library]:
    """What the server has in its default collection."""
    with open_library() as library:
        yield library


@pytest.fixture(scope="module")
def imported(served_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a decoder of noise, model qwen, which writes side by side and quotes now and
    then."""
    checkpoint = write_checkpoint(tmp_path_factory.mktemp("qwen"), [CATS, BOATS], 2048)
    with pytest.MonkeyPatch.context() as patch:
        draw_words(patch, 80)
        yield import_model(checkpoint, None, "qwen")[1].folder


@pytest.fixture
def client(running: Running) -> Iterator[Any]:
    with running.client() as opened:
        yield opened
