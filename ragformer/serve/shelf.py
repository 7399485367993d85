"""The collections the server knows, those it holds open, and the answers it gave last."""

from __future__ import annotations

import dataclasses
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from ragformer.answer.installed import installed
from ragformer.cluster.opening import collection_names
from ragformer.config import DEFAULT_COLLECTION, Backend, Settings, load_settings
from ragformer.errors import ConfigError
from ragformer.library import Library
from ragformer.serve.failures import ApiError
from ragformer.types import Answer

LOCAL: Literal["local"] = "local"
MOST_OPEN = 4
"""Each open collection holds an encoder and a decoder of its own."""
KEPT_PROMPTS = 128 * 2**20
"""Bytes for each open collection: the last three or four questions, to be answered again sooner."""
MOST_ANSWERS = 128
LONGEST_NAMED = 100  # characters of a wrong name that an error repeats


class Shelf:
    """Collections below `home`, by default that of the configuration.

    `open` is for one thread, which answers; everybody else takes a `fresh` one and closes it.
    """

    def __init__(self, home: Path | None = None) -> None:
        self._home = home
        self._open: OrderedDict[str, Library] = OrderedDict()
        self._used: Counter[str] = Counter()
        self._given: OrderedDict[tuple[str, str], Answer] = OrderedDict()

    def names(self) -> list[str]:
        """Every collection; the default one is there before anything was indexed."""
        found = collection_names(self._settings().collections)
        return found if DEFAULT_COLLECTION in found else [DEFAULT_COLLECTION, *found]

    def models(self) -> list[str]:
        """What a chat may be asked of: a collection, and with whom to write its answers."""
        writers = [model.name for model in installed(self._settings()) if model.role == "writer"]
        return [
            name
            for collection in self.names()
            for name in (collection, *(f"{collection}:{who}" for who in (LOCAL, *writers)))
        ]

    def chosen(self, model: str) -> tuple[str, Backend]:
        """The collection and what writes, of the name of a model; raises ApiError 404."""
        name, colon, writer = model.partition(":")
        if name in self.names():
            if not colon:
                return name, None
            if writer == LOCAL:
                return name, LOCAL
            for known in installed(self._settings()):
                if known.role == "writer" and known.name == writer:
                    return name, known.folder
        raise ApiError(
            404,
            f"there is no model {model[:LONGEST_NAMED]}; GET /v1/models lists those there are",
            "model_not_found",
            "model",
        )

    def known(self, collection: str | None) -> str:
        """The name of the collection, by default that of the configuration; raises ApiError 404."""
        name = collection or self._settings().collection
        if name not in self.names():
            raise ApiError(
                404, f"there is no collection {name[:LONGEST_NAMED]}", "not_found", "collection"
            )
        return name

    def open(self, name: str) -> Library:
        """The collection, held open with its models for the next question."""
        if name not in self._open:
            idle = [known for known in self._open if not self._used[known]]
            for known in idle[: max(0, len(self._open) + 1 - MOST_OPEN)]:
                self._open.pop(known).close()
            self._open[name] = Library(self._named(name))
            self._open[name].kept_prompts = KEPT_PROMPTS
        self._open.move_to_end(name)
        return self._open[name]

    @contextmanager
    def using(self, name: str) -> Iterator[Library]:
        """As `open`, while others have their turns: it stays open."""
        library = self.open(name)
        self._used[name] += 1
        try:
            yield library
        finally:
            self._used[name] -= 1

    def fresh(self, name: str | None) -> Library:
        """Another Library of that name, to be closed; raises ApiError 400 for what is no name.

        Its shards, if it has any, are asked in this process: actors are for what stays open.
        """
        return Library(dataclasses.replace(self._named(name), ray_address=""))

    def _named(self, name: str | None) -> Settings:
        try:
            return load_settings(collection=name, home=self._home)
        except ConfigError as error:
            raise ApiError(400, str(error), "invalid_value", "collection") from error

    def close(self) -> None:
        for library in self._open.values():
            library.close()
        self._open.clear()
        self._given.clear()

    def remember(self, collection: str, answer: Answer) -> None:
        """Keep an answer in memory for the question after it."""
        self._given[collection, answer.text] = answer
        if len(self._given) > MOST_ANSWERS:
            self._given.popitem(last=False)

    def turn(self, collection: str, question: str, text: str) -> Answer:
        """The turn as it was given; one that was not given here has no citations."""
        given = self._given.get((collection, text))
        if given is not None and given.question == question:
            return given
        return Answer(question, text, (), (), None, False, None, "client", "")

    def forget(self, collection: str) -> None:
        """Drop the answers of a collection that a document has left."""
        for key in [key for key in list(self._given) if key[0] == collection]:
            self._given.pop(key, None)

    def _settings(self) -> Settings:
        return load_settings(home=self._home)
