"""A worker of Ray that notes what it embeds, so that a test can count it, and takes its time.

Set as `worker_process_setup_hook`; NOTED is the file, PAUSE the seconds before each batch.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from typing import Any


def install() -> None:
    from ragformer.retrieve.embed import Encoder

    plain = Encoder.encode

    def encode(self: Encoder, texts: Sequence[str]) -> Any:
        vectors = plain(self, texts)
        with open(os.environ["NOTED"], "a") as file:  # noqa: PTH123
            file.write(json.dumps({"pid": os.getpid(), "texts": list(texts)}) + "\n")
        time.sleep(float(os.environ["PAUSE"]))
        return vectors

    Encoder.encode = encode  # type: ignore[method-assign]
