"""Kill the indexer anywhere: what is there is whole, and the next run ends as if nothing happened.

`make soak` kills at every single step and at 200 instants, the gate at every kind of step once and
at 20 instants.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from killing import Job, Killer

from ragformer.store.chats import Chats
from ragformer.store.store import Store
from ragformer.types import Answer

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")

SAMPLES = Path(__file__).parent / "samples" / "pdfs"
SOAK = settings.default is not None and settings.default.max_examples > 1000
INSTANTS = 200 if SOAK else 20
OTHER = "ba9876543210"  # an encoder
# Where each kind of step is killed. One that is nowhere here, or is here and never come to, fails a
# test below.
STEPS: dict[str, list[str]] = {
    "new": [
        "PRAGMA journal_mode",
        "CREATE",
        "ALTER TABLE documents",
        "ALTER TABLE paths",
        "ALTER TABLE failures",
        "INSERT INTO meta",
        "PRAGMA user_version",
    ],
    "changed": [
        "take",
        "hold",
        "file_hash",
        "detect_language",
        "split_pages",
        "embed",
        "is_as_seen",
        "BEGIN",
        "DELETE FROM pages",
        "DELETE FROM outline",
        "DELETE FROM chunks",
        "INSERT INTO documents",
        "INSERT INTO pages",
        "INSERT INTO chunks",
        "INSERT INTO vectors",
        "INSERT INTO paths",
        "INSERT INTO failures",
        "DELETE FROM paths",
        "DELETE FROM failures",
        "DELETE FROM documents",
        "DELETE FROM titles",
        "DELETE FROM turns",
        "REPLACE INTO draft_pages",
        "REPLACE INTO draft_vectors",
        "DELETE FROM draft_pages",
        "DELETE FROM draft_vectors",
        "UPDATE meta SET",
        "INSERT INTO chunk_words",
        "INSERT INTO chunk_grams",
        "COMMIT",
        "committed",
        "PRAGMA wal_checkpoint(TRUNCATE)",
    ],
    "cut anew": ["DELETE FROM chunks", "INSERT INTO vectors", "UPDATE documents SET"],
    "other encoder": ["INSERT INTO vectors", "COMMIT", "DELETE FROM vectors"],
}
# These change nothing in the file.
NO_STEPS = {"PRAGMA temp_store", "PRAGMA synchronous", "PRAGMA secure_delete"}
NO_STEPS |= {"PRAGMA foreign_keys", "PRAGMA 'main'.data_version"}


@dataclass(frozen=True)
class Scenario:
    """A run to kill: from the home `before`, and what it leaves in `after` when nobody does."""

    job: Job
    before: Path
    after: Path
    counts: Counter[str]
    seconds: float

    def start(self, home: Path) -> Job:
        """The job on a copy of the home it starts from."""
        if self.before.exists():
            shutil.copytree(self.before, home)
        return Job(**{**vars(self.job), "home": str(home)})


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    with Killer() as running:
        yield running


@pytest.fixture(scope="module")
def scenarios(killer: Killer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Scenario]:
    folder = tmp_path_factory.mktemp("scenarios")
    docs = folder / "docs"
    write_texts(docs)
    made = {"new": undisturbed(killer, folder, "new", Job("", str(docs)))}
    after = made["new"].after
    anew = Job("", str(docs), {"rechunk": True})
    made["cut anew"] = undisturbed(killer, folder, "cut anew", anew, after)
    other = Job("", str(docs), {"reembed": True}, OTHER)
    made["other encoder"] = undisturbed(killer, folder, "other encoder", other, after)
    changed = folder / "changed docs"
    shutil.copytree(docs, changed)
    before = folder / "before the change"
    assert killer.run(Job(str(before), str(changed))) == 0
    add_chats(before)
    change_texts(changed)
    pruned = Job("", str(changed), {"prune": True})
    made["changed"] = undisturbed(killer, folder, "changed", pruned, before)
    return made


def write_texts(docs: Path) -> None:
    docs.mkdir()
    for name in ("edited", "moved", "deleted", "spoiled", "same"):
        (docs / f"{name}.pdf").write_text(
            f"Of {name} cats.\fPage two: {name} dogs.\f人口密度{name}"
        )
    (docs / "long.pdf").write_text("\f".join(f"Page {n} of a long one." for n in range(8)))
    (docs / "bad.pdf").write_text("bad")
    (docs / "mended.pdf").write_text("bad as yet")
    shutil.copy(docs / "same.pdf", docs / "twin.pdf")
    settle(docs, 2)


def settle(docs: Path, hours: int) -> None:
    """Let the files be that old: those changed just now are looked at again by a second run."""
    for path in docs.iterdir():
        then = path.stat().st_ctime - 3600 * hours
        os.utime(path, (then, then))


def change_texts(docs: Path) -> None:
    (docs / "edited.pdf").write_text("Of edited birds.\fIt is another text now.")
    (docs / "moved.pdf").rename(docs / "found again.pdf")
    (docs / "deleted.pdf").unlink()
    (docs / "spoiled.pdf").write_text("bad from now on")
    (docs / "mended.pdf").write_text("It can be read now.")
    (docs / "new.pdf").write_text("A new one.\fOf two pages.")
    (docs / "long.pdf").write_text("\f".join(f"Page {n} of another." for n in range(9)))
    settle(docs, 1)


def add_chats(home: Path) -> None:
    """A chat drawn from each document."""
    folder = home / "collections" / "default"
    with Store.open(folder) as store:
        for passage in store.passages([(key, 0.0) for key in store.chunk_ids()]):
            said = ("What?", passage.text, (), (passage,), 0.9, False, None, "local", "m")
            Chats(folder).add(Answer(*said))


def undisturbed(
    killer: Killer, folder: Path, name: str, job: Job, before: Path | None = None
) -> Scenario:
    """Run the job to its end, on a copy of `before`, noting its steps and how long it takes."""
    before, after, steps = before or folder / "nothing", folder / name, folder / f"{name}.steps"
    scenario = Scenario(job, before, after, Counter(), 0.0)
    start = time.monotonic()
    assert killer.run(Job(**{**vars(scenario.start(after)), "steps": str(steps)})) == 0
    seconds = time.monotonic() - start
    return Scenario(job, before, after, Counter(steps.read_text().splitlines()), seconds)


def opened(home: Path) -> Store:
    return Store.open(home / "collections" / "default")


def columns(home: Path) -> tuple[object, dict[Any, Any]]:
    """Every column of every table but row ids and times, with what is indexed and the chats; and
    the vectors by their chunk."""
    with opened(home) as store:
        found = store.query(
            "SELECT name, sql LIKE '%VIRTUAL%' FROM sqlite_schema"
            " WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
        )
        virtual = [name for name, is_virtual in found if is_virtual]
        tables: dict[str, list[str]] = {}
        vectors = {}
        for table, _ in found:
            if not any(table == name or table.startswith(f"{name}_") for name in virtual):
                kept = list(rows(store, table))
                for row in kept:
                    if "vector" in row:
                        blob = row.pop("vector")
                        vectors[table, str(row)] = np.frombuffer(blob, "<f4")
                tables[table] = sorted(map(str, kept))
        for name in virtual:
            store.query(f"CREATE VIRTUAL TABLE temp.v_{name} USING fts5vocab(main, {name}, row)")
            tables[name] = sorted(map(str, store.query(f"SELECT * FROM temp.v_{name}")))
        chats = [Chats(store.folder).turns(number) != [] for number in range(1, 20)]
    return (tables, chats), vectors


def rows(store: Store, table: str) -> Iterator[dict[str, Any]]:
    """The rows of a table without ids and times; a chunk is its document's nth."""
    chunks = store.query("SELECT id, document_id, ordinal FROM chunks")
    place = {key: (document, n) for key, document, n in chunks}
    names = [row[1] for row in store.query(f"PRAGMA table_info({table})")]
    for values in store.query(f"SELECT * FROM {table}"):
        row = dict(zip(names, values, strict=True))
        row.pop("added_at", None)
        if table == "chunks":
            del row["id"]
        if "chunk_id" in row:
            row["chunk_id"] = place[row["chunk_id"]]
        if row.get("key") != "generation":  # the number of writes
            yield row


def assert_sound(home: Path) -> None:
    """As `ragformer doctor --check` finds; no collection at all is as sound."""
    if (home / "collections" / "default" / "store.db").exists():
        with opened(home) as store:
            assert store.check() == []


def assert_ends_alike(killer: Killer, job: Job, whole: Path) -> None:
    """After a kill all is sound; the next run leaves what an undisturbed one left."""
    home = Path(job.home)
    assert_sound(home)
    assert killer.run(Job(**{**vars(job), "kill_at": None, "kill_after": None})) == 0
    assert_sound(home)
    (found, vectors), (wanted, wanted_vectors) = columns(home), columns(whole)
    assert found == wanted
    assert vectors.keys() == wanted_vectors.keys()
    for key, vector in vectors.items():
        other = wanted_vectors[key]
        cosine = vector @ other / np.linalg.norm(vector) / np.linalg.norm(other)
        assert cosine > 0.999


def test_every_step_is_killed_somewhere(scenarios: dict[str, Scenario]) -> None:
    come_to = set().union(*(scenario.counts for scenario in scenarios.values()))
    listed = {step for steps in STEPS.values() for step in steps}
    assert come_to - NO_STEPS == listed
    for name, steps in STEPS.items():
        assert set(steps) <= scenarios[name].counts.keys()


@pytest.mark.parametrize(
    ("name", "step"), [(n, step) for n, steps in STEPS.items() for step in steps]
)
def test_killed_at_a_step(
    killer: Killer, scenarios: dict[str, Scenario], tmp_path: Path, name: str, step: str
) -> None:
    scenario = scenarios[name]
    n = scenario.counts[step]
    for at in range(1, n + 1) if SOAK else [(n + 1) // 2]:
        job = scenario.start(tmp_path / f"home {at}")
        killed = Job(**{**vars(job), "kill_at": (step, at)})
        assert killer.run(killed) == -signal.SIGKILL
        assert_ends_alike(killer, killed, scenario.after)


@pytest.fixture(scope="module")
def real(killer: Killer, tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    """Real PDFs and the real reader: one edited, one moved, one deleted, one new."""
    folder = tmp_path_factory.mktemp("real")
    docs = folder / "docs"
    docs.mkdir()
    first, second, third, new, *_ = sorted(SAMPLES.glob("*.pdf"))
    shutil.copy(first, docs / "edited.pdf")
    shutil.copy(second, docs / "moved.pdf")
    shutil.copy(third, docs / "deleted.pdf")
    settle(docs, 2)
    before = folder / "before"
    assert killer.run(Job(str(before), str(docs), real=True)) == 0
    add_chats(before)
    shutil.copy(third, docs / "edited.pdf")
    (docs / "moved.pdf").rename(docs / "found again.pdf")
    (docs / "deleted.pdf").unlink()
    shutil.copy(new, docs / "new.pdf")
    settle(docs, 1)
    job = Job("", str(docs), {"prune": True, "rechunk": True}, real=True)
    return undisturbed(killer, folder, "after", job, before)


@pytest.mark.parametrize("number", range(INSTANTS))
def test_killed_at_an_instant(killer: Killer, real: Scenario, tmp_path: Path, number: int) -> None:
    after = (number + random.Random(None if SOAK else number).random()) / INSTANTS * real.seconds
    job = real.start(tmp_path / "home")
    killed = Job(**{**vars(job), "kill_after": after})
    assert killer.run(killed) in {0, -signal.SIGKILL}
    assert_ends_alike(killer, killed, real.after)
