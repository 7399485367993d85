"""What was worked out before and may be asked for again, in so many bytes and no more."""

from __future__ import annotations

import hashlib
import threading
from array import array
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

from ragformer.nn.cache import KVBlock, KVCache

V = TypeVar("V")


class Kept(Generic[V]):
    """An LRU cache of at most `most_bytes`: what was not used for longest goes first.

    For several threads; nobody may change a value it holds.
    """

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.n_bytes = 0
        self._values: OrderedDict[bytes, tuple[V, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: bytes) -> V | None:
        """The value, used now; None where there is none."""
        with self._lock:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key][0]

    def put(self, key: bytes, value: V, n_bytes: int) -> None:
        """Keep the value; one that is too large alone is not kept."""
        with self._lock:
            _, freed = self._values.pop(key, (None, 0))
            self.n_bytes -= freed
            if n_bytes > self.most_bytes:
                return
            self._values[key] = value, n_bytes
            self.n_bytes += n_bytes
            while self.n_bytes > self.most_bytes:
                _, (_, freed) = self._values.popitem(last=False)
                self.n_bytes -= freed


class Prefixes:
    """A prefix cache: keys and values of prompts by how they begin, in whole blocks of `block`
    tokens.

    A causal model that reads a prompt block by block makes the same calls for the same beginning,
    so what is restored is what reading would give, bit for bit.
    """

    def __init__(self, block: int, most_bytes: int) -> None:
        self.block = block
        self.kept: Kept[KVBlock] = Kept(most_bytes)

    def restore(self, ids: Sequence[int], cache: KVCache) -> int:
        """Fill the empty one-row cache with the whole blocks known of the prompt `ids`; how many
        tokens that is, fewer than all."""
        found = []
        for key in self._keys(ids[:-1]):
            block = self.kept.get(key)
            if block is None:
                break
            found.append(key)
            cache.append(block)
        self._use(found)
        return cache.length

    def keep(self, ids: Sequence[int], cache: KVCache) -> None:
        """Remember the last block of the cache, which holds so many whole blocks of `ids`."""
        *before, key = self._keys(ids[: cache.length])
        self._use(before)
        block = cache.block(cache.length - self.block)
        n_bytes = sum(keys.nbytes + values.nbytes for keys, values in block)
        self.kept.put(key, block, n_bytes)

    def _use(self, keys: Sequence[bytes]) -> None:
        """The first the last: a block is of no use without those before it."""
        for key in reversed(keys):
            self.kept.get(key)

    def _keys(self, ids: Sequence[int]) -> Iterator[bytes]:
        """A key for each whole block: it and all before it."""
        digest = hashlib.sha256()
        for end in range(self.block, len(ids) + 1, self.block):
            digest.update(array("q", ids[end - self.block : end]).tobytes())
            yield digest.digest()
