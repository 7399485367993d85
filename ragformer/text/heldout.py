"""The slice of the training data that nobody trains on, so that it can measure.

A document is in it by its title, or by its passage where it has no title. Training skips more, a
row that is in it by either, as the same passage stands in several files; `ragformer eval retrieval
--held-out` asks only questions whose passages are all in it:

    pairs/  is_held_out(row["positive"])
    qa/     is_held_out(row["title"], row["context"])
    text/   is_held_out(document["title"])

The passages of a title in the slice may still be trained on where they stand untitled, as those of
FairytaleQA do in pairs/: measure such a set from its file in pairs/.
"""

from __future__ import annotations

from hashlib import sha256

ONE_IN = 50


def is_held_out(*names: str) -> bool:
    """Whether any of the names is in the slice: one in 50 is, the same ones for ever; "" never."""
    return any(_is_drawn(name) for name in names if name)


def _is_drawn(name: str) -> bool:
    digest = sha256(name.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:4], "big") % ONE_IN == 0
