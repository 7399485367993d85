"""Texts embedded by an actor on a GPU, for the tasks that read, cut and store.

A task has the encoder too, for its tokenizer; only the vectors come from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ragformer.cluster.connect import differs, node_name
from ragformer.cluster.index import encoder_of
from ragformer.cluster.shard import Fault
from ragformer.errors import ClusterError, RagformerError
from ragformer.retrieve.embed import Encoder, Vectors

EMBED_SECONDS = 600.0  # an actor that is starting, or was lost and restarts, is waited for so long


class Embedder:
    """The actor. Where torch sees no GPU, though Ray has counted one, it computes on the CPU."""

    def __init__(self, encoder_id: str, folder: Path | None, wanted: str) -> None:
        """encoder_id, folder: as in Job. wanted: the program that asks."""
        self._encoder = encoder_id, folder
        self._node = node_name()
        self._fault = differs(self._node, wanted)

    def encode(self, texts: Sequence[str]) -> Vectors | Fault:
        if self._fault:
            return self._fault
        try:
            return encoder_of(*self._encoder).encode(texts)
        except (RagformerError, OSError) as error:
            return Fault(f"on node {self._node}: {error}")


class EncoderThere(Encoder):
    """The encoder of a task, whose `encode` asks an Embedder."""

    def __init__(self, here: Encoder, actor: Any) -> None:
        super().__init__(here.model, here.tokenizer, here.id, here.form)
        self._actor = actor

    def encode(self, texts: Sequence[str]) -> Vectors:
        import ray

        try:
            vectors: Vectors | Fault = ray.get(
                self._actor.encode.remote(list(texts)), timeout=EMBED_SECONDS
            )
        except ray.exceptions.RayTaskError:
            raise
        except ray.exceptions.RayError as error:
            raise ClusterError(
                f"the actor that embeds on a GPU did not answer ({type(error).__name__}); see that "
                "a node with a GPU is up"
            ) from error
        if isinstance(vectors, Fault):
            raise ClusterError(vectors.reason)
        return vectors
