"""Index a folder of hard files as users do, and check that none does harm: `make robust`.

    python tests/robust.py FOLDER       with files.tar.xz and manifest.jsonl, or PDFs of any kind

Besides the files, FOLDER's copy gets what an archive cannot hold: loops of links, a pipe, a folder
named x.pdf, a file nobody may read, one that grows and one that goes while the others are read.
Exits 1 when a run fails, a file is not accounted for, fewer pages are read than the manifest says
that pypdf or pypdfium2 reads, or the store has faults.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

RAGFORMER = Path(sys.executable).with_name("ragformer")
SECONDS = 1800.0


def main(source: Path) -> int:
    with TemporaryDirectory(prefix="ragformer-robust-") as work:
        docs = Path(work) / "docs"
        copy_files(source, docs)
        make_oddities(docs)
        env = {**os.environ, "RAGFORMER_HOME": f"{work}/home"}
        done = threading.Event()
        restless = threading.Thread(target=change_files, args=(docs, done))
        restless.start()
        start = time.perf_counter()
        try:
            run = ragformer("index", str(docs), "--json", env=env)
        finally:
            done.set()
            restless.join()
        seconds = time.perf_counter() - start
        if run.returncode:
            print(f"FAULT index ended with {run.returncode}: {run.stderr[-500:]}")
            return 1
        files = json.loads(run.stdout)["files"]
        faults = find_faults(docs, files, expected_pages(source))
        check = ragformer("doctor", "--check", env=env)
        faults += [f"doctor: {check.stdout[-500:]}"] * (check.returncode != 0)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        counts = Counter(file["status"] for file in files)
        print(f"{len(files)} files: {dict(counts)}, in {seconds:.0f} s, {peak:.0f} MiB")
        for fault in faults:
            print(f"FAULT {fault!a}")
        return int(bool(faults))


def ragformer(*words: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [RAGFORMER, *words], env=env, capture_output=True, text=True, timeout=SECONDS, check=False
    )


def copy_files(source: Path, docs: Path) -> None:
    docs.mkdir()
    archive = source / "files.tar.xz"
    if archive.is_file():
        with tarfile.open(archive) as opened:
            opened.extractall(docs, filter="data")
    else:
        shutil.copytree(source, docs, dirs_exist_ok=True)


def make_oddities(docs: Path) -> None:
    (docs / "loop.pdf").symlink_to(docs / "loop.pdf")
    (docs / "dangling.pdf").symlink_to(docs / "nowhere.pdf")
    (docs / "around").symlink_to(docs)
    (docs / "x.pdf").mkdir()
    os.mkfifo(docs / "pipe.pdf")
    secret = docs / "secret.pdf"
    secret.write_bytes(b"%PDF-1.4")
    secret.chmod(0)
    for name in ("grows.pdf", "goes.pdf"):
        (docs / name).write_bytes(b"%PDF-1.4\n")


def change_files(docs: Path, done: threading.Event) -> None:
    """One file grows and another comes and goes, as long as the indexer runs."""
    comes_and_goes = docs / "goes.pdf"
    while not done.wait(0.02):
        with (docs / "grows.pdf").open("ab") as file:
            file.write(b"% more and more\n")
        if comes_and_goes.exists():
            comes_and_goes.unlink()
        else:
            comes_and_goes.write_bytes(b"%PDF-1.4\n")


def expected_pages(source: Path) -> dict[str, int]:
    """By file name, how many pages the better of pypdf and pypdfium2 reads, where it finds text."""
    manifest = source / "manifest.jsonl"
    if not manifest.is_file():
        return {}
    rows = map(json.loads, manifest.read_text(encoding="utf-8").splitlines())
    return {
        row["file"]: max(
            told.get("read", 0) if told.get("chars") else 0
            for told in (row["pypdf"], row["pypdfium2"])
        )
        for row in rows
    }


def find_faults(docs: Path, files: list[dict[str, Any]], pages: dict[str, int]) -> list[str]:
    """What should not be: a file left out, failed without a reason, or with fewer pages read."""
    told = {Path(file["path"]): file for file in files}
    passing = {"goes.pdf", "pipe.pdf", "loop.pdf", "dangling.pdf"}
    faults = []
    for path in sorted(docs.rglob("*")):
        of_a_kind = path.suffix.lower() == ".pdf" and path.is_file() and path.name not in passing
        if of_a_kind and path.absolute() not in told:
            faults.append(f"{path.name} is not accounted for")
    for path, file in told.items():
        if file["status"] == "failed" and not file["reason"]:
            faults.append(f"{path.name} failed without a reason")
        if file["pages"] < pages.get(path.name, 0):
            faults.append(f"{path.name}: {file['pages']} of {pages[path.name]} pages")
    return faults


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
