"""Laws of the repository itself: sizes, pins, layers, and what our code may not use."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PACKAGES = [path for path in (ROOT / "ragformer", ROOT / "cli", ROOT / "ui") if path.is_dir()]
SOURCES = [path for package in PACKAGES for path in sorted(package.rglob("*.py"))]
TESTS = sorted((ROOT / "tests").rglob("*.py"))
YARDSTICK = "ragformer/bench/peer.py"
# Where a stray error may be turned into a sentence: the command line's edge and the page's, and
# where the package tokenizers is called, which raises a bare Exception.
ERROR_EDGES = {
    "cli/ragformer_cli/main.py",
    "ui/ragformer_ui/script.py",
    "ragformer/text/checkpoint_tokenizer.py",
}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def nodes(path: Path) -> Iterator[ast.stmt | ast.expr | ast.ExceptHandler]:
    """Everything in a source file that has a line number."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"), path.name)):
        if isinstance(node, ast.stmt | ast.expr | ast.ExceptHandler):
            yield node


def imported(node: ast.AST) -> list[str]:
    """The modules that an import statement names, absolute ones only."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.level == 0:
        return [node.module or ""]
    return []


def requirement_name(line: str) -> str:
    """The normalised project name that a requirement or a pin begins with."""
    found = re.match(r"[A-Za-z0-9._-]+", line)
    assert found, line
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def test_every_module_of_the_library_has_a_layer() -> None:
    contracts = PROJECT["tool"]["importlinter"]["contracts"]
    library = next(contract for contract in contracts if contract.get("containers"))
    layers = {layer.strip(" ()") for row in library["layers"] for layer in row.split("|")}
    children = {
        path.stem
        for path in (ROOT / "ragformer").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    assert children - {"__init__"} <= layers


def test_every_package_is_under_the_layer_contract_and_in_the_wheel() -> None:
    faces = [
        path.parent.name for face in ("cli", "ui") for path in ROOT.glob(f"{face}/*/__init__.py")
    ]
    roots = set(PROJECT["tool"]["importlinter"]["root_packages"])
    assert {"ragformer", *faces} == roots
    shipped = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    assert roots <= {Path(folder).name for folder in shipped}


def test_constraints_pin_every_direct_dependency_exactly_once() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", pin) for pin in pins)
    pinned = [requirement_name(pin) for pin in pins]
    assert len(pinned) == len(set(pinned))
    extras = PROJECT["project"]["optional-dependencies"]
    direct = {requirement_name(line) for line in PROJECT["project"]["dependencies"] + extras["dev"]}
    assert direct <= set(pinned)


def test_no_file_in_git_is_larger_than_48_mib() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: nothing to measure")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    files = [ROOT / line for line in listed.split("\0") if line]
    assert files
    assert [name(f) for f in files if f.is_file() and f.stat().st_size > 48 * 2**20] == []


def test_the_models_are_ours_from_the_first_layer_on() -> None:
    """No `transformers` but where it is measured beside us, and none of torch's ready-made
    transformer modules."""
    borrowed = [
        f"{name(path)}:{node.lineno}"
        for path in SOURCES
        for node in nodes(path)
        if (
            name(path) != YARDSTICK
            and any(module.split(".")[0] == "transformers" for module in imported(node))
        )
        or (
            isinstance(node, ast.Attribute)
            and re.match(r"Transformer(En|De|$)|Multihead", node.attr)
        )
    ]
    assert borrowed == []


def test_only_the_edges_catch_every_exception() -> None:
    broad = [
        f"{name(path)}:{node.lineno}"
        for path in SOURCES
        if name(path) not in ERROR_EDGES
        for node in nodes(path)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or getattr(node.type, "id", "") == "Exception")
    ]
    assert broad == []


def test_files_and_functions_stay_readable() -> None:
    long_files = [name(p) for p in SOURCES + TESTS if len(p.read_text("utf-8").splitlines()) > 400]
    assert long_files == []
    long_functions = [
        f"{name(path)}:{node.lineno} {node.name}"
        for path in SOURCES + TESTS
        for node in nodes(path)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= 60
    ]
    assert long_functions == []


def test_the_make_targets_that_are_promised_exist() -> None:
    text = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z]+):", text, re.M))
    assert {"demo", "test", "check", "soak", "bench"} <= targets
    assert set(re.findall(r"^# make ([a-z]+)", text, re.M)) <= targets
