"""A short run of a recipe whose losses are written down; `together` starts several as torchrun
would.

python tests/spread_run.py RECIPE CONFIG.json LOSSES.json
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

from ragformer.train import decoder, encoder, loop
from ragformer.train.spread import Spread

RECIPES: dict[str, Any] = {"decoder": decoder, "encoder": encoder}


def run(name: str, config: dict[str, Any], written: Path) -> None:
    """In float32: in bfloat16 a sum of gradients is rounded as often as there are processes."""
    recipe = RECIPES[name]
    losses: list[float] = []
    plain = Spread.update

    def noted(self: Spread, *values: Any) -> float:
        losses.append(plain(self, *values))
        return losses[-1]

    with (
        patch.object(recipe, "bf16", lambda device: nullcontext()),
        patch.object(Spread, "update", noted),
        patch.object(loop, "matmul_peak", partial(loop.matmul_peak, size=32, times=2)),
    ):
        for _ in recipe.main(recipe.Config(**config)):
            pass
    written.with_suffix(f".{os.environ.get('RANK', '0')}").write_text(json.dumps(losses))


def together(name: str, config: dict[str, Any], folder: Path, n: int) -> list[list[float]]:
    """The losses that each of n processes saw; n = 1 is this process."""
    folder.mkdir(exist_ok=True)
    if n == 1:
        run(name, config, folder / "losses")
        return [json.loads((folder / "losses.0").read_text())]
    (folder / "config.json").write_text(json.dumps(config, default=str))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    running = []
    for rank in range(n):
        torchrun = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(n)}
        torchrun |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "t"}
        environment = {**os.environ, **torchrun}
        files = [str(folder / "config.json"), str(folder / "losses")]
        command = [sys.executable, __file__, name, *files]
        running.append(subprocess.Popen(command, env=environment))
    assert [process.wait(240) for process in running] == [0] * n
    return [json.loads((folder / f"losses.{rank}").read_text()) for rank in range(n)]


if __name__ == "__main__":
    _, name, config, written = sys.argv
    values = json.loads(Path(config).read_text())
    paths = {key: Path(values[key]) for key in ("data", "out", "work")}
    run(name, {**values, **paths}, Path(written))
