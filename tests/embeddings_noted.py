"""A worker of Ray that notes what it embeds, so that a test can count it, and takes its time.

Set as `worker_process_setup_hook`; NOTED is the file, PAUSE the seconds before each batch, FULL the
folder's name of a shard whose disk has no space left.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from shards_here import full_disk

from ragformer.cluster import index
from ragformer.store import files


def install() -> None:
    load = index._load

    @cache
    def noting(folder: Path | None) -> Any:
        encoder = load(folder)
        plain = encoder.encode
        encoder.encode = lambda texts: _noted(texts, plain(texts))  # type: ignore[method-assign]
        return encoder

    index._load = noting
    files._open = full_disk(os.environ["FULL"])


def _noted(texts: Sequence[str], vectors: Any) -> Any:
    import ray

    note = {"pid": os.getpid(), "texts": list(texts)}
    note["node"] = ray.get_runtime_context().get_node_id()
    note["gpus"] = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    with open(os.environ["NOTED"], "a") as file:  # noqa: PTH123
        file.write(json.dumps(note) + "\n")
    time.sleep(float(os.environ["PAUSE"]))
    return vectors
