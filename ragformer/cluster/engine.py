"""Shards written and asked on a Ray cluster; nothing else here imports Ray.

    index: a task for each shard, which streams its steps; Ray starts as many as there are cores
           and holds back a task whose steps nobody has taken yet
    ask:   an actor for each shard, on whatever node Ray puts it, until this process ends

A task or actor whose worker or node is lost runs again elsewhere: the store knows what is done.
Ray's page and its own reporting of use stay off, and a cluster that is started here listens on this
machine only.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ragformer.cluster.index import FORMS, Again, Job, Step, index_shards, steps_of
from ragformer.cluster.layout import make_shards
from ragformer.cluster.shard import Fault, Shard
from ragformer.config import Settings, model_folder
from ragformer.errors import ClusterError, ConfigError, InputError
from ragformer.indexing import Options
from ragformer.nn.identity import weights_id
from ragformer.types import OnRay, Progress, Report
from ragformer.walk import Found

LOCAL = "local"
ATTEMPTS = 5
"""Times that a shard's task may lose its worker before it is given up."""
STEPS_AHEAD = 32  # of a task, that nobody has taken yet
FILES_AT_ONCE = 64  # hashed by one task
ANSWER_SECONDS = 60.0  # for which a shard that is starting, or was lost and restarts, is waited for
_REACH_SECONDS = 5.0
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""What a client of HTTP/2, and so of Ray's head, says first; a server says SETTINGS back."""
_SETTINGS = 4
_OBJECTS = 1 << 28  # bytes for what is on its way: steps, rows and a question's vector are small


def program() -> str:
    """What has to be the same on every node."""
    return f"ragformer {version('ragformer')} ({FORMS})"


def connect(address: str) -> Any:
    """Ray, connected to the cluster at HOST:PORT or to one started here for "local".

    Raises ConfigError where Ray is not installed, ClusterError where the cluster cannot be reached.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # of a cluster started here: it is for us
    how: dict[str, Any] = {"include_dashboard": False, "object_store_memory": _OBJECTS}
    if address != LOCAL:
        _reach(address)
        how = {}
    if address == LOCAL or address.startswith(("127.", "localhost:")):
        # Else Ray puts this machine's outer address in the place of the inner one, and listens
        # there. This is how it keeps to the inner one on Windows and macOS.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            "a Ray cluster was asked for and Ray is not installed; "
            "pip install 'ragformer[ray]', or leave out --engine ray and ray_address"
        ) from error
    if ray.is_initialized():
        return ray
    how |= {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        ray.init(address, namespace="ragformer", **how)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise ClusterError(
            f"the Ray cluster at {address} cannot be used: {error}; this machine must be one of "
            f"its nodes (`ray start --address {address}`) and have the same Ray and Python"
        ) from error
    return ray


def _reach(address: str) -> None:
    """Ray itself would try for minutes and end with a page of text."""
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isascii() and port.isdigit() and "/" not in host):
        raise InputError(
            f'the address of a Ray cluster is HOST:PORT, as 10.0.0.1:6379, or "local"; '
            f"{address!r} is neither"
        )
    try:
        said = _said_back(host.strip("[]"), int(port))
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"no Ray cluster answers at {address} ({error}); "
            "start one there with `ray start --head`, or check the address"
        ) from error
    if len(said) < 4 or said[3] != _SETTINGS:
        raise ClusterError(
            f"what listens at {address} is no head of a Ray cluster; give the address that "
            "`ray start --head` has told, with its port (6379 unless set otherwise)"
        )


def _said_back(host: str, port: int) -> bytes:
    """What the first frame from there begins with, b"" where it hangs up; TimeoutError for none."""
    with socket.create_connection((host, port), _REACH_SECONDS) as connection:
        if os.environ.get("RAY_USE_TLS", "0") != "0":
            return bytes([0, 0, 0, _SETTINGS])  # only Ray has the keys to ask more
        connection.sendall(_HELLO)
        return connection.recv(9)


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
        running = {task.remote(job, program()): _Attempt(job) for job in jobs}
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
                again = _Attempt(attempt.job, attempt.number + 1)
                running[task.remote(attempt.job, program())] = again
            else:
                if isinstance(step, str):
                    attempt.node = step
                else:
                    yield number, step

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


def node_name() -> str:
    """This node's address and the start of Ray's id for it."""
    import ray

    address = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call,unused-ignore]
    return f"{address} ({ray.get_runtime_context().get_node_id()[:8]})"


def _steps_there(job: Job, wanted: str) -> Iterator[str | Step]:
    """In a worker: the node's name, then the steps of the job."""
    node = node_name()
    yield node
    if fault := _differs(node, wanted):
        yield fault
        return
    for step in steps_of(job):
        yield Fault(f"on node {node}: {step.reason}") if isinstance(step, Fault) else step


def _differs(node: str, wanted: str) -> Fault | None:
    if program() == wanted:
        return None
    return Fault(
        f"node {node} has {program()} and this machine {wanted}; install the same ragformer on both"
    )


def _hash_there(paths: Sequence[Path]) -> list[str | None]:
    keys: list[str | None] = []
    for path in paths:
        try:
            with path.open("rb") as file:
                keys.append(hashlib.file_digest(file, "sha256").hexdigest())
        except OSError:
            keys.append(None)
    return keys


class _ShardActor:
    """A shard on some node; its methods never raise (see `Shard.call`)."""

    def __init__(self, folder: Path, wanted: str) -> None:
        self._shard = Shard(folder)
        self._node = node_name()
        self._fault = _differs(self._node, wanted)

    def call(self, *values: Any) -> Any:
        answer = self._fault or self._shard.call(*values)
        if isinstance(answer, Fault) and not self._fault:
            return Fault(f"on node {self._node}: {answer.reason}")
        return answer


class Actors:
    """Shards on a Ray cluster, an actor each; see `Asker`."""

    def __init__(self, address: str, folders: Sequence[Path]) -> None:
        self._ray = connect(address)
        kind = self._ray.remote(
            num_cpus=0, max_restarts=-1, max_task_retries=-1, scheduling_strategy="SPREAD"
        )(_ShardActor)
        self._actors = [kind.remote(folder, program()) for folder in folders]

    def ask(self, calls: Mapping[int, tuple[Any, ...]]) -> dict[int, Any]:
        refs = {number: self._actors[number].call.remote(*call) for number, call in calls.items()}
        ready, _ = self._ray.wait(
            list(refs.values()), num_returns=len(refs), timeout=ANSWER_SECONDS
        )
        return {
            number: self._answer(ref) if ref in ready else _late() for number, ref in refs.items()
        }

    def _answer(self, ref: Any) -> Any:
        try:
            return self._ray.get(ref)
        except self._ray.exceptions.RayTaskError:
            raise
        except self._ray.exceptions.RayError as error:
            said = type(error).__name__
            return Fault(f"its actor was lost ({said}); see that its node is up")

    def close(self) -> None:
        for actor in self._actors:
            self._ray.kill(actor)
        self._actors = []


def _late() -> Fault:
    return Fault(f"its actor did not answer within {ANSWER_SECONDS:.0f} s; see that its node is up")


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


def actors(address: str) -> Callable[[Sequence[Path]], Actors]:
    """Starts the actors of the shards in some folders."""
    return lambda folders: Actors(address, folders)
