"""What a collection of millions of pages would take, in hours and money, from measured rates.

pages -> core hours to index, disk, memory of the vectors, shards
questions -> core time of one, so questions a second and money for a million

Every number it starts from is a row of `ASSUMPTIONS` with where it comes from (README.md beside
this file has what was measured), and may be given anew; nothing is extrapolated but by
multiplication, which is the model's own assumption.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ragformer.errors import InputError

PAGES = (1_000_000, 10_000_000, 100_000_000)
_SECONDS, _GIB = 3600, 2**30


@dataclass(frozen=True, slots=True)
class Assumption:
    """A number the model starts from, its unit, and where it comes from."""

    value: float
    unit: str
    source: str


# With bm25's counts shared, search by words took 2 to 4 times as long as in one store, at
# 20,000 made-up chunks in 1 and 4 shards on a busy machine.
_QUERY = "bench query, 1,000,000 chunks, one thread"
ASSUMPTIONS = {
    "pages_per_core_s": Assumption(29, "pages/s", "bench index, 59 pages/s on two cores"),
    "chunks_per_page": Assumption(5.8, "chunks", "bench index, 341 chunks/s at 59 pages/s"),
    "efficiency": Assumption(0.85, "share", "the most that the engine may cost, 15 %"),
    "chunks_per_shard": Assumption(1e6, "chunks", "a choice: what the query figures were taken at"),
    "shard_ms": Assumption(359, "core ms", f"{_QUERY}: vectors 23, words 3 times 112"),
    "driver_ms": Assumption(243, "core ms", f"{_QUERY}: fusing and embedding 18; reranking 225"),
    "bytes_per_chunk": Assumption(3900, "bytes", "store.db of 50 PDFs, 962 pages, over its chunks"),
    "memory_per_million": Assumption(265e6, "bytes", "bench query, a million chunks searched"),
    "core_hour": Assumption(0.04, "money", "a choice: a rented virtual core; look yours up"),
    "gib_month": Assumption(0.08, "money", "a choice: a GiB of rented disk for a month"),
    "cores": Assumption(64, "cores", "a choice: how many work at once"),
}


def estimate(pages: int, given: Mapping[str, float] | None = None) -> dict[str, float]:
    """Hours, bytes and money for so many pages; given: numbers in place of those assumed.

    Raises InputError for a number that is not above 0, or of no such name.
    """
    value = {name: assumption.value for name, assumption in ASSUMPTIONS.items()}
    for name, number in (given or {}).items():
        if name not in value:
            raise InputError(f"there is no assumption {name}; there are: {', '.join(value)}")
        if not (math.isfinite(number) and number > 0):
            raise InputError(f"{name} is {number}; it must be above 0")
        value[name] = number
    core_hours = pages / value["pages_per_core_s"] / value["efficiency"] / _SECONDS
    chunks = pages * value["chunks_per_page"]
    shards = math.ceil(chunks / value["chunks_per_shard"])
    core_seconds = (shards * value["shard_ms"] + value["driver_ms"]) / 1000
    disk = chunks * value["bytes_per_chunk"]
    return {
        "chunks": chunks,
        "shards": shards,
        "core_hours": core_hours,
        "hours": core_hours / value["cores"],
        "money": core_hours * value["core_hour"],
        "disk_gib": disk / _GIB,
        "disk_money_month": disk / _GIB * value["gib_month"],
        "memory_gib": chunks / 1e6 * value["memory_per_million"] / _GIB,
        "core_seconds_a_question": core_seconds,
        "questions_per_s": value["cores"] / core_seconds,
        "money_a_million_questions": 1e6 * core_seconds / _SECONDS * value["core_hour"],
    }


def run(given: Mapping[str, float]) -> dict[str, Any]:
    """The assumptions with what was given in their place, and an estimate for each of PAGES."""
    table = {
        name: {
            "value": given.get(name, assumption.value),
            "unit": assumption.unit,
            "source": "given" if name in given else assumption.source,
        }
        for name, assumption in ASSUMPTIONS.items()
    }
    estimates = {f"{pages:,} pages": estimate(pages, given) for pages in PAGES}
    return {"assumptions": table, "estimates": estimates}
