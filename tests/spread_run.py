"""A short decoder run whose losses are written down; `together` starts several as torchrun would.

python tests/spread_run.py CONFIG.json LOSSES.json
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from ragformer.train import decoder, loop
from ragformer.train.spread import Spread


def run(config: decoder.Config, written: Path) -> None:
    """In float32: in bfloat16 a sum of gradients is rounded as often as there are processes."""
    losses: list[float] = []
    plain = Spread.train_step

    def noted(self: Spread, *values: Any) -> float:
        losses.append(plain(self, *values))
        return losses[-1]

    with (
        patch.object(decoder, "bf16", lambda device: nullcontext()),
        patch.object(Spread, "train_step", noted),
        patch.object(loop, "matmul_peak", partial(loop.matmul_peak, size=32, times=2)),
    ):
        for _ in decoder.main(config):
            pass
    written.with_suffix(f".{os.environ.get('RANK', '0')}").write_text(json.dumps(losses))


def together(config: dict[str, Any], folder: Path, n: int) -> list[list[float]]:
    """The losses that each of n processes saw; n = 1 is this process."""
    folder.mkdir(exist_ok=True)
    if n == 1:
        run(decoder.Config(**config), folder / "losses")
        return [json.loads((folder / "losses.0").read_text())]
    (folder / "config.json").write_text(json.dumps(config, default=str))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    running = []
    for rank in range(n):
        torchrun = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(n)}
        torchrun |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "t"}
        environment = {**os.environ, **torchrun}
        command = [sys.executable, __file__, str(folder / "config.json"), str(folder / "losses")]
        running.append(subprocess.Popen(command, env=environment))
    assert [process.wait(240) for process in running] == [0] * n
    return [json.loads((folder / f"losses.{rank}").read_text()) for rank in range(n)]


if __name__ == "__main__":
    values = json.loads(Path(sys.argv[1]).read_text())
    paths = {name: Path(values[name]) for name in ("data", "out", "work")}
    run(decoder.Config(**{**values, **paths}), Path(sys.argv[2]))
