"""How true is the text read from PDFs? Ours beside pypdf's and pypdfium2's own, on the same files.

    FOLDER of x.pdf with its true text in x.txt -> three texts a file -> similarity, order errors

Texts are compared as readers may differ without harm: see `comparable`. The two others run in this
process and without limits: measure files you trust.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ragformer.errors import InputError
from ragformer.eval.metrics import mean_metric
from ragformer.eval.result import make_result
from ragformer.pdf.read import read_pdf

FIGURES = ("similarity", "order_errors")
SHINGLE = 4  # words in a row that say where in the text we are
_SOFT_BREAK = re.compile("[\u00ad\ufffe][ \\t]*\\r?\\n?")
_HYPHEN_BREAK = re.compile(r"(\w)-[ \t]*\r?\n(\w)")


def run(folder: Path) -> dict[str, Any]:
    """The result of `make_result` and, by reader, each file's figures ("files") and means ("all").

    Metrics: READER/similarity, READER/order_errors. least_ahead: ours less the better of the
    others, on the file where that is least. Raises InputError for a folder without a pair of files.
    """
    paths = [path for path in sorted(folder.glob("*.pdf")) if path.with_suffix(".txt").is_file()]
    if not paths:
        raise InputError(f"there is no x.pdf with its true text in x.txt in {folder}")
    files = {path.name: compare(path) for path in paths}
    metrics = {
        f"{name}/{figure}": mean_metric([found[name][figure] for found in files.values()])
        for name in READERS
        for figure in FIGURES
    }
    scores = [{name: found[name]["similarity"] for name in READERS} for found in files.values()]
    means = {name: {f: metrics[f"{name}/{f}"].value for f in FIGURES} for name in READERS}
    least = min(score.pop("ours") - max(score.values()) for score in scores)
    found = {"files": files, "all": means, "least_ahead": least}
    return make_result("extract", len(paths), metrics, {}) | found


def compare(path: Path) -> dict[str, dict[str, float]]:
    """FIGURES of each reader's text of `path` against the text beside it."""
    truth = comparable(path.with_suffix(".txt").read_text(encoding="utf-8"))
    found = {}
    for name, read in READERS.items():
        text = comparable(read(path))
        errors = order_errors(text.split(), truth.split())
        found[name] = dict(zip(FIGURES, (similarity(text, truth), float(errors)), strict=True))
    return found


def _ours(path: Path) -> str:
    return "\n".join(page.text for page in read_pdf(path).pages)


def _pypdf(path: Path) -> str:
    import pypdf

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    return "\n".join(page.extract_text() for page in pypdf.PdfReader(path).pages)


def _pypdfium2(path: Path) -> str:
    import pypdfium2

    with pypdfium2.PdfDocument(path) as pdf:
        return "\n".join(page.get_textpage().get_text_range() for page in pdf)


READERS: dict[str, Callable[[Path], str]] = {
    "ours": _ours,
    "pypdf": _pypdf,
    "pypdfium2": _pypdfium2,
}


def comparable(text: str) -> str:
    """NFKC, words joined over line ends, every white space a single space."""
    text = unicodedata.normalize("NFKC", text)
    return " ".join(_HYPHEN_BREAK.sub(r"\1\2", _SOFT_BREAK.sub("", text)).split())


def similarity(one: str, other: str) -> float:
    """Twice the longest common subsequence of characters over both lengths: 1 when equal."""
    try:
        from rapidfuzz.distance import Indel
    except ImportError as error:
        raise InputError(
            "texts are compared by the package rapidfuzz; run: pip install 'ragformer[bench]'"
        ) from error
    return Indel.normalized_similarity(one, other)


def order_errors(words: list[str], truth: list[str]) -> int:
    """How many places of `words` would have to move for the truth's order.

    Of the runs of SHINGLE words that stand once in each, those that follow each other in both are
    one block; the error is the number of blocks that the longest rising sequence leaves out.
    """
    places = _once(words)
    expected = [places[key] for key in _once(truth) if key in places]
    rank = {place: i for i, place in enumerate(sorted(expected))}
    ranks = [rank[place] for place in expected]
    starts = [r for i, r in enumerate(ranks) if i == 0 or r != ranks[i - 1] + 1]
    rising: list[int] = []
    for r in starts:
        at = bisect_left(rising, r)
        rising[at : at + 1] = [r]
    return len(starts) - len(rising)


def _once(words: list[str]) -> dict[tuple[str, ...], int]:
    """Where each run of SHINGLE words starts that stands only once, in order."""
    runs = list(zip(*(words[i:] for i in range(SHINGLE)), strict=False))
    counts = Counter(runs)
    return {key: i for i, key in enumerate(runs) if counts[key] == 1}
