"""Shards asked on a Ray cluster, by as many actors each as there are.

    call -> each shard's replicas that are up, the least busy first -> the first answer
         -> of a shard without replicas, an actor of this process's own

`set_replicas` changes their number; who is asking sees that within LOOK_SECONDS. One that is lost
is asked last until Ray has started it again, on whatever node there is.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from ragformer.cluster.connect import LOCAL, NAMESPACE, connect
from ragformer.cluster.layout import count_shards, is_sharded, shard_folder
from ragformer.cluster.replica import (
    ANSWER_SECONDS,
    Lost,
    Replica,
    find,
    front,
    key,
    names_by_shard,
    start,
)
from ragformer.cluster.shard import Fault
from ragformer.config import Settings
from ragformer.errors import ConfigError, InputError

LOOK_SECONDS = 1.0  # between two looks at which replicas there are
_PAUSE = 0.1  # seconds before actors that are not up are asked again


class Actors:
    """Shards on a Ray cluster; see `Asker`."""

    def __init__(self, address: str, folders: Sequence[Path]) -> None:
        self._ray = connect(address)
        self._folders = folders
        self._own: dict[int, Replica] = {}
        self._shared: list[dict[str, Replica]] = [{} for _ in folders]
        self._look_at = 0.0
        self._look()
        for number in range(len(folders)):  # that they start while the models load
            self._in_turn(number)

    def ask(self, calls: Mapping[int, tuple[Any, ...]]) -> dict[int, Any]:
        until = time.monotonic() + ANSWER_SECONDS
        answers = self._once(calls)
        while lost := [n for n, answer in answers.items() if isinstance(answer, Lost)]:
            if time.monotonic() > until:
                break
            time.sleep(_PAUSE)
            self._look_at = 0.0
            answers |= self._once({number: calls[number] for number in lost})
        return answers

    def close(self) -> None:
        for number in list(self._own):
            self._drop_own(number)

    def _once(self, calls: Mapping[int, tuple[Any, ...]]) -> dict[int, Any]:
        """Ask the actors of each shard, one after the other until one has no Fault to tell."""
        self._look()
        answers: dict[int, Any] = {}
        left = {number: self._in_turn(number) for number in calls}
        while left:
            asked = {number: replicas.pop(0) for number, replicas in left.items()}
            refs = {number: replica.begin(calls[number]) for number, replica in asked.items()}
            waiting = list(refs.values())
            done, _ = self._ray.wait(waiting, num_returns=len(waiting), timeout=ANSWER_SECONDS)
            ready = set(done)
            answers |= {n: asked[n].answer(ref, ref in ready) for n, ref in refs.items()}
            left = {n: more for n, more in left.items() if more and isinstance(answers[n], Fault)}
        return answers

    def _in_turn(self, number: int) -> list[Replica]:
        """The actors to ask for a shard, one at least, the first one first."""
        shared = sorted(self._shared[number].values(), key=Replica.place)
        if shared and (number not in self._own or shared[0].is_up):
            self._drop_own(number)
            return shared
        if number not in self._own:
            self._own[number] = start(self._ray, self._folders[number])
        return [self._own[number], *shared]

    def _drop_own(self, number: int) -> None:
        if (own := self._own.pop(number, None)) is not None:
            self._ray.kill(own.actor)

    def _look(self) -> None:
        """See which replicas there are, if that is due."""
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + LOOK_SECONDS
        names = names_by_shard(self._ray)
        self._shared = [
            find(self._ray, names.get(key(folder), ()), folder, known)
            for folder, known in zip(self._folders, self._shared, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Held:
    """A replica of a shard: the node it is on, and what is wrong with it, "" for nothing."""

    shard: int
    node: str
    fault: str


def set_replicas(settings: Settings, n: int | None) -> list[Held]:
    """Have the cluster keep n replicas of each shard, and return them; None leaves what there is.

    What is asking goes on meanwhile. Replicas of another ragformer go. Raises InputError where the
    collection is not in shards, ConfigError where no cluster is set that outlasts this process.
    """
    folder = _shards_kept(settings)
    ray = connect(settings.ray_address)
    names = names_by_shard(ray)
    places = [shard_folder(folder, number) for number in range(count_shards(folder))]
    held = [find(ray, names.get(key(place), ()), place) for place in places]
    if n is not None:
        _wait(held, LOOK_SECONDS)  # what is up stays, what is not goes first
        held = [
            _changed(ray, place, names.get(key(place), ()), replicas, n)
            for place, replicas in zip(places, held, strict=True)
        ]
    _wait(held, ANSWER_SECONDS)
    return [
        _told(number, replica)
        for number, replicas in enumerate(held)
        for replica in replicas.values()
    ]


def _told(number: int, replica: Replica) -> Held:
    if replica.is_up:
        return Held(number, replica.node, "")
    not_up = "it is not up; `ray status` tells whether the cluster has a node for it"
    return Held(number, replica.node, replica.fault or not_up)


def _shards_kept(settings: Settings) -> Path:
    """The collection's folder, where it can have replicas."""
    folder = settings.collections / settings.collection
    if not is_sharded(folder):
        raise InputError(
            f"there is no collection {settings.collection} in shards in {settings.home}, and only "
            f"shards have replicas; `ragformer index --engine ray -c {settings.collection} PATH` "
            "makes one"
        )
    if settings.ray_address in ("", LOCAL):
        raise ConfigError(
            f"ray_address is {settings.ray_address!r}, and replicas need a cluster that stays: "
            "start one with `ray start --head` and set RAGFORMER_RAY_ADDRESS to its HOST:PORT"
        )
    return folder


def _changed(
    ray: Any, place: Path, names: Sequence[str], replicas: Mapping[str, Replica], n: int
) -> dict[str, Replica]:
    """n replicas of the shard in `place`: as many of these as may stay, and new ones. Every other
    one of the names goes."""
    stay = sorted(replicas, key=lambda name: replicas[name].place())[:n]
    for name in set(names).difference(stay):
        with suppress(ValueError):  # it has gone meanwhile
            ray.kill(ray.get_actor(name, NAMESPACE))
    new = [f"{front(place)}/{uuid4().hex[:8]}" for _ in range(n - len(stay))]
    return {name: replicas[name] for name in stay} | {name: start(ray, place, name) for name in new}


def _wait(held: Sequence[Mapping[str, Replica]], seconds: float) -> None:
    """Until every replica is up or has said why it cannot be, or so long."""
    until = time.monotonic() + seconds
    waiting = [replica for replicas in held for replica in replicas.values()]
    while waiting := [replica for replica in waiting if not (replica.is_up or replica.fault)]:
        if time.monotonic() > until:
            return
        time.sleep(_PAUSE)
