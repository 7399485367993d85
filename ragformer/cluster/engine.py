"""Shards written on a Ray cluster.

    a task for each shard streams its steps; Ray starts as many as there are cores, and holds back
    one whose steps nobody has taken yet
    texts -> an actor on each GPU that is free -> vectors; without any, the tasks embed themselves

A task whose worker or node is lost runs again elsewhere: the store knows what is done.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragformer.cluster.connect import LOCAL, connect, differs, node_name, program
from ragformer.cluster.index import Again, Job, Step, encoder_of, index_shards, steps_of
from ragformer.cluster.layout import make_shards
from ragformer.cluster.shard import Fault
from ragformer.config import Settings, model_folder
from ragformer.indexing import Options
from ragformer.nn.identity import weights_id
from ragformer.store.rows import file_hash
from ragformer.types import OnRay, Progress, Report
from ragformer.walk import Found

if TYPE_CHECKING:
    from ragformer.retrieve.embed import Encoder

ATTEMPTS = 5
"""Times that a shard's task may lose its worker before it is given up."""
STEP_SECONDS = 0.2  # of steps that a task hands over together: each time takes 1 ms at both ends
STEPS_AHEAD = 32  # times that a task has handed over what nobody has taken yet
FILES_AT_ONCE = 64  # hashed by one task


class RayRunner:
    """Runs jobs as Ray tasks; see `Runner`."""

    def __init__(self, address: str) -> None:
        self._ray = connect(address)

    @property
    def n_cores(self) -> int:
        """Of all nodes."""
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[int, Step]]:
        task = self._ray.remote(
            num_cpus=1,
            max_retries=0,
            num_returns="streaming",
            _generator_backpressure_num_objects=STEPS_AHEAD,
        )(_steps_there)
        embedders = self._embedders(jobs)
        running: dict[Any, _Attempt] = {}

        def begin(attempt: _Attempt) -> None:
            embedder = embedders[attempt.job.number % len(embedders)] if embedders else None
            running[task.remote(attempt.job, program(), embedder)] = attempt

        for job in jobs:
            begin(_Attempt(job))
        while running:
            [ready], _ = self._ray.wait(list(running), num_returns=1, fetch_local=False)
            attempt = running[ready]
            number = attempt.job.number
            try:
                step = self._ray.get(next(ready))
            except StopIteration:
                del running[ready]
            except self._ray.exceptions.RayTaskError:
                raise
            except self._ray.exceptions.RayError as error:
                del running[ready]
                if attempt.number == ATTEMPTS:
                    yield number, Fault(attempt.lost(error))
                    continue
                yield number, Again(attempt.lost(error))
                begin(_Attempt(attempt.job, attempt.number + 1))
            else:
                if isinstance(step, str):
                    attempt.node = step
                else:
                    yield from ((number, one) for one in step)

    def _embedders(self, jobs: Sequence[Job]) -> list[Any]:
        """An actor on each GPU that nobody uses now; they end when this run does."""
        n = int(self._ray.available_resources().get("GPU", 0))
        if not n or not jobs or jobs[0].leave:  # then there is nothing to embed
            return []
        from ragformer.cluster.embedding import Embedder

        kind = self._ray.remote(num_cpus=0, num_gpus=1, max_restarts=-1, max_task_retries=-1)
        encoder = jobs[0].encoder_id, jobs[0].encoder
        return [kind(Embedder).remote(*encoder, program()) for _ in range(min(n, len(jobs)))]

    def hash(self, paths: Sequence[Path]) -> Iterable[tuple[Path, str | None]]:
        task = self._ray.remote(num_cpus=1)(_hash_there)
        batches = [paths[at : at + FILES_AT_ONCE] for at in range(0, len(paths), FILES_AT_ONCE)]
        for batch, keys in zip(
            batches, self._ray.get([task.remote(batch) for batch in batches]), strict=True
        ):
            yield from zip(batch, keys, strict=True)


class _Attempt:
    """A job as it runs somewhere. node: where, as far as it has said."""

    def __init__(self, job: Job, number: int = 1) -> None:
        self.job, self.number, self.node = job, number, "that had not begun"

    def lost(self, error: Exception) -> str:
        kind = type(error).__name__
        return (
            f"the worker of shard {self.job.number} on node {self.node} was lost ({kind}, attempt "
            f"{self.number} of {ATTEMPTS}); see that the node is up and has memory left"
        )


def _steps_there(job: Job, wanted: str, embedder: Any) -> Iterator[str | list[Step]]:
    """In a worker: the node's name, then the steps of the job. embedder: an actor, or None."""
    node = node_name()
    yield node
    if fault := differs(node, wanted):
        yield [fault]
        return
    steps, until = list[Step](), 0.0
    for step in steps_of(job, lambda: _encoder_there(job, embedder)):
        steps.append(Fault(f"on node {node}: {step.reason}") if isinstance(step, Fault) else step)
        if time.monotonic() > until:
            yield steps
            steps, until = [], time.monotonic() + STEP_SECONDS
    yield steps


def _encoder_there(job: Job, embedder: Any) -> Encoder:
    here = encoder_of(job.encoder_id, job.encoder)
    if embedder is None:
        return here
    from ragformer.cluster.embedding import EncoderThere

    return EncoderThere(here, embedder)


def _hash_there(paths: Sequence[Path]) -> list[str | None]:
    keys: list[str | None] = []
    for path in paths:
        try:
            keys.append(file_hash(path))
        except OSError:
            keys.append(None)
    return keys


def index_on_ray(
    settings: Settings, found: Found, options: Options, on_ray: OnRay
) -> Iterator[Progress | Report]:
    """Index what was found into the shards of the collection that is set; see `index_shards`."""
    folder = settings.collections / settings.collection
    runner = RayRunner(on_ray.address or settings.ray_address or LOCAL)
    n = make_shards(folder, on_ray.shards, runner.n_cores)
    # A task has one core, so one process reads for it unless more are asked for.
    options = dataclasses.replace(options, workers=options.workers or 1)
    there = settings.encoder or (settings.models and settings.models / "encoder")
    encoder = weights_id(model_folder("encoder", settings.encoder)), there
    return index_shards(folder, n, encoder, found, options, runner)
