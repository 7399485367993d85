"""An actor that holds a shard: how it is started, found by its name, and asked.

A replica is an actor with a name, which the cluster keeps for every process that asks. The name is
collection/shard-PLACE/PROGRAM/ONE: neither a collection of that name elsewhere nor another
ragformer takes it for its own.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ragformer.cluster.connect import NAMESPACE, differs, node_name, program
from ragformer.cluster.shard import Fault, Shard
from ragformer.errors import ClusterError

ANSWER_SECONDS = 60.0  # for which a shard that is starting, or was lost and restarts, is waited for


@dataclass(frozen=True, slots=True)
class Lost(Fault):
    """The actor is gone, for good or until Ray has started it again."""


class _ShardActor:
    """A shard on some node; its methods never raise (see `Shard.call`)."""

    def __init__(self, folder: Path, wanted: str) -> None:
        self._shard = Shard(folder)
        self._node = node_name()
        self._fault = differs(self._node, wanted)

    def node(self) -> str | Fault:
        """Where it is, or why it cannot answer there."""
        return self._fault or self._node

    def call(self, *values: Any) -> Any:
        answer = self._fault or self._shard.call(*values)
        if isinstance(answer, Fault) and not self._fault:
            return Fault(f"on node {self._node}: {answer.reason}")
        return answer


class Replica:
    """An actor as this process knows it. node, fault: where it is and what is wrong there, as far
    as it has said."""

    def __init__(self, ray: Any, actor: Any) -> None:
        self.actor, self.node, self.fault = actor, "", ""
        self._hello = actor.node.remote()
        self._ray = ray
        self._heard = False
        self._waiting: set[Any] = set()

    @property
    def is_up(self) -> bool:
        """Whether it has begun, since it was lost if it ever was, and can answer."""
        if not self._heard and self._ray.wait([self._hello], timeout=0)[0]:
            said = self.answer(self._hello)
            if not isinstance(said, Lost):
                self._heard = True
                self.fault = said.reason if isinstance(said, Fault) else ""
                self.node = self.node if isinstance(said, Fault) else said
        return self._heard and not self.fault

    def place(self) -> tuple[bool, int, float]:
        """Its place among others: the first to be asked is up and has the least to do for us."""
        return not self.is_up, len(self._waiting), random.random()

    def begin(self, call: Sequence[Any]) -> Any:
        """What `answer` takes, best when it is ready."""
        ref = self.actor.call.remote(*call)
        self._waiting.add(ref)
        return ref

    def answer(self, ref: Any, ready: bool = True) -> Any:
        """What came of it; a Fault where nothing did, or not in time."""
        self._waiting.discard(ref)
        lost = Fault(self._told(f"did not answer within {ANSWER_SECONDS:.0f} s"))
        try:
            if ready:
                return self._ray.get(ref)
        except self._ray.exceptions.RayTaskError:
            raise
        except self._ray.exceptions.RayError as error:
            lost = Lost(self._told(f"was lost ({type(error).__name__})"))
        self._hello, self._heard = self.actor.node.remote(), False
        return lost

    def _told(self, what: str) -> str:
        where = f" on node {self.node}" if self.node else ""
        return f"its actor{where} {what}; see that its node is up"


def start(ray: Any, folder: Path, name: str | None = None) -> Replica:
    """An actor for the shard in `folder`: a replica of that name, or this process's own."""
    how: dict[str, Any] = {"num_cpus": 0, "max_restarts": -1, "scheduling_strategy": "SPREAD"}
    if name is not None:
        how |= {"name": name, "namespace": NAMESPACE, "lifetime": "detached"}
    return Replica(ray, ray.remote(**how)(_ShardActor).remote(folder, program()))


def find(
    ray: Any, names: Sequence[str], folder: Path, known: Mapping[str, Replica] | None = None
) -> dict[str, Replica]:
    """The replicas of the shard in `folder`, of our program, by their names.

    names: as `names_of` gives them. known: those that this process has met before.
    """
    ours, found = f"{front(folder)}/", {}
    for name in names:
        if name.startswith(ours):
            with suppress(ValueError):  # it has gone meanwhile
                met = (known or {}).get(name)
                found[name] = met or Replica(ray, ray.get_actor(name, NAMESPACE))
    return found


def names_by_shard(ray: Any) -> dict[str, list[str]]:
    """The names of all replicas on the cluster, whatever their program, by the key of their shard.

    Raises ClusterError where the cluster's head does not tell.
    """
    try:
        actors = ray.util.list_named_actors(all_namespaces=True)
    except ray.exceptions.RayError as error:
        raise ClusterError(
            f"the head of the Ray cluster does not answer ({type(error).__name__}); see that it is "
            "up, and start this anew"
        ) from error
    found: dict[str, list[str]] = {}
    for actor in actors:
        shard, *rest = actor["name"].rsplit("/", 2)
        if actor["namespace"] == NAMESPACE and len(rest) == 2:
            found.setdefault(shard, []).append(actor["name"])
    return found


def key(folder: Path) -> str:
    """What names the shard in `folder`."""
    return f"{folder.parent.parent.name}/{folder.name}-{_digest(os.fsencode(folder))}"


def front(folder: Path) -> str:
    """What the names of its replicas begin with, a slash and a word of their own behind it."""
    return f"{key(folder)}/{_digest(program().encode())}"


def _digest(told: bytes) -> str:
    return hashlib.sha256(told).hexdigest()[:8]
